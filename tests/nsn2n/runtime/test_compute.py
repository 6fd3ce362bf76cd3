# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Where networks run; and the caller's torch stays as it was."""

from __future__ import annotations

import pytest
import torch

from nsn2n.errors import SettingsError
from nsn2n.runtime.compute import choose_compute, reproducible


def test_an_unknown_device_is_refused():
    with pytest.raises(SettingsError, match="device must be one of auto, cpu, cuda; got 'tpu'"):
        choose_compute("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_is_refused_where_there_is_none():
    with pytest.raises(SettingsError, match=r"got .cuda., which is not available\. Use auto or cpu"):
        choose_compute("cuda")
    assert choose_compute("auto") == choose_compute("cpu")


def test_the_cpu_can_be_asked_for():
    compute = choose_compute("cpu")

    assert compute.device == torch.device("cpu")
    assert str(compute) in ("cpu float32", "cpu bfloat16")


def test_the_block_is_seeded_and_the_callers_generator_goes_on_as_if_nothing_had_been():
    torch.manual_seed(11)
    expected = torch.rand(3)

    torch.manual_seed(11)
    with reproducible(5):
        first = torch.rand(3)
    after = torch.rand(3)
    with reproducible(5):
        again = torch.rand(3)

    assert torch.equal(after, expected)
    assert torch.equal(first, again)


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_the_callers_flags_are_restored_also_after_an_error(deterministic, fails):
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    try:
        torch.use_deterministic_algorithms(deterministic, warn_only=False)
        torch.backends.cudnn.benchmark = True

        def block():
            with reproducible(0):
                assert torch.are_deterministic_algorithms_enabled()
                assert not torch.backends.cudnn.benchmark
                if fails:
                    raise KeyError

        if fails:
            with pytest.raises(KeyError):
                block()
        else:
            block()

        assert torch.are_deterministic_algorithms_enabled() == deterministic
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
