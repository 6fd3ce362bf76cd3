# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The noise of a volume, measured on the volume itself: level, correlation between slices, Rician mean."""
