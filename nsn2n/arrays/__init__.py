# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Functions that take either a NumPy array in host memory or a PyTorch tensor in GPU memory."""
