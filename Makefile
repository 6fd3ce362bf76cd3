# Needs make and a Python from 3.10 to 3.13; everything else goes to .venv.
#
#   make setup PIP_INSTALL_ARGS="--extra-index-url <index of CPU builds of torch>"
#
# passes options to pip, for example to take the small CPU build of torch instead of the CUDA one.

VENV := .venv
PY := $(VENV)/bin/python
BASE_STAMP := $(VENV)/.base
STAMP := $(VENV)/.installed
CONSTRAINTS := $(VENV)/constraints.txt
# Python compiles what it imports; to compile all that is installed takes longer than to unpack it.
PIP_INSTALL = $(PY) -m pip install --no-compile $(PIP_INSTALL_ARGS) --constraint $(CONSTRAINTS)
PIP_INSTALL_ARGS ?=
PYTEST_ARGS ?=
DEMO_OUTPUT ?= out/demo
NODE_DEMO_OUTPUT ?= out/node-demo
# `make setup PYTHON=/path/to/python3.12` chooses; without it the first suitable one is taken.
PYTHON ?=
# What the recipe of setup asks of a Python before it takes it.
SUITABLE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))

.DEFAULT_GOAL := help
.PHONY: help setup test lint types options docs demo node-demo bench bench-long bench-cores bench-gpu bench-batch bench-peers
.PHONY: dist lock map map-official notebooks clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## .venv with nsn2n and what its tests need

# What users install: the tests' needs are several times as large.
$(BASE_STAMP): pyproject.toml nsn2n/_version.py $(wildcard map/lock/gpu-*.txt)
	@if ! $(PY) -m pip --version >/dev/null 2>&1; then \
	  rm -rf $(VENV); python=""; \
	  for candidate in "$(PYTHON)" python3 python3.13 python3.12 python3.11 python3.10; do \
	    if [ -n "$$candidate" ] && "$$candidate" -c '$(SUITABLE)' >/dev/null 2>&1; then python="$$candidate"; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "make setup needs Python 3.10 to 3.13 on PATH; none found. Install one, or name it: make setup PYTHON=..." >&2; \
	    exit 1; \
	  elif "$$python" -c 'import ensurepip' >/dev/null 2>&1; then \
	    "$$python" -m venv $(VENV); \
	  elif "$$python" -m pip --version >/dev/null 2>&1; then \
	    "$$python" -m venv --without-pip $(VENV) && "$$python" -m pip --python $(PY) install $(PIP_INSTALL_ARGS) pip; \
	  else \
	    echo "make setup needs ensurepip or pip; $$python has neither. On Debian: apt-get install python3-venv" >&2; \
	    exit 1; \
	  fi; \
	fi
	@# Packages of the image have the versions of its lock, whatever the build of PyTorch, and so without those of CUDA.
	@version=$$($(PY) -c 'import sys; print("%d.%d" % sys.version_info[:2])') && \
	  sed -n 's/^\([A-Za-z0-9._-]*==\)=*\([^ +]*\).*/\1\2/p' map/lock/gpu-$$version.txt | \
	  grep -Ev '^(triton|nvidia-|cuda-)' > $(CONSTRAINTS)
	$(PIP_INSTALL) --editable .
	@touch $@

$(STAMP): $(BASE_STAMP)
	$(PIP_INSTALL) --editable '.[test]'
	@# Holoscan's wheel finishes its installation at the first start of Python.
	$(PY) -c 'from nsn2n._version import __version__; print("nsn2n", __version__, "is ready in $(VENV)")'
	@touch $@

# Tests of one file share fixtures: they stay on one process. Files are begun in the order of tests/conftest.py, not by
# the number of their tests. Bytecode is kept, also where the user has switched that off: the tests start Python some
# hundred times.
test: setup ## the whole test suite, on all cores
	PYTHONDONTWRITEBYTECODE= $(PY) -m pytest --numprocesses logical --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: setup types ## ruff (rules and format) and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# Operators and application import each other by the names under which they are installed. mypy does not follow
