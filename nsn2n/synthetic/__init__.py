# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Phantoms and synthetic DICOM series with a known truth, for tests, benchmarks and the demonstration."""
