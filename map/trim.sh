#!/bin/sh
# Removes from a virtual environment what only compiling against PyTorch needs, and tests of the libraries:
#   map/trim.sh /opt/nsn2n
set -eu
packages="$(echo "$1"/lib/python3*/site-packages)"
test -d "$packages/torch/lib"
rm -rf "$packages/torch/test" "$packages/torch/include" "$packages/torch/share"
# PyTorch does not start without this one; the others are compilers and tests.
find "$packages/torch/bin" -mindepth 1 ! -name torch_shm_manager -delete
find "$packages/scipy" "$packages/skimage" -type d -name tests -prune -exec rm -rf {} +