# setuptools' package-dir, so it sees the packages as links in the places that they are installed in.
TYPED := build/typed
types: setup ## mypy, strict, on all packages
	@rm -rf $(TYPED) && mkdir -p $(TYPED)/nsn2n/bundle
	@ln -s $(CURDIR)/nsn2n/* $(CURDIR)/operators $(CURDIR)/app $(TYPED)/nsn2n/
	@ln -s $(CURDIR)/models/nsn2n/__init__.py $(TYPED)/nsn2n/bundle/
	cd $(TYPED) && $(CURDIR)/$(PY) -m mypy --config-file $(CURDIR)/pyproject.toml -p nsn2n

options: setup ## docs/options.md, from the fields of options and settings
	$(PY) -m nsn2n.jobs.options_table > docs/options.md

# Without times of execution, so that running them again changes no more than the outputs.
notebooks: setup ## run docs/notebooks and keep their outputs
	$(PY) -m nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False --ExecutePreprocessor.coalesce_streams=True docs/notebooks/*.ipynb

# The banner of its theme about versions to come is no matter of this project's.
docs: setup ## the documentation site, in build/site
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

demo: $(BASE_STAMP) ## denoise a synthetic low-dose CT series into out/demo
	$(VENV)/bin/nsn2n demo --output $(DEMO_OUTPUT)

node-demo: setup ## nsn2n node beside an Orthanc of this machine, into out/node-demo (needs Orthanc and dcmtk)
	$(PY) deploy/orthanc/demo.py $(NODE_DEMO_OUTPUT)

bench: setup ## quality, time and memory of the presets (benchmarks/README.md)
	$(PY) benchmarks/run.py $(BENCH_ARGS)
	$(PY) benchmarks/anatomy.py --slices 6 --crop 192 --cases ct-brain-5mm-4 ct-head ct-abdomen ct-ttf mr-thick pet $(ANATOMY_ARGS)

bench-long: setup ## the whole command on long CT series (140 x 512 x 512)
	$(PY) benchmarks/long_series.py $(BENCH_ARGS)

bench-cores: setup ## time by the number of threads
	$(PY) benchmarks/cores.py $(BENCH_ARGS)

bench-gpu: setup ## where the time goes on a GPU, and whether its result is that of the CPU (needs one)
	$(PY) benchmarks/gpu.py $(BENCH_ARGS)

bench-batch: setup ## overhead and simulated end of a run of many series
	$(PY) benchmarks/batch.py $(BENCH_ARGS)

bench-peers: $(VENV)/.bench ## the same with peers beside them; takes hours
	$(PY) benchmarks/run.py --methods peers presets --cases main $(BENCH_ARGS)
	$(PY) benchmarks/anatomy.py --slices 8 --crop 224 --methods default smooth gaussian nlm tv bm4d $(ANATOMY_ARGS)

$(VENV)/.bench: $(STAMP) benchmarks/careamics.txt
	$(PY) -m pip install $(PIP_INSTALL_ARGS) --editable '.[bench]'
	$(PY) -m venv --without-pip $(VENV)/careamics
	$(PY) -m pip --python $(VENV)/careamics/bin/python install -r benchmarks/careamics.txt
	@touch $@

VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' nsn2n/_version.py)

dist: setup ## dist: wheel and source distribution, and the bill of materials of the wheel (CycloneDX)
	rm -rf dist
	$(PY) -m build --no-isolation --outdir dist
	$(PY) -m twine check --strict dist/*
	$(PY) -m map.sbom wheel dist/nsn2n-$(VERSION).cdx.json --version $(VERSION) --wheel dist/nsn2n-$(VERSION)-py3-none-any.whl

# The image installs what these name, and nothing else. Each is resolved by a Python of its version.
LOCKED_PYTHONS := 3.10 3.11 3.12 3.13
lock: setup ## map/lock: newest versions and their hashes, for the image (needs Python 3.10, 3.11, 3.12 and 3.13)
	@failed=; for version in $(LOCKED_PYTHONS); do \
	  $(PY) -m map.lock map/lock/cpu-$$version.txt --python-version $$version $(PIP_INSTALL_ARGS) || failed=1; \
	  $(PY) -m map.lock map/lock/gpu-$$version.txt --python-version $$version --gpu $(PIP_INSTALL_ARGS) || failed=1; \
	done; \
	$(PY) -m map.lock map/lock/tools.txt --python-version $(firstword $(LOCKED_PYTHONS)) --requirement map/tools.txt \
	  $(PIP_INSTALL_ARGS) && test -z "$$failed"

# The container. BASE_IMAGE: a Debian or Ubuntu with Python 3.10 to 3.13. GPU=1: with the CUDA build of PyTorch.
# WHEELS=dir: wheels that another machine fetched; then nothing is fetched here. LOCK=file: another lock than that of
# map/lock.
BASE_IMAGE ?= python:3.11-slim-bookworm
GPU ?= 0
# By calculation, not measured: input and output of a layer, 32 channels of 2^24 pixels in float32, are 4 GiB; the rest
# is room for what the libraries hold.
GPU_MEMORY ?= 8Gi
VARIANT := $(if $(filter 1,$(GPU)),gpu,cpu)
MAP_IMAGE ?= nsn2n:$(VERSION)$(if $(filter 1,$(GPU)),-gpu)
MAP_PYTHON ?= $(firstword $(wildcard $(PY)) python3)
GIVEN_WHEELS := $(WHEELS)
LOCK ?=
# Of an image that came from a registry; else its id.
DIGEST := {{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}

map: ## the container image (needs Docker; the build itself no network)
	@version=$$(docker run --rm --network none --entrypoint python3 $(BASE_IMAGE) -c 'import sys; print("%d.%d" % sys.version_info[:2])') || exit 1; \
	digest=$$(docker image inspect --format '$(DIGEST)' $(BASE_IMAGE)) || exit 1; \
	lock="$(or $(LOCK),map/lock/$(VARIANT)-$$version.txt)"; \
	if [ ! -f "$$lock" ]; then \
	  echo "error: the image is installed by a lock; there is no $$lock. See LOCK in docs/container.md." >&2; exit 1; \
	elif [ -n "$(GIVEN_WHEELS)" ]; then \
	  wheels=wheels/given; rm -rf $$wheels; mkdir -p wheels; \
	  cp -rlL "$(GIVEN_WHEELS)" $$wheels 2>/dev/null || { rm -rf $$wheels; cp -rL "$(GIVEN_WHEELS)" $$wheels; } || exit 1; \
	else \
	  wheels=wheels/$(VARIANT)-$$version; \
	  if ! cmp -s "$$lock" $$wheels/lock.txt || ! cmp -s map/lock/tools.txt $$wheels/tools.txt; then \
	    $(MAP_PYTHON) map/fetch_wheels.py $$wheels --python-version $$version --lock "$$lock" $(if $(filter 1,$(GPU)),--gpu) $(PIP_INSTALL_ARGS) || exit 1; \
	  fi; \
	fi; \
	cp --remove-destination "$$lock" $$wheels/lock.txt && cp --remove-destination map/lock/tools.txt $$wheels/tools.txt || exit 1; \
	docker build --network none --tag $(MAP_IMAGE) --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg BASE_DIGEST=$${digest##*@} \
	  --build-arg WHEELS=$$wheels --build-arg VERSION=$(VERSION) --build-arg TAG=$(MAP_IMAGE) --build-arg GPU=$(GPU) \
	  --build-arg GPU_MEMORY=$(if $(filter 1,$(GPU)),$(GPU_MEMORY)) \
	  --label org.nrg.commands="$$(cat deploy/xnat/command.json)" .

.PHONY: bench-map
bench-map: setup ## memory, time and start-up of the container that make map built
	$(PY) benchmarks/container.py --image $(MAP_IMAGE) $(BENCH_ARGS)

# Options of `monai-deploy package`, for example --source FILE where the list of base images cannot be fetched.
PACKAGE_ARGS ?=

map-official: setup ## the image of MONAI Deploy's own packager (needs Docker buildx and the internet)
	sh map/stage_official.sh build/map-official
	$(VENV)/bin/monai-deploy package build/map-official/app --platform x86_64 --tag nsn2n:$(VERSION) -c app.yaml \
	  --add build/map-official/lib --models build/map-official/models --docs build/map-official/docs $(PACKAGE_ARGS)

clean: ## remove .venv and everything that can be made again
	rm -rf $(VENV) build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
