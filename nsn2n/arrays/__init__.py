# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Functions that take NumPy arrays in the host's memory and PyTorch tensors in that of a GPU alike."""
