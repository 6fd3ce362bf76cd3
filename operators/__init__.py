# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""MONAI Deploy operators: thin wrappers around plain functions of nsn2n."""
