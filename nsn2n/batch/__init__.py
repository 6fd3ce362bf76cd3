# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Many series: each is one task, which a worker process takes from its files to a complete folder of its own."""
