# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The series in a folder, and the selection of those to denoise."""
