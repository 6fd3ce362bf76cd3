// Copyright 2026 The nsn2n authors
// SPDX-License-Identifier: Apache-2.0
// Controls viewer.html: NiiVue draws one slice in each pane; this script sets the slice, the window and the overlay.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const state = JSON.parse(byId("state").textContent);
  const [depth, height, width] = state.shape;
  const SHOWN = { side: ["before", "after", "removed"], swipe: ["before", "after"], before: ["before"], after: ["after"], removed: ["removed"] };
  const MAPS = [...document.querySelectorAll("[data-map]")].map((button) => button.dataset.map);
  const [, AUTO] = state.windows.Auto;
  const HEADER_BYTES = 352; // of single-file NIfTI-1, up to the values
  const panes = {};
  const shown = {
    view: "side", slice: Math.floor((depth - 1) / 2), map: null, place: -1, swipe: 50, zoom: 1, pan: [0, 0],
    window: Object.keys(state.windows).includes("Abdomen") ? [...state.windows.Abdomen[1]] : [...AUTO],
    removed: [-state.removed, state.removed],
  };

  // ---- Volumes: all slices are kept here, NiiVue gets only the displayed one, as a volume of one slice. So a long
  // series needs no more graphics memory than a short one, and a change of the window takes effect immediately.

  const series = {}; // header of a volume of one slice, and the values of all slices

  async function unpack(name, Values) {
    const text = byId(`parcel-${name}`).textContent;
    byId(`parcel-${name}`).remove();
    const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    const file = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
    const header = file.slice(0, HEADER_BYTES);
    new DataView(header).setInt16(46, 1, true); // dim[3]
    series[name] = { header, values: new Values(file, HEADER_BYTES) };
  }

  function valuesOf(name) {
    if (name === "removed") {
      const [before, after] = [valuesOf("before"), valuesOf("after")];
      return before.map((value, index) => value - after[index]);
    }
    const { values } = series[name];
    const count = values.length / depth;
    return values.subarray(shown.slice * count, (shown.slice + 1) * count);
  }

  async function image(name, colormap, low, high, opacity) {
    const values = valuesOf(name);
    const header = (series[name] || series.before).header.slice(0);
    if (name === "removed") new DataView(header).setFloat32(116, 0, true); // scl_inter is the same in both and cancels
    const file = await new Blob([header, values]).arrayBuffer();
    return niivue.NVImage.new(file, `${name}.nii`, colormap, opacity, null, low, high);
  }

  async function openPane(name) {
    const nv = new niivue.Niivue({
      interactive: false, dragAndDropEnabled: false, isOrientationTextVisible: false, logLevel: "error", loadingText: "",
      sliceType: niivue.SLICE_TYPE.AXIAL, crosshairWidth: 0, crosshairGap: 12, crosshairColor: [0.3, 0.85, 1, 1],
      backColor: [0, 0, 0, 1],
    });
    await nv.attachToCanvas(byId(`pane-${name}`).querySelector("canvas"));
    const channel = (index) => state.colors.map((color) => color[index]);
    const places = state.colors.map((_, index) => Math.round((255 * index) / (state.colors.length - 1)));
    // 0 means no value and is transparent; NiiVue makes all other values opaque.
    nv.addColormap("nsn2n", { R: channel(0), G: channel(1), B: channel(2), A: places.map((place) => (place ? 255 : 0)), I: places });
    nv.addVolume(await image(name, "gray", ...windowOf(name), 1));
    panes[name] = nv;
  }

  // ---- Drawing; changes are drawn once per frame

  const windowOf = (name) => (name === "removed" ? shown.removed : shown.window);
  // Resolves when the drawing is on the screen: the second frame from now starts when the first is done.
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  let waiting = false;

  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      for (const name of SHOWN[shown.view]) if (panes[name]) drawPane(name, panes[name]);
      describe();
    });
  }

  function drawPane(name, nv) {
    const drawn = [shown.slice, ...windowOf(name), nv.volumes.length].join();
    if (nv.drawn !== drawn) {
      nv.drawn = drawn;
      [nv.volumes[0].cal_min, nv.volumes[0].cal_max] = windowOf(name);
      nv.volumes[0].img.set(valuesOf(name));
      if (nv.volumes[1] && shown.map) nv.volumes[1].img.set(valuesOf(shown.map));
      nv.updateGLVolume();
    }
    const place = state.places[shown.place];
    const [z, y, x] = place ? place.at : [-1, height / 2, width / 2];
    nv.opts.crosshairWidth = z === shown.slice ? 1 : 0;
    nv.scene.crosshairPos = [(x + 0.5) / width, (height - y - 0.5) / height, 0.5];
    nv.scene.pan2Dxyzmm = [...shown.pan, 0, shown.zoom];
    nv.drawScene();
  }

  function describe() {
    const short = (value) => Number(value.toPrecision(4)).toString().replace("-", "\u2212");
    const number = state.slices[shown.slice];
    const place = state.places[shown.place];
    const parts = [`Slice ${number} of ${state.of}`, `window ${short(shown.window[0])} to ${short(shown.window[1])} ${state.unit}`];
    if (shown.place >= 0) parts.push(`place ${shown.place + 1} of ${state.places.length}: ${short(place.excess)} noise sd removed`);
    if (shown.map === "kept" && !state.kept.includes(shown.slice))
      parts.push(`contrast retention was measured in slice ${state.kept.map((index) => state.slices[index]).join(", ")}`);
    byId("status").textContent = parts.join(" \u00b7 ");
    byId("slice").value = shown.slice;
    byId("slice").setAttribute("aria-valuetext", parts[0]);
    document.body.dataset.view = shown.view;
    byId("panes").style.setProperty("--swipe", `${shown.swipe}%`);
    byId("divider").setAttribute("aria-valuenow", Math.round(shown.swipe));
    const press = (kind, isOn) => document.querySelectorAll(`button[data-${kind}]`).forEach((button) =>
      button.setAttribute("aria-pressed", isOn(button.dataset[kind])));
    press("view", (name) => name === shown.view);
    press("map", (name) => name === shown.map);
    press("window", (name) => state.windows[name][1].every((limit, index) => limit === shown.window[index]));
    for (const name of MAPS) byId(`scale-${name}`).hidden = name !== shown.map;
  }

  // ---- User input

  function show(changes) {
    Object.assign(shown, changes);
    document.body.dataset.view = shown.view; // before NiiVue draws: a hidden pane has no size
    draw();
  }
  const goTo = (slice) => show({ slice: Math.min(Math.max(Math.round(slice), 0), depth - 1) });
  const chooseWindow = (name) => state.windows[name] && show({ window: [...state.windows[name][1]], removed: [-state.removed, state.removed] });
  const zoomBy = (factor) => {
    const zoom = Math.min(Math.max(shown.zoom * factor, 1), 16);
    show({ zoom, pan: zoom === 1 ? [0, 0] : shown.pan });
  };
  function goToPlace(step) {
    const count = state.places.length;
    if (!count) return;
    const place = shown.place < 0 && step < 0 ? count - 1 : (shown.place + step + count) % count;
    show({ place, slice: state.places[place].at[0] });
  }
  async function chooseMap(name) {
    const slice = name === "kept" && !state.kept.includes(shown.slice) ? state.kept[0] : shown.slice;
    show({ map: name, slice });
    for (const nv of Object.values(panes)) {
      const map = name && (await image(name, "nsn2n", 0, 255, 0.5));
      if (shown.map !== name) return; // another one was chosen in the meantime
      if (nv.volumes[1]) nv.removeVolume(nv.volumes[1]);
      if (map) nv.addVolume(map);
      nv.drawn = null;
    }
    draw();
    await frame();
    document.body.dataset.map = name || "";
  }
  function dragWindow(dx, dy, pane) {
    // Right: wider; down: brighter. The whole width of a pane is four times the window.
    const [low, high] = windowOf(pane);
    const span = high - low;
    const changed = Math.max(span * (1 + dx / 250), span * 0.02, 1e-6);
    const middle = (low + high) / 2 - (span * dy) / 250;
    const limits = pane === "removed" ? [-changed / 2, changed / 2] : [middle - changed / 2, middle + changed / 2];
    show({ [pane === "removed" ? "removed" : "window"]: limits });
  }
  function dragSlice(dx, dy, element) {
    const mm = state.pixel_mm;
    const scale = Math.max((width * mm[1]) / element.clientWidth, (height * mm[0]) / element.clientHeight) / shown.zoom;
    show({ pan: [shown.pan[0] + dx * scale, shown.pan[1] - dy * scale] });
  }

  const KEYS = {
    ArrowUp: () => goTo(shown.slice - 1), ArrowLeft: () => goTo(shown.slice - 1), PageUp: () => goTo(shown.slice - 10),
    ArrowDown: () => goTo(shown.slice + 1), ArrowRight: () => goTo(shown.slice + 1), PageDown: () => goTo(shown.slice + 10),
    Home: () => goTo(0), End: () => goTo(depth - 1),
    v: () => show({ view: "side" }), s: () => show({ view: "swipe" }), b: () => show({ view: "before" }),
    a: () => show({ view: "after" }), r: () => show({ view: "removed" }),
    m: () => chooseMap([...MAPS, null][(MAPS.indexOf(shown.map) + 1) % (MAPS.length + 1)]),
    n: () => goToPlace(1), p: () => goToPlace(-1),
    "+": () => zoomBy(1.25), "=": () => zoomBy(1.25), "-": () => zoomBy(0.8), 0: () => show({ zoom: 1, pan: [0, 0] }),
  };
  for (const [name, [key]] of Object.entries(state.windows)) KEYS[key] = () => chooseWindow(name);

  function listen() {
    addEventListener("keydown", (event) => {
      const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    });
    const onClick = (selector, act) => document.querySelectorAll(selector).forEach((button) => button.addEventListener("click", () => act(button.dataset)));
    onClick("button[data-view]", ({ view }) => show({ view }));
    onClick("[data-window]", (button) => chooseWindow(button.window));
    onClick("[data-map]", ({ map }) => chooseMap(map === shown.map ? null : map));
    onClick("#previous", () => goToPlace(-1));
    onClick("#next", () => goToPlace(1));
    onClick("#out", KEYS["-"]);
    onClick("#whole", KEYS[0]);
    onClick("#in", KEYS["+"]);
    byId("slice").addEventListener("input", (event) => goTo(Number(event.target.value)));
    addEventListener("resize", draw);
    byId("panes").addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.ctrlKey) zoomBy(event.deltaY < 0 ? 1.1 : 1 / 1.1);
      else goTo(shown.slice + Math.sign(event.deltaY));
    }, { passive: false });
    for (const name of SHOWN.side) listenToPointers(byId(`pane-${name}`), name);
    listenToDivider();
  }

  function listenToPointers(element, name) {
    const fingers = new Map();
    const apart = () => {
      const [one, two] = [...fingers.values()];
      return Math.hypot(one.x - two.x, one.y - two.y);
    };
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    });
    element.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const [dx, dy, distance] = [event.clientX - before.x, event.clientY - before.y, fingers.size === 2 ? apart() : 0];
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (fingers.size === 2) {
        zoomBy(apart() / Math.max(distance, 1));
        dragSlice(dx / 2, dy / 2, element);
      } else if (event.shiftKey) dragSlice(dx, dy, element);
      else dragWindow(dx, dy, name);
    });
    for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }

  function listenToDivider() {
    const divider = byId("divider");
    const move = (percent) => show({ swipe: Math.min(Math.max(percent, 0), 100) });
    divider.addEventListener("pointerdown", (event) => divider.setPointerCapture(event.pointerId));
    divider.addEventListener("pointermove", (event) => {
      const box = byId("panes").getBoundingClientRect();
      if (divider.hasPointerCapture(event.pointerId)) move((100 * (event.clientX - box.left)) / box.width);
    });
    divider.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -5, ArrowRight: 5 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      move(shown.swipe + step);
    });
  }

  // ---- Start

  async function start() {
    if (!document.createElement("canvas").getContext("webgl2"))
      throw new Error("the viewer needs WebGL 2, which this browser does not have or has switched off. Use another one.");
    byId("scales").style.setProperty("--colors", state.colors.map((color) => `rgb(${color.join(" ")})`).join(", "));
    await Promise.all([unpack("before", Int16Array), unpack("after", Int16Array), ...MAPS.map((name) => unpack(name, Uint8Array))]);
    show({ view: innerWidth < 768 ? "swipe" : "side" });
    listen();
    // The visible panes first; each compiles its shaders, which takes most of the start-up time.
    for (const name of [...new Set([...SHOWN[shown.view], ...SHOWN.side])]) {
      await openPane(name);
      byId("message").hidden = true;
      draw();
      await frame();
      document.body.dataset.first ||= Math.round(performance.now());
    }
    if (shown.map) await chooseMap(shown.map); // it was chosen before all panes existed
    document.body.dataset.ready = Math.round(performance.now());
  }

  start().catch((error) => {
    byId("message").hidden = false;
    byId("message").textContent = `The volumes cannot be displayed: ${error.message}`;
    throw error;
  });
})();
