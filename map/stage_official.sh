#!/bin/sh
# Lays out what the official packager wants, without caches: map/stage_official.sh build/map-official
set -eu
target="$1"
rm -rf "$target"
mkdir -p "$target/app" "$target/lib/nsn2n" "$target/models" "$target/docs"
cp -R app/. "$target/app/"
# The packager installs what it finds here.
cp requirements.txt "$target/app/"
# It puts the contents of lib on PYTHONPATH: the names are those that pyproject.toml installs.
cp -R nsn2n/. "$target/lib/nsn2n/"
cp -R operators "$target/lib/nsn2n/operators"
cp -R app "$target/lib/nsn2n/app"
cp -R models/nsn2n "$target/lib/nsn2n/bundle"
cp -R models/nsn2n "$target/models/nsn2n"
cp LICENSE README.md CITATION.cff "$target/docs/"
find "$target" -name __pycache__ -type d -prune -exec rm -rf {} +
