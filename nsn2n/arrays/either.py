# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Operations that NumPy arrays and PyTorch tensors have under different names.

The volume of a run is either an array in host memory or a tensor in GPU memory. Most functions and methods have the
same name for both (:func:`namespace`); these do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nsn2n._aliases import Array
from nsn2n.runtime.volumes import copied_volume, new_volume

if TYPE_CHECKING:
    import torch

__all__ = [
    "contiguous",
    "copied",
    "deviation",
    "divided",
    "double",
    "empty_like",
    "float32",
    "in_memory_of",
    "interpolated",
    "namespace",
    "on_device",
    "on_host",
    "stacked",
    "total",
]


def namespace(values: Array) -> Any:
    """Return the module, `numpy` or `torch`, whose functions take an array."""
    if isinstance(values, np.ndarray):
        return np
    import torch  # here: reading and writing of series do without it

    return torch


def on_host(values: Array) -> NDArray[Any]:
    """Return a NumPy array of the same values."""
    return values if isinstance(values, np.ndarray) else np.asarray(values.cpu().numpy())


def on_device(values: Array, device: torch.device | None) -> torch.Tensor:
    """Return a tensor of the same values on a device (None: the CPU), in the same memory if they are there already."""
    import torch

    return torch.as_tensor(values, device=device)


def in_memory_of(values: Array, other: Array) -> Array:
    """Return an array or tensor of the same values, where and of what kind another one is."""
    return on_host(values) if isinstance(other, np.ndarray) else on_device(values, other.device)


def stacked(values: Sequence[Array]) -> NDArray[Any]:
    """Return a NumPy array of arrays of one shape, along a new first axis: one copy from the device, not many."""
    return on_host(namespace(values[0]).stack(list(values)))


def float32(values: Array) -> Array:
    """Return single-precision values, the same array if they are."""
    return np.asarray(values, dtype=np.float32) if isinstance(values, np.ndarray) else values.float()


def double(values: Array) -> Array:
    """Return double-precision values."""
    return values.astype(np.float64) if isinstance(values, np.ndarray) else values.double()


def copied(values: Array) -> Array:
    """Return a copy in separate memory; one of an array may be in a file (:mod:`nsn2n.runtime.volumes`)."""
    return copied_volume(values) if isinstance(values, np.ndarray) else values.clone()


def empty_like(values: Array, dtype: Any = None) -> Array:
    """Return a new array of the same shape, with arbitrary values; it may be in a file like a copy."""
    if isinstance(values, np.ndarray):
        return new_volume(values.shape, values.dtype if dtype is None else dtype)
    import torch

    return torch.empty_like(values, dtype=dtype)


def contiguous(values: Array) -> Array:
    """Return the values in consecutive memory, the same array if they are; a copy may be in a file."""
    if isinstance(values, np.ndarray):
        return values if values.flags.c_contiguous else copied_volume(values)
    return values.contiguous()


def divided(values: Array, divisor: Array) -> Array:
    """Return the ratio; 0 where the divisor is not above 0."""
    if isinstance(values, np.ndarray):
        return np.divide(values, divisor, out=np.zeros_like(values), where=divisor > 0)
    import torch

    return torch.where(divisor > 0, values / divisor, 0.0)


def deviation(values: Array) -> float:
    """Return the standard deviation, of all values as a whole population."""
    return float(values.std() if isinstance(values, np.ndarray) else values.std(correction=0))


def interpolated(values: Array, places: NDArray[np.floating], table: NDArray[np.floating]) -> Array:
    """Return what a table gives between its places, as `numpy.interp`: constant beyond the ends.

    Parameters
    ----------
    values : array, float32
    places, table : ndarray, shape (n,)
        The places in ascending order, and the values there.
    """
    if isinstance(values, np.ndarray):
        return np.interp(values, places, table)
    import torch

    at, known = (
        torch.as_tensor(np.asarray(part), dtype=torch.float64, device=values.device) for part in (places, table)
    )
    exact = values.double().clip(at[0], at[-1])
    above = torch.searchsorted(at, exact.contiguous()).clip(1, len(at) - 1)
    share = (exact - at[above - 1]) / (at[above] - at[above - 1])
    return known[above - 1] + share * (known[above] - known[above - 1])


def total(values: Array) -> float:
    """Return the sum in double precision."""
    if isinstance(values, np.ndarray):
        return float(values.sum(dtype=np.float64))
    import torch

    return float(values.sum(dtype=torch.float64))
