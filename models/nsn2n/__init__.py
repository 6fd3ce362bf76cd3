# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The MONAI bundle of nsn2n: configurations and documents as package data."""
