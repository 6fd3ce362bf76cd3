# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The method as a list of stages, each in a separate module.

A new stage is a module here, with a function from state to state, and a line in :func:`stages`.
"""

from __future__ import annotations

from nsn2n.modality import Modality, policy_of
from nsn2n.settings import Settings
from nsn2n.stages.blending import blending
from nsn2n.stages.bounds import bounds
from nsn2n.stages.contrast_kept import contrast_kept
from nsn2n.stages.cube_filter import cube_filter
from nsn2n.stages.earlier_fit import earlier_fit
from nsn2n.stages.edge_filter import edge_filter
from nsn2n.stages.faint_discs import faint_discs
from nsn2n.stages.group_filter import group_filter
from nsn2n.stages.guided_mean import guided_mean
from nsn2n.stages.invalid_voxels import invalid_voxels
from nsn2n.stages.mixing import mixing
from nsn2n.stages.multislice_fit import draft_fit, final_fit
from nsn2n.stages.neighbor_fit import neighbor_fit
from nsn2n.stages.rician_mean import rician_mean
from nsn2n.stages.simulated_copy import simulated_copy
from nsn2n.stages.state import PipelineState, Stage
from nsn2n.stages.structure_check import structure_check
from nsn2n.stages.structure_recovery import small_structures, structures_across
from nsn2n.stages.tissue_network import tissue_network
from nsn2n.training.pretrained import starts_from_bundle

__all__ = ["PipelineState", "Stage", "stages", "stages_without_noise"]


def stages(settings: Settings, modality: Modality | None, *, fitted: bool = False) -> list[Stage]:
    """Return the stages of a run, in order.

    Parameters
    ----------
    settings : Settings
    modality : Modality, optional
        Its policy decides settings that are ``auto``.
    fitted : bool
        An earlier fit is reused, so there is none here.
    """
    policy = policy_of(modality)
    averages = _wanted(settings.average.when, policy.guided_mean)
    grouped = _wanted(settings.groups.when, policy.group_filter)
    fits_again = _wanted(settings.refit.when, policy.multislice_fit)
    cubed = _wanted(settings.cubes.when, policy.cube_filter)
    drafts = fits_again and settings.refit.draft_steps > 0
    coarse = _wanted(settings.average.coarse, policy.coarse_mean)
    brief_fit = starts_from_bundle(settings.network) and (
        grouped or (fits_again and starts_from_bundle(settings.network, settings.refit.slices))
    )
    mean = (averages, guided_mean(coarse=coarse))
    first_result = ((not grouped, small_structures()), mean)
    second_fit = (
        *first_result,
        (drafts, draft_fit()),
        (drafts and averages, mean[1]),
        (drafts, mixing()),
        (drafts and cubed, cube_filter(draft=True)),
        (True, final_fit()),
    )
    fits = _those_wanted(
        (True, neighbor_fit(draft=brief_fit)),
        *(second_fit if fits_again else ()),
        (grouped and starts_from_bundle(settings.network), tissue_network()),
    )
    if fitted:
        fits = [earlier_fit()]
    filters = _those_wanted(
        *((mean, (True, mixing())) if fits_again else first_result),
        (grouped, group_filter()),
        # The group filter restores faint structures; a hard test after it would leave ragged patches.
        (not grouped, structures_across()),
        (not grouped, small_structures(at_the_end=True)),
        (cubed, cube_filter()),
        (_wanted(settings.edges.when, policy.edge_filter), edge_filter()),
        (True, bounds()),
    )
    ending = _those_wanted(
        (settings.rician and policy.rician_mean, rician_mean()),
        (True, invalid_voxels()),
        (settings.strength < 1, blending()),
    )
    bounded = grouped and settings.groups.noise_factor is None
    probes = _those_wanted((bounded or settings.contrast_kept, faint_discs(bound_a_filter=bounded)))
    measures = _those_wanted((settings.contrast_kept, contrast_kept(filters)))
    return [*fits, simulated_copy(), *probes, *filters, *measures, structure_check(filters), *ending]


def stages_without_noise() -> list[Stage]:
    """Return the stages of a volume whose neighboring slices do not differ by noise: it is not changed."""
    return [structure_check(), invalid_voxels()]


def _those_wanted(*listed: tuple[bool, Stage]) -> list[Stage]:
    return [stage for wanted, stage in listed if wanted]


def _wanted(when: str, by_policy: bool) -> bool:
    return when == "always" or (when == "auto" and by_policy)
