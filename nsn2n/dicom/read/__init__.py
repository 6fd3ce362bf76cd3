# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""One series of files as a volume: order, geometry, values."""
