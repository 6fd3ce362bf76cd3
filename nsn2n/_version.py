# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The version of nsn2n, in one place: the packaging, the command line and written files read it here."""

__version__ = "0.1.0"
