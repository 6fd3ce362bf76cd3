# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Which series lie in a folder, and which of them are to be denoised."""
