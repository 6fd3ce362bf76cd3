# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of a fit: frozen values, checked on construction, and the presets.

``paper`` is NS-N2N as published, ``default`` is what users get, ``smooth`` smooths homogeneous CT regions further,
``fast`` is for previews. A field's help and bounds are in its :class:`~nsn2n.runtime.config_loading.Option`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from nsn2n.errors import SettingsError
from nsn2n.runtime.config_loading import check_bounds, option, shown, updated_from

__all__ = [
    "PRESETS",
    "AverageSettings",
    "CubeSettings",
    "EdgeSettings",
    "FitSettings",
    "GroupSettings",
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
        raise SettingsError(f"{rule}; got {shown(got)}. Correct it in the configuration.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchSettings:
    """Which voxels of two neighboring slices show the same tissue, so that one can serve as the training target."""

    rule: Literal["noise", "lowpass"] = option(
        "noise",
        "How neighboring slices are compared. noise: by their difference, in units of the noise of that difference; "
        "lowpass: with the paper's low-pass filter and tau.",
    )
    smoothing_px: float = option(
        0.7,
        "Sd of the in-plane Gaussian that smooths the difference before it is compared (rule noise).",
        unit="px",
        at_least=0,
    )
    threshold_sd: float = option(
        2.0,
        "Largest difference that counts as noise, in standard deviations of the smoothed difference (rule noise).",
        unit="sd",
        above=0,
    )
    refine_at: float = option(
        0.5,
        "Fraction of the steps after which the neighbors are compared again using the network fitted so far (rule "
        "noise); 1: never.",
        at_least=0,
        at_most=1,
    )
    refine_smoothing_px: float = option(
        0.5,
        "Sd of the in-plane Gaussian that smooths the difference of the denoised neighbors.",
        unit="px",
        at_least=0,
    )
    refine_threshold_sd: float = option(
        1.0,
        "Largest difference of the denoised neighbors, in noise standard deviations of one slice.",
        unit="sd",
        above=0,
    )
    correlation: Literal["auto", "none"] = option(
        "auto",
        "Noise that neighboring slices share. auto: its amount is measured, and either it is removed from the training "
        "targets, or slices two apart are paired instead (rule noise); none: neighbors are assumed to share no noise, "
        "as in the paper.",
    )
    tau: float = option(
        0.015,
        "Largest difference of the filtered neighbors, as a fraction of the data range (rule lowpass).",
        above=0,
    )

    def __post_init__(self) -> None:
        check_bounds(self, "match.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """The three terms of the loss and the unit of the errors."""

    units: Literal["noise", "range"] = option(
        "noise",
        "Scale by which errors are divided. noise: the local noise sd; range: the data range, as in the paper.",
    )
    huber_delta: float | None = option(
        2.0,
        "Errors beyond this many units count linearly; null: squared error throughout, as in the paper.",
        above=0,
    )
    regional_consistency: float = option(0.0, "Weight of L_RC (lambda_RC).", at_least=0)
    interslice_continuity: float = option(0.0, "Weight of L_IC (lambda_IC).", at_least=0)

    def __post_init__(self) -> None:
        check_bounds(self, "loss.")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """The network that is fitted to the volume."""

    kind: Literal["residual-unet", "unet"] = option(
        "residual-unet", "Architecture of the network; unet is MONAI's BasicUNet, as in the paper."
    )
    channels: int = option(32, "Feature channels at full resolution.", at_least=1, at_most=512)
    levels: int = option(
        3,
        "Number of resolution levels, each half the one before (kind residual-unet; unet always has five).",
        at_least=1,
        at_most=6,
    )
    detail_px: float = option(
        3.0,
        "The input of the network is a slice minus its Gaussian mean of this sd, so that bfloat16 resolves the noise "
        "everywhere (kind residual-unet).",
        unit="px",
        above=0,
        at_most=64,
    )
    start: Literal["auto", "none"] = option(
        "auto",
        "Initial weights of the fit. auto: the bundled weights if they are for a network of this kind and size; none: "
        "random weights and the identity.",
    )

    def __post_init__(self) -> None:
        check_bounds(self, "network.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How the network is fitted."""

    steps: int | None = option(
        None,
        "Maximum number of optimizer steps. null: as given by epochs; if that is null too, 400, or 80 if a second "
        "fit (refit) or the group filter follows and the fits start from the bundled weights: neither needs a better "
        "first result.",
        at_least=1,
    )
    epochs: int | None = option(
        None, "How many times each pair of neighbors is used; set it instead of steps.", at_least=1
    )
    pairs_per_step: int = option(2, "Pairs of crops per step; each is used in both directions.", at_least=1)
    crop_px: int = option(64, "Edge of the square crops; smaller slices are used whole.", unit="px", at_least=8)
    learning_rate: float = option(
        1e-3, "Learning rate of the optimizer; its peak if schedule is one-cycle.", above=0, below=1
    )
    schedule: Literal["averaged", "one-cycle", "constant"] = option(
        "averaged",
        "Schedule of the learning rate. averaged: it is constant, and the result is the mean of the weights of all "
        "steps, later ones weighted more, which is usable at any step; one-cycle: it rises and falls, which is better "
        "for a fit from random weights; constant: it is constant, and the result is the last step, as in the paper.",
    )
    stop_gain: float | None = option(
        1e-3,
        "The fit ends once 100 more steps lower the loss of some fixed crops by less than this fraction (schedule "
        "averaged); null: all steps are run.",
        at_least=0,
        below=1,
    )
    weight_decay: float = option(1e-5, "Weight decay of the optimizer.", at_least=0)
    flips: bool = option(True, "Flip crops at random along both axes. Not in the paper.")
    gradient_norm: float | None = option(1.0, "Gradients are clipped to this norm; null: not clipped.", above=0)
    reuse: bool = option(
        True,
        "In a series of several volumes or parts, one whose noise and contrast are within a tenth of those of an "
        "earlier one is denoised by the networks fitted to that one, in a fraction of the time.",
    )

    def __post_init__(self) -> None:
        _require(
            self.steps is None or self.epochs is None, "only one of fit.steps and fit.epochs may be set",
            (self.steps, self.epochs),
        )  # fmt: skip
        check_bounds(self, "fit.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageSettings:
    """Non-local means of the noisy slices, guided by the fit. Not in the paper."""

    when: Literal["auto", "always", "never"] = option(
        "auto",
        "Whether it is applied. auto: according to the modality policy (nsn2n.modality). In CT it makes flat areas "
        "flat, and removes the faint detail of tissue together with the noise.",
    )
    reach: int | None = option(
        None,
        "Reach of the search window along each in-plane axis, in steps. null: 3, or 2 if the coarse mean follows.",
        at_least=1,
        at_most=16,
    )
    step_px: int | None = option(
        None,
        "Pixels per step. null: 2 where the noise of neighboring pixels is correlated, as a reconstruction kernel "
        "makes it, since such neighbors add little information; 1 otherwise.",
        unit="px",
        at_least=1,
        at_most=16,
    )
    reach_slices: int = option(
        2,
        "Reach of the search window in slices; the in-plane reach shrinks by one step for each slice after the first.",
        unit="slices",
        at_least=0,
        at_most=4,
    )
    similarity_sd: float = option(
        0.5,
        "Difference of denoised voxels, in noise sd, at which their weight starts to fall.",
        unit="sd",
        above=0,
    )
    coarse: Literal["auto", "always", "never"] = option(
        "auto",
        "Whether the mean is averaged again in steps that double, if a step is more than one pixel: correlated noise "
        "leaves blotches that averaging nearby pixels cannot reduce. auto: according to the modality policy "
        "(nsn2n.modality). In CT, filtered back projection leaves little low-frequency noise, so coarse structure "
        "stands out and is restored; in PET and smoothed MR, blobs of noise look like lesions, which would lose "
        "contrast.",
    )
    coarse_sd: float = option(0.45, "Like similarity_sd, for the coarse mean.", unit="sd", above=0)

    def __post_init__(self) -> None:
        check_bounds(self, "average.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """Collaborative filter of groups of similar block stacks over whole slices, which recovers faint detail that the
    fit lost (:mod:`nsn2n.filters.group_filter`). Not in the paper."""

    when: Literal["auto", "always", "never"] = option(
        "auto", "Whether it is applied. auto: according to the modality policy (nsn2n.modality)."
    )
    stacks: int = option(
        8, "Stacks per group; a stack is a block of 8 x 8 pixels in three slices.", at_least=1, at_most=32
    )
    detail_lost: float = option(
        0.09,
        "Fraction of the faint detail that may be removed: as much noise is removed as this allows on a simulated "
        "copy of a part of the volume, for which the truth is known.",
        at_least=0,
        at_most=1,
    )
    unsure_lost: float = option(
        0.18,
        "The same fraction, where that detail may be noise left in the estimate of the truth; if detail_lost is "
        "larger, that is used. The more surely the detail is anatomy, the closer the limit is to detail_lost.",
        at_least=0,
        at_most=1,
    )
    contrast_lost: float = option(
        0.35,
        "Fraction of contrast that faint discs inserted into a part of the series may lose, counting those visible in "
        "the source: as much noise is removed as this and detail_lost allow.",
        at_least=0,
        at_most=1,
    )
    noise_factor: float | None = option(
        None,
        "Factor on the noise power in the Wiener weights: a smaller factor keeps more of what is faint, "
        "and more of the noise. null: as detail_lost and contrast_lost allow, at most 1.",
        above=0,
        at_most=4,
    )

    def __post_init__(self) -> None:
        check_bounds(self, "groups.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CubeSettings:
    """Collaborative filter of groups of similar cubes of 4 x 4 x 4 voxels (:mod:`nsn2n.filters.cube_filter`), which
    reduces the residual noise, above all at edges. Not in the paper."""

    when: Literal["auto", "always", "never"] = option(
        "auto", "Whether it is applied. auto: according to the modality policy (nsn2n.modality)."
    )
    cubes: int = option(12, "Cubes per group.", at_least=2, at_most=64)
    noise_factor: float = option(
        1.0,
        "Factor on the noise power in the Wiener weights: a smaller factor keeps more of what is faint, "
        "and more of the noise.",
        above=0,
        at_most=4,
    )
    share: float = option(
        0.2,
        "Weight of the unfiltered values in their mean with the filtered ones; it is larger where the two differ by a "
        "small structure, such as a spot in a single slice.",
        at_least=0,
        at_most=1,
    )

    def __post_init__(self) -> None:
        check_bounds(self, "cubes.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """Collaborative filter of groups of similar blocks that reduces the noise at edges
    (:mod:`nsn2n.filters.edge_filter`). Not in the paper."""

    when: Literal["auto", "always", "never"] = option(
        "never",
        "Whether noise at edges is filtered. auto: according to the modality policy (nsn2n.modality). CT benefits from "
        "it, MR only a little; it follows the guided mean, not the group filter, which does the same everywhere.",
    )
    contrast_sd: float = option(
        6.0,
        "An edge is where values within 5 x 5 pixels differ by more than this many noise sd: more than a faint spot "
        "does.",
        unit="sd",
        above=0,
    )
    threshold_sd: float = option(
        2.0,
        "What the guide contains at a frequency counts as its own noise up to this many sd of the volume's noise "
        "at that frequency.",
        unit="sd",
        at_least=0,
    )
    keep_sd: float = option(
        2.5,
        "What the filter would remove from a slice is kept where its mean over a few pixels exceeds this many standard "
        "deviations of such a mean at edges.",
        unit="sd",
        above=0,
    )

    def __post_init__(self) -> None:
        check_bounds(self, "edges.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitSettings:
    """A second network with several slices as input, fitted to the result of the first with noise added to it. Not in
    the paper."""

    when: Literal["auto", "always", "never"] = option(
        "auto",
        "Whether the second network is fitted. auto: according to the modality policy (nsn2n.modality). MR gains "
        "0.8 dB from it; CT loses, and so do spots in CT that are in one slice only.",
    )
    steps: int = option(200, "Optimizer steps in total.", at_least=1)
    renew_at: float = option(
        0.25,
        "Fraction of the steps after which the target is recomputed with the network fitted so far; 0: never.",
        at_least=0,
        below=1,
    )
    learning_rate: float = option(
        4e-3,
        "Peak learning rate. Before the target is recomputed as well as after, the rate rises over a tenth of the "
        "steps and falls over the rest.",
        above=0,
        below=1,
    )
    slices: int = option(
        5, "Slices in the input of the network, the one to denoise in the middle.", unit="slices", choices=(1, 3, 5, 7)
    )
    crops_per_step: int = option(2, "Crops per step.", at_least=1)
    share: float = option(
        0.3,
        "Weight of the network's result in its mean with the non-local means that it guides.",
        at_least=0,
        at_most=1,
    )

    def __post_init__(self) -> None:
        check_bounds(self, "refit.")

    @property
    def draft_steps(self) -> int:
        """Optimizer steps before the target is recomputed."""
        return int(self.renew_at * self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureSettings:
    """Limits of the verdict on what was removed (:mod:`nsn2n.structure_check`): beyond the first of each pair it is
    ``review``, beyond the second ``fail``. ``benchmarks/structure.py`` measures how often each is right."""

    edges_review: float = option(
        0.1, "Fraction of the fine detail of edges that was removed, beyond which the verdict is review.", above=0
    )
    edges_fail: float = option(0.2, "The same fraction, beyond which the verdict is fail.", above=0)
    detail_review: float = option(
        0.1,
        "Fraction of faint detail lost on a simulated copy of a part of the volume, beyond which the verdict is "
        "review.",
        above=0,
    )
    detail_fail: float = option(0.2, "The same fraction, beyond which the verdict is fail.", above=0)
    contrast_review: float = option(
        0.4,
        "Fraction of contrast lost by faint discs that are visible in the source, beyond which the verdict is "
        "review where no detail of the copy is clearly distinguishable from noise.",
        above=0,
    )
    contrast_fail: float = option(
        0.5,
        "The same fraction, beyond which the verdict is fail there, and review where the copy has such detail.",
        above=0,
    )
    excess_review: float = option(
        6.0,
        "Largest local mean of the removed part, in standard deviations of such a mean of noise, beyond which the "
        "verdict is review.",
        unit="sd",
        above=0,
    )
    excess_fail: float = option(8.0, "The same mean, beyond which the verdict is fail.", unit="sd", above=0)
    coherence_review: float = option(
        1.1,
        "Root mean square of the local means, relative to that of noise, beyond which the verdict is review.",
        above=0,
    )
    coherence_fail: float = option(1.5, "The same ratio, beyond which the verdict is fail.", above=0)

    def __post_init__(self) -> None:
        check_bounds(self, "structure.")
        for name in ("edges", "detail", "contrast", "excess", "coherence"):
            review, fail = getattr(self, f"{name}_review"), getattr(self, f"{name}_fail")
            _require(
                review <= fail, f"structure.{name}_review must be > 0 and <= structure.{name}_fail", (review, fail)
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that determines the result, besides the volume and the machine."""

    preset: str = option(
        "default", "The preset that these settings started from; in Python, only a name for logs and records."
    )
    seed: int = option(
        0,
        "Seed of the weights and crops, 0 to 2**63-1: the same volume, seed and machine give the same voxels.",
    )
    strength: float = option(
        1.0,
        "Fraction of the change that is applied: 0 gives the source, 1 the denoised volume.",
        at_least=0,
        at_most=1,
    )
    largest_change_sd: float | None = option(
        5.0,
        "No voxel is changed by more than this many local noise sd; null: no limit, as in the paper.",
        unit="sd",
        above=0,
    )
    mean_px: float | None = option(
        12.0,
        "The mean of the removed part under an in-plane Gaussian of this sd is restored, so that no region's mean "
        "shifts; noise has no such mean. null: not restored, as in the paper.",
        unit="px",
        above=0,
    )
    excess_sd: float | None = option(
        3.5,
        "What a fit removed is restored where its mean over a few pixels exceeds this many standard deviations of "
        "such a mean of noise (1.5 times as many at the end): a small structure that the fit erased. null: not "
        "restored, as in the paper.",
        unit="sd",
        above=0,
    )
    excess_across_sd: float | None = option(
        3.5,
        "The same for its mean over a few pixels and slices, at the end: a faint structure that extends over several "
        "slices. null: not restored, as in the paper.",
        unit="sd",
        above=0,
    )
    budget_s: float | None = option(
        None,
        "Time limit of a volume: the fits end early to stay within it. Their number of steps then depends "
        "on the machine; to get the same bytes again, set the number of steps that was run. null: no limit.",
        unit="s",
        above=0,
    )
    match: MatchSettings = field(default_factory=MatchSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    fit: FitSettings = field(default_factory=FitSettings)
    average: AverageSettings = field(default_factory=AverageSettings)
    groups: GroupSettings = field(default_factory=GroupSettings)
    cubes: CubeSettings = field(default_factory=CubeSettings)
    edges: EdgeSettings = field(default_factory=EdgeSettings)
    refit: RefitSettings = field(default_factory=RefitSettings)
    structure: StructureSettings = field(default_factory=StructureSettings)
    contrast_kept: bool = option(
        True,
        "Measure the contrast retention of faint discs in the middle slices, where the spacing is known. Without "
        "it the verdict does not consider them.",
    )
    acquired_grid: Literal["auto", "none"] = option(
        "auto",
        "Grid of MR slices that were interpolated in the plane by zero filling. auto: they are denoised on the grid on "
        "which they were acquired, where neighboring pixels share no noise, and the result is interpolated again; "
        "none: they are denoised as stored, as in the paper.",
    )
    rician: bool = option(
        True,
        "In MR magnitudes, subtract the mean of the noise, which no fit to noisy slices can see. Not in the paper.",
    )

    def __post_init__(self) -> None:
        whole = isinstance(self.seed, int) and not isinstance(self.seed, bool)
        _require(whole and 0 <= self.seed < 2**63, "seed must be an integer in 0..2**63-1", self.seed)
        check_bounds(self)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], base: Settings | None = None) -> Settings:
        """Make settings from plain values, as a YAML or JSON file holds them.

        Parameters
        ----------
        mapping : Mapping
            Nested by section, for example ``{"fit": {"steps": 800}}``; what is absent is taken from ``base``.
        base : Settings, optional
            The settings to start from; by default the preset that ``mapping["preset"]`` names, else ``default``.

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
        """Return the settings as nested plain values, the inverse of ``from_mapping``."""
        return asdict(self)


PRESETS: Mapping[str, Settings] = {
    "default": Settings(),
    # Smooth homogeneous regions matter more than detail fainter than the noise.
    "smooth": Settings(
        preset="smooth",
        average=AverageSettings(when="always"),
        groups=GroupSettings(when="never"),
        edges=EdgeSettings(when="auto"),
    ),
    # For a preview before the real run.
    "fast": Settings(
        preset="fast",
        fit=FitSettings(steps=150, stop_gain=None),
        cubes=CubeSettings(when="never"),
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
            stop_gain=None, gradient_norm=None, reuse=False,
        ),
        average=AverageSettings(when="never"),
        groups=GroupSettings(when="never"),
        cubes=CubeSettings(when="never"),
        edges=EdgeSettings(when="never"),
        refit=RefitSettings(when="never"),
        acquired_grid="none",
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
        raise SettingsError(f"preset must be one of {', '.join(PRESETS)}; got {shown(name)}.")
    return PRESETS[name]
