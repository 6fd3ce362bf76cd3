# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of a fit: frozen values, checked when made, and the three presets.

``paper`` is NS-N2N as published, ``default`` is what users get, ``fast`` is for previews.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from nsn2n.errors import SettingsError
from nsn2n.runtime.config_loading import updated_from

__all__ = [
    "PRESETS",
    "AverageSettings",
    "EdgeSettings",
    "FitSettings",
    "LossSettings",
    "MatchSettings",
    "NetworkSettings",
    "RefitSettings",
    "Settings",
    "StructureSettings",
    "preset",
]


def _require(condition: bool, rule: str, got: object) -> None:
    if not condition:
        raise SettingsError(f"{rule}; got {got!r}. Correct it in the configuration.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchSettings:
    """Which voxels of two neighboring slices show the same tissue, so that one may teach the other."""

    rule: Literal["noise", "lowpass"] = "noise"
    """``noise``: the difference of neighbors in units of its own noise; ``lowpass``: the paper's filter and tau."""
    smoothing_px: float = 0.7
    """In-plane Gaussian on the difference before it is judged (``noise``)."""
    threshold_sd: float = 2.0
    """Largest difference that counts as noise, in standard deviations of the smoothed difference (``noise``)."""
    refine_at: float = 0.5
    """Fraction of the steps after which the fitted network itself judges the neighbors again (``noise``); 1: never."""
    refine_smoothing_px: float = 0.5
    """In-plane Gaussian on the difference of the denoised neighbors."""
    refine_threshold_sd: float = 1.0
    """Largest difference of the denoised neighbors, in noise standard deviations of one slice."""
    correlation: Literal["auto", "none"] = "auto"
    """``auto``: how much of the noise neighbors share is measured; it is taken out of what they teach, or slices two
    apart teach each other (``noise``); ``none``: they are taken to share none, as in the paper."""
    tau: float = 0.015
    """Largest difference of the filtered neighbors, in fractions of the data range (``lowpass``)."""

    def __post_init__(self) -> None:
        _require(self.smoothing_px >= 0, "match.smoothing_px must be >= 0", self.smoothing_px)
        _require(self.threshold_sd > 0, "match.threshold_sd must be > 0", self.threshold_sd)
        _require(0 <= self.refine_at <= 1, "match.refine_at must be in 0..1", self.refine_at)
        _require(self.refine_smoothing_px >= 0, "match.refine_smoothing_px must be >= 0", self.refine_smoothing_px)
        _require(self.refine_threshold_sd > 0, "match.refine_threshold_sd must be > 0", self.refine_threshold_sd)
        _require(self.tau > 0, "match.tau must be > 0", self.tau)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """The three terms of the loss and the units in which errors are counted."""

    units: Literal["noise", "range"] = "noise"
    """``noise``: errors are divided by the local noise sd; ``range``: by the data range, as in the paper."""
    huber_delta: float | None = 2.0
    """Errors beyond this many units count linearly; None: squared error throughout, as in the paper."""
    regional_consistency: float = 0.0
    """Weight of L_RC (lambda_RC)."""
    interslice_continuity: float = 0.0
    """Weight of L_IC (lambda_IC)."""

    def __post_init__(self) -> None:
        _require(self.huber_delta is None or self.huber_delta > 0, "loss.huber_delta must be > 0", self.huber_delta)
        _require(
            self.regional_consistency >= 0,
            "loss.regional_consistency must be >= 0",
            self.regional_consistency,
        )
        _require(
            self.interslice_continuity >= 0,
            "loss.interslice_continuity must be >= 0",
            self.interslice_continuity,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """The network that is fitted to the volume."""

    kind: Literal["residual-unet", "unet"] = "residual-unet"
    """``unet`` is MONAI's BasicUNet, as in the paper."""
    channels: int = 32
    """Feature channels at full resolution."""
    levels: int = 3
    """Resolutions, each half the one before (``residual-unet``; the other has five)."""
    detail_px: float = 3.0
    """The network sees a slice minus its Gaussian mean of this sd, so that bfloat16 resolves the noise everywhere
    (``residual-unet``)."""

    start: Literal["auto", "none"] = "auto"
    """``auto``: the fit starts from the weights of the bundle, where these are for a network of this kind and size;
    ``none``: from random weights and the identity."""

    def __post_init__(self) -> None:
        _require(1 <= self.channels <= 512, "network.channels must be in 1..512", self.channels)
        _require(1 <= self.levels <= 6, "network.levels must be in 1..6", self.levels)
        _require(0 < self.detail_px <= 64, "network.detail_px must be in (0, 64]", self.detail_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How the network is fitted."""

    steps: int | None = None
    """Optimizer steps at most. None: as many as ``epochs`` makes; where that is None too, 400, or 80 where a second
    fit (:class:`RefitSettings`) follows and both start from the bundle: it needs no better first result."""
    epochs: int | None = None
    """Times that each pair of neighbors is seen, in place of ``steps``."""
    pairs_per_step: int = 2
    """Pairs of crops in a step; each is used in both directions."""
    crop_px: int = 64
    """Edge of the square crops; smaller slices are used whole."""
    learning_rate: float = 1e-3
    schedule: Literal["averaged", "one-cycle", "constant"] = "averaged"
    """``averaged``: constant, and the result is the mean of the weights of all steps, the later ones counting more,
    which is good at any step; ``one-cycle``: better where a fit starts from random weights."""
    stop_gain: float | None = 1e-3
    """The fit ends where 100 more steps lowered the loss of some fixed crops by less than this part (``averaged``);
    None: it takes all its steps."""
    weight_decay: float = 1e-5
    flips: bool = True
    """Crops are flipped at random along both axes. Not in the paper."""
    gradient_norm: float | None = 1.0
    """Gradients are clipped to this norm; None: not clipped."""

    def __post_init__(self) -> None:
        _require(
            self.steps is None or self.epochs is None, "only one of fit.steps and fit.epochs may be set",
            (self.steps, self.epochs),
        )  # fmt: skip
        _require(self.steps is None or self.steps >= 1, "fit.steps must be >= 1", self.steps)
        _require(self.epochs is None or self.epochs >= 1, "fit.epochs must be >= 1", self.epochs)
        _require(self.pairs_per_step >= 1, "fit.pairs_per_step must be >= 1", self.pairs_per_step)
        _require(self.crop_px >= 8, "fit.crop_px must be >= 8", self.crop_px)
        _require(self.stop_gain is None or 0 <= self.stop_gain < 1, "fit.stop_gain must be in [0, 1)", self.stop_gain)
        _require(0 < self.learning_rate < 1, "fit.learning_rate must be in (0, 1)", self.learning_rate)
        _require(self.weight_decay >= 0, "fit.weight_decay must be >= 0", self.weight_decay)
        _require(
            self.gradient_norm is None or self.gradient_norm > 0,
            "fit.gradient_norm must be > 0",
            self.gradient_norm,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageSettings:
    """The nonlocal mean of the noisy slices that the fit guides. Not in the paper."""

    reach: int | None = None
    """Steps along each axis of the plane within which voxels can count; 0: no such mean is taken. None: 3, or 2 where
    the coarse mean follows."""
    step_px: int | None = None
    """Pixels in a step. None: 2 where the noise of neighboring pixels is correlated, as a reconstruction kernel makes
    it, since such neighbors tell little new; 1 elsewhere."""
    reach_slices: int = 2
    """Voxels up to this many slices away can count, with one step less of reach for each slice after the first."""
    similarity_sd: float = 0.5
    """Difference of denoised voxels, in noise sd, at which their weight begins to fall."""
    coarse: Literal["ct", "always", "never"] = "ct"
    """Whether that mean is averaged again in steps that double, where steps are of more than one pixel: correlated
    noise leaves blotches that a mean over near pixels cannot lower. ``ct``: for modality CT. Filtered back projection
    leaves little noise of low frequency, so that what is coarse stands out and is given back; blobs of noise in PET and
    in smoothed MR look like lesions, which would lose contrast."""
    coarse_sd: float = 0.45
    """As ``similarity_sd``, for the voxels of that mean."""

    def __post_init__(self) -> None:
        _require(self.reach is None or 0 <= self.reach <= 16, "average.reach must be in 0..16", self.reach)
        _require(self.step_px is None or 1 <= self.step_px <= 16, "average.step_px must be in 1..16", self.step_px)
        _require(0 <= self.reach_slices <= 4, "average.reach_slices must be in 0..4", self.reach_slices)
        _require(self.similarity_sd > 0, "average.similarity_sd must be > 0", self.similarity_sd)
        _require(self.coarse_sd > 0, "average.coarse_sd must be > 0", self.coarse_sd)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """The filter of groups of similar blocks that lowers the noise at edges (:mod:`nsn2n.filters.edge_filter`). Not in
    the paper."""

    when: Literal["ct", "always", "never"] = "ct"
    """``ct``: for modality CT. MR gains little by it."""
    contrast_sd: float = 6.0
    """An edge is where values within 5 x 5 pixels differ by more than this many noise sd: more than a faint spot."""
    threshold_sd: float = 2.0
    """What the guide holds of a frequency counts as its own noise up to this many sd of the volume's noise in it."""
    keep_sd: float = 2.5
    """What the filter takes out of a slice stays where its mean over a few pixels is beyond this many standard
    deviations of such a mean at edges."""

    def __post_init__(self) -> None:
        _require(self.contrast_sd > 0, "edges.contrast_sd must be > 0", self.contrast_sd)
        _require(self.threshold_sd >= 0, "edges.threshold_sd must be >= 0", self.threshold_sd)
        _require(self.keep_sd > 0, "edges.keep_sd must be > 0", self.keep_sd)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitSettings:
    """A second network that sees several slices, fitted to the result of the first with noise added to it. Not in the
    paper."""

    when: Literal["mr", "always", "never"] = "mr"
    """``mr``: for modality MR. There it gains 0.8 dB; CT loses by it, and so do its spots of one slice."""
    steps: int = 200
    """Optimizer steps, together."""
    renew_at: float = 0.25
    """Fraction of the steps after which the target is made anew with the network as it is then; 0: never."""
    learning_rate: float = 4e-3
    """Its peak: before the target is renewed, and after it, it rises over a tenth of the steps and falls over the
    rest."""
    slices: int = 5
    """Slices that it sees, the one to denoise in their middle."""
    crops_per_step: int = 2
    share: float = 0.3
    """Weight of its result in the mean with the nonlocal mean that it guides."""

    def __post_init__(self) -> None:
        _require(self.steps >= 1, "refit.steps must be >= 1", self.steps)
        _require(0 <= self.renew_at < 1, "refit.renew_at must be in [0, 1)", self.renew_at)
        _require(0 < self.learning_rate < 1, "refit.learning_rate must be in (0, 1)", self.learning_rate)
        _require(self.slices in (1, 3, 5, 7), "refit.slices must be 1, 3, 5 or 7", self.slices)
        _require(self.crops_per_step >= 1, "refit.crops_per_step must be >= 1", self.crops_per_step)
        _require(0 <= self.share <= 1, "refit.share must be in 0..1", self.share)

    @property
    def draft_steps(self) -> int:
        """Optimizer steps before the target is renewed."""
        return int(self.renew_at * self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureSettings:
    """Limits of the verdict on what was removed (:mod:`nsn2n.structure_check`): beyond the first of each pair it is
    ``review``, beyond the second ``fail``. ``benchmarks/structure.py`` measures how often each is right."""

    edges_review: float = 0.1
    """Share of the fine detail of edges that was removed."""
    edges_fail: float = 0.2
    excess_review: float = 6.0
    """Largest local mean of the removed part, in standard deviations of such a mean of noise."""
    excess_fail: float = 8.0
    coherence_review: float = 1.1
    """Root mean square of the local means, over that of noise."""
    coherence_fail: float = 1.5

    def __post_init__(self) -> None:
        for name in ("edges", "excess", "coherence"):
            review, fail = getattr(self, f"{name}_review"), getattr(self, f"{name}_fail")
            _require(
                0 < review <= fail, f"structure.{name}_review must be > 0 and <= structure.{name}_fail", (review, fail)
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that decides the outcome, besides the volume and the machine."""

    preset: str = "default"
    """The preset these settings started from; a name for logs and records."""
    seed: int = 0
    """Seed of the weights and the crops: the same volume, seed and machine give the same voxels."""
    strength: float = 1.0
    """Share of the change that is made, 0..1: 0 gives the source, 1 the denoised volume
    (:mod:`nsn2n.filters.blending`)."""
    largest_change_sd: float | None = 5.0
    """No voxel is changed by more than this many local noise sd; None: no limit, as in the paper."""
    mean_px: float | None = 12.0
    """The mean of the removed part under a Gaussian of this sd in the plane is given back, so that no region's mean is
    moved; noise has no such mean. None: not given back, as in the paper."""
    excess_sd: float | None = 3.5
    """What a fit removed is given back where its mean over a few pixels is beyond this many standard deviations of such
    a mean of noise, half as many more at the end: a small structure that the fit erased. None: not given back, as in
    the paper."""
    excess_across_sd: float | None = 3.5
    """The same for its mean over a few pixels and slices, at the end: a faint structure that goes through several
    slices. None: not given back, as in the paper."""
    budget_s: float | None = None
    """Seconds that a volume may take: the fits end early to keep to it. Their steps then depend on the machine; to have
    the same bytes again, set the steps that were taken. None: no limit."""
    match: MatchSettings = field(default_factory=MatchSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    fit: FitSettings = field(default_factory=FitSettings)
    average: AverageSettings = field(default_factory=AverageSettings)
    edges: EdgeSettings = field(default_factory=EdgeSettings)
    refit: RefitSettings = field(default_factory=RefitSettings)
    structure: StructureSettings = field(default_factory=StructureSettings)
    rician: bool = True
    """In MR magnitudes the mean of the noise is taken away, which no fit to noisy slices can see. Not in the paper."""

    def __post_init__(self) -> None:
        _require(
            isinstance(self.seed, int) and 0 <= self.seed < 2**63, "seed must be an integer in 0..2**63-1", self.seed
        )
        _require(0 <= self.strength <= 1, "strength must be in 0..1", self.strength)
        _require(
            self.largest_change_sd is None or self.largest_change_sd > 0,
            "largest_change_sd must be > 0",
            self.largest_change_sd,
        )
        _require(self.excess_sd is None or self.excess_sd > 0, "excess_sd must be > 0", self.excess_sd)
        _require(
            self.excess_across_sd is None or self.excess_across_sd > 0,
            "excess_across_sd must be > 0",
            self.excess_across_sd,
        )
        _require(self.budget_s is None or self.budget_s > 0, "budget_s must be > 0", self.budget_s)
        _require(self.mean_px is None or self.mean_px > 0, "mean_px must be > 0", self.mean_px)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], base: Settings | None = None) -> Settings:
        """Make settings from plain values, as a YAML or JSON file holds them.

        Parameters
        ----------
        mapping : Mapping
            Nested by section, for example ``{"fit": {"steps": 800}}``; what is absent stays as in ``base``.
        base : Settings, optional
            Where to start from; the preset that ``mapping["preset"]`` names, else ``default``.

        Raises
        ------
        SettingsError
            If a key is unknown (the nearest known one is named), or a value has the wrong type or is out of bounds.
        """
        if not isinstance(mapping, Mapping):
            raise SettingsError(f"A configuration must be a mapping of settings; got {type(mapping).__name__}.")
        if base is None:
            base = preset(mapping.get("preset", "default"))
        return updated_from(base, mapping)

    def to_mapping(self) -> dict[str, Any]:
        """Return the settings as nested plain values; ``from_mapping`` turns them back."""
        return asdict(self)


PRESETS: Mapping[str, Settings] = {
    "default": Settings(),
    # For a look before the real run.
    "fast": Settings(
        preset="fast",
        fit=FitSettings(steps=150, stop_gain=None),
        refit=RefitSettings(when="never"),
    ),
    # Zhou et al., arXiv 2411.10831; learning rate, decay, crops, batch, epochs, tau and the weights of the terms as
    # Cho and Yoo, arXiv 2606.23200, report them.
    "paper": Settings(
        preset="paper",
        largest_change_sd=None,
        mean_px=None,
        excess_sd=None,
        excess_across_sd=None,
        match=MatchSettings(rule="lowpass", refine_at=1.0, correlation="none"),
        loss=LossSettings(units="range", huber_delta=None, regional_consistency=0.5, interslice_continuity=1.0),
        network=NetworkSettings(kind="unet", start="none"),
        fit=FitSettings(
            steps=None, epochs=10, pairs_per_step=4, crop_px=256, learning_rate=2e-4, schedule="constant",
            stop_gain=None, gradient_norm=None,
        ),
        average=AverageSettings(reach=0),
        edges=EdgeSettings(when="never"),
        refit=RefitSettings(when="never"),
        rician=False,
    ),
}  # fmt: skip


def preset(name: str) -> Settings:
    """Return the settings of a preset.

    Raises
    ------
    SettingsError
        If there is no preset of that name.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise SettingsError(f"preset must be one of {', '.join(PRESETS)}; got {name!r}.")
    return PRESETS[name]
