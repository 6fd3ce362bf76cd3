# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The weights that a fit starts from: trained on random shapes and random noise, not on any scan.

They save steps. A fit that starts from them has less to learn than one that starts from the identity; what it learns
comes from the volume alone in both. The bundle contains them, and its ``scripts/train_start.py`` produced them.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from nsn2n.errors import SettingsError
from nsn2n.settings import NetworkSettings

if TYPE_CHECKING:
    from importlib.abc import Traversable

__all__ = [
    "START_FILE",
    "START_SLICES",
    "TISSUE_FILE",
    "TISSUE_SLICES",
    "load_start",
    "load_tissue",
    "prefix_of",
    "starts_from_bundle",
]

START_FILE = "models/start.safetensors"
"""Where the weights are in the bundle."""

START_SLICES = (1, 5)
"""Numbers of input slices of the networks in it."""

TISSUE_FILE, TISSUE_SLICES = "models/tissue.safetensors", 5
"""Where the weights of the network that is not fitted are, and its input slices: trained further on faint tissue
under noise of reconstruction from projections, by ``scripts/train_tissue.py``."""

_LARGEST_BYTES = 2_000_000

_OF = NetworkSettings()
"""The network that they are for."""


def starts_from_bundle(settings: NetworkSettings, slices: int = 1) -> bool:
    """Whether a network of these settings, with this many input slices, starts from the weights of the bundle."""
    return settings.start == "auto" and settings == _OF and slices in START_SLICES


def prefix_of(slices: int) -> str:
    """Return the prefix of the weight names of the network with this many input slices."""
    return f"{slices}-slice."


def load_start(network: nn.Module, slices: int, file: Traversable | None = None) -> None:
    """Give a network the weights to start from, in place.

    Parameters
    ----------
    network : Module
        A :class:`~nsn2n.training.networks.ResidualUNet` of the default settings.
    slices : int
        Neighboring slices in its input.
    file : path, optional
        By default that of the bundle.

    Raises
    ------
    SettingsError
        If the file is missing, or holds anything but finite float16 tensors of the names and shapes of this network
        (and tensors of networks with other numbers of input slices).
    """
    file = file or resources.files("nsn2n.bundle").joinpath(START_FILE)
    tensors = _read(file)
    prefix = prefix_of(slices)
    unknown = [name for name in tensors if not name.startswith(tuple(prefix_of(count) for count in START_SLICES))]
    if unknown:
        raise _unfit(file, "tensors of the networks to start from only", ", ".join(unknown))
    found = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    expected = network.state_dict()
    if found.keys() != expected.keys():
        raise _unfit(file, f"the tensors {prefix}{', '.join(expected)}", ", ".join(found) or "none of them")
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape or tensor.dtype != torch.float16:
            wanted = f"{prefix}{name} as float16 of shape {tuple(expected[name].shape)}"
            raise _unfit(file, wanted, f"{tensor.dtype} of shape {tuple(tensor.shape)}".removeprefix("torch."))
        if not bool(torch.isfinite(tensor).all()):
            raise _unfit(file, f"finite values in {prefix}{name}", "others")
    network.load_state_dict(found)


def load_tissue(network: nn.Module) -> None:
    """Give a network of `TISSUE_SLICES` slices the weights that are not fitted, in place; see :func:`load_start`."""
    load_start(network, TISSUE_SLICES, resources.files("nsn2n.bundle").joinpath(TISSUE_FILE))


def _read(file: Traversable) -> dict[str, Tensor]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _unfit(file, "the weights to start from", error.strerror or "an error") from None
    if len(content) > _LARGEST_BYTES:
        raise _unfit(file, f"at most {_LARGEST_BYTES} bytes", f"{len(content)}")
    try:
        return load(content)
    except SafetensorError as error:
        raise _unfit(file, "tensors in the safetensors format", f"({error})") from None


def _unfit(file: Traversable, wanted: str, found: str) -> SettingsError:
    return SettingsError(
        f"{file} must hold {wanted}; found {found}. Install nsn2n again, or set network.start to none."
    )
