# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The process and its machine: processors, memory, paths, libraries, configuration files."""
