# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Device and precision of networks, and what makes a run reproducible."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils.deterministic

from nsn2n.errors import SettingsError
from nsn2n.runtime.cpus import usable_cpus, with_threads
from nsn2n.runtime.memory import parts_at_once

__all__ = ["Compute", "at_once", "choose_compute", "reproducible"]

_VOLUMES, _WORKSPACE_BYTES = 10, 3 * 2**30
"""Volumes of single precision that a run holds at most, and what networks and filters need beside them."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Device of the tensors, and whether convolutions run in bfloat16."""

    device: torch.device
    bfloat16: bool

    def holds(self, voxels: int) -> bool:
        """Whether the volume of a run, and all that is computed from it, has room in the memory of the device.

        If not, it stays in the host's memory, and each slice is copied to the GPU when it is needed there.
        """
        if self.device.type != "cuda":
            return False
        free, _ = torch.cuda.mem_get_info(self.device)
        reserved = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return _VOLUMES * 4 * voxels + _WORKSPACE_BYTES < free + reserved

    def __str__(self) -> str:
        return f"{self.device.type} {'bfloat16' if self.bfloat16 else 'float32'}"


def at_once(device: torch.device | None) -> int:
    """Return how many parts of a volume threads compute at a time on a device (None: the CPU), at most.

    One thread keeps a GPU busy. On a CPU each part needs memory.
    """
    return parts_at_once() if device is None or device.type == "cpu" else 1


def choose_compute(device: str) -> Compute:
    """Return where to run.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        ``auto`` uses CUDA if there is a usable GPU.

    Raises
    ------
    SettingsError
        If the name is unknown, or CUDA is requested but not available.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise SettingsError(f"device must be one of auto, cpu, cuda; got {device!r}.")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise SettingsError(
            "device must be one that PyTorch can use; got 'cuda', which is not available. Use auto or cpu."
        )
    if available and device != "cpu":
        return Compute(torch.device("cuda"), torch.cuda.is_bf16_supported())
    return Compute(torch.device("cpu"), _cpu_has_bfloat16())


def _cpu_has_bfloat16() -> bool:
    """Whether the CPU supports bfloat16 natively; if it is emulated, float32 is faster."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name)()) for name in names if hasattr(torch.cpu, name))


@contextmanager
def reproducible(seed: int) -> Iterator[int]:
    """Seed torch, use deterministic algorithms and only the available processors; the caller's state is restored.

    Yields the number of threads that share slices, and crops of the steps of a fit. In each PyTorch itself uses one: so
    the result is the same with any number (:mod:`nsn2n.runtime.cpus`).
    """
    threads = torch.get_num_threads()
    deterministic = torch.get_deterministic_debug_mode()
    benchmark = torch.backends.cudnn.benchmark
    precision = torch.get_float32_matmul_precision()
    memory: Any = torch.utils.deterministic
    filling = memory.fill_uninitialized_memory
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        # Not use_deterministic_algorithms: it loads PyTorch's whole compiler, for compiled code.
        torch.set_deterministic_debug_mode("warn")
        memory.fill_uninitialized_memory = False  # nothing here reads what it has not written
        torch.backends.cudnn.benchmark = False
        torch.set_float32_matmul_precision("highest")  # TensorFloat-32 would round what filters are to keep
        used = min(threads, usable_cpus())
        torch.set_num_threads(1)
        try:
            with with_threads(used):
                yield used
        finally:
            torch.set_deterministic_debug_mode(deterministic)
            torch.backends.cudnn.benchmark = benchmark
            torch.set_float32_matmul_precision(precision)
            memory.fill_uninitialized_memory = filling
            torch.set_num_threads(threads)
