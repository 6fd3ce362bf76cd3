# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The value for a volume: parallel slices, with all that is known about them."""
