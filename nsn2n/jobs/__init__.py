# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""One series or file from input to output: choose, load, denoise, write, report; each step is written here, once."""
