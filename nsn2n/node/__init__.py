# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The worker of an archive: series that arrive in an Orthanc are denoised, sent back and forwarded."""
