# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Many series: each is one task, which a worker process turns from source files into a complete folder."""
