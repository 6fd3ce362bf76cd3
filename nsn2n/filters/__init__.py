# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Filters of a denoised volume, and how small structures are recovered from what was removed."""
