# Each target makes what it needs first, on a machine with Python 3.11+ and make: see `make help`.
# Settings, on the command line (`make run CORES=8`):
#
#   CORES   cores for the chain and the tests
#   PYTHON  interpreter for the environment; the first of 3.11+ that is found by default
#   TORCH   cpu   the build of torch without CUDA (default)
#           cuda  the build for NVIDIA GPUs, about 3 GB, in an environment of its own
#   VENV    folder of the environment: .venv, or .venv-cuda
#   MINUTES of processor time for each reader in `make fuzz`
#
# PIP_FIND_LINKS in the environment, a folder of wheels, is honoured: a CPU build of torch lying
# there is taken instead of one from the network.

CORES ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
ifeq ($(origin PYTHON),undefined)
  PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; \
    done)
endif
TORCH ?= cpu
MINUTES ?= 10
VENV ?= $(if $(filter cuda,$(TORCH)),.venv-cuda,.venv)

BIN := $(VENV)/bin
SNAKEMAKE := $(BIN)/snakemake --profile workflows/profiles/local --cores $(CORES)
PYTEST := $(BIN)/python -m pytest -n $(CORES)
SNAKEFILES := Snakefile pipelines workflows tests/workflow

.DEFAULT_GOAL := help
.PHONY: help run test test-all test-cluster fuzz audit lint format generate lock bench tables bench-feed bench-scaling house docs clean distclean

help: ## this list
	@sed -nE 's/^([a-z%-]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 14
	@echo; sed -nE '/^# Settings/,/^$$/s/^# ?//p' Makefile

# ------------------------------------------------------------------------------------ the targets

run: $(VENV)/.stamp-workflow ## all pipelines on their smoke settings, and the report
	$(SNAKEMAKE) --config preset=smoke
	$(SNAKEMAKE) --config preset=smoke --report results/report.html
	@$(BIN)/python workflows/summary.py results

test: $(VENV)/.stamp-dev ## the fast tests
	$(PYTEST)

test-all: $(VENV)/.stamp-dev ## the slow tests as well
	$(PYTEST) -m 'not cluster' --timeout 1800

test-cluster: $(VENV)/.stamp-dev ## the tests on a Slurm cluster, made here if there is none (as root)
	@command -v sbatch >/dev/null || tests/cluster/cluster.sh install || \
		echo "No cluster can be made here; the tests will say so."
	$(BIN)/python -m pytest -m cluster --timeout 1800

fuzz: $(VENV)/.stamp-dev ## hostile files for every reader, MINUTES=10 of processor time for each
	PYTHONPATH=tests $(BIN)/python -m fuzz --minutes $(MINUTES)

audit: .venv-audit/.stamp ## known weaknesses of what make run installs
	{ cat locked/run.txt; sed -n 's/^\(torch==.*\)/\1/p' constraints.txt; } | sed 's/ *\\$$//; /--hash/d' \
		> .venv-audit/audit.txt
	.venv-audit/bin/pip-audit --strict --progress-spinner off --no-deps --disable-pip \
		-r .venv-audit/audit.txt

lint: $(VENV)/.stamp-dev ## style, types, workflow
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy physml
	$(BIN)/snakefmt --check $(SNAKEFILES)
	$(BIN)/python workflows/generate.py --check
	$(BIN)/python workflows/tables.py --check
	$(BIN)/snakemake --lint

format: $(VENV)/.stamp-dev ## put everything into style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt $(SNAKEFILES)

generate: $(VENV)/.stamp-workflow ## config.yaml and JSON schemas from the settings models
	$(BIN)/python workflows/generate.py

lock: $(VENV)/.stamp-dev ## locked/: versions and hashes of what make run installs
	@uv=$$(command -v uv || echo $(abspath $(BIN))/uv); $(BIN)/python workflows/lock.py --uv $$uv

bench: $(VENV)/.stamp-dev .venv-rival/.stamp ## speed, and the comparisons with rivals
	for script in benchmarks/*_speed.py; do $(BIN)/python $$script --publish || exit 1; done
	$(BIN)/python benchmarks/cavities_vs_cadet.py --rival-python .venv-rival/bin/python --publish
	$(BIN)/python benchmarks/cavities_other_simulator --publish
	$(BIN)/python benchmarks/cavities_merging.py --publish
	$(BIN)/python benchmarks/cavities_real_images.py --publish
	$(BIN)/python benchmarks/background_vs_geant4.py --publish
	$(BIN)/python benchmarks/background_vs_rivals.py --publish
	$(BIN)/python benchmarks/background_sealed.py --publish
	$(BIN)/python benchmarks/background_ideal --publish
	$(BIN)/python benchmarks/tomography_vs_rivals.py --publish
	$(BIN)/python benchmarks/tomography_sealed.py --publish
	$(BIN)/python benchmarks/tomography_coverage.py --publish
	$(BIN)/python benchmarks/tomography_cell.py --publish
	$(BIN)/python benchmarks/tomography_intervals.py --publish
	$(BIN)/python benchmarks/tomography_stop --publish
	$(BIN)/python benchmarks/tomography_three_qubits --publish
	$(BIN)/python benchmarks/tomography_processes --publish
	$(BIN)/python benchmarks/tomography_faults --publish
	$(BIN)/python benchmarks/tomography_real_data.py --publish
	$(BIN)/python benchmarks/tomography_detectors --publish
	$(BIN)/python workflows/tables.py

tables: $(VENV)/.stamp-dev ## the measured numbers of benchmarks/results into the texts
	$(BIN)/python workflows/tables.py

remake-%: $(VENV)/.stamp-workflow ## the weights of a science from nothing, into remade/ (days); PRESET=three_qubits: tomography's of three qubits
	$(BIN)/python workflows/remake.py $* -o remade/$* --cores $(CORES) $(if $(PRESET),--preset $(PRESET))

bench-feed: $(VENV)/.stamp-dev ## images a second that reach a network, and memory: 15 min, 4 GB of disk
	$(BIN)/python benchmarks/feed.py

bench-scaling: $(VENV)/.stamp-dev ## cost against samples and workers, in 25 minutes on two idle cores
	$(BIN)/python benchmarks/scaling.py

house: $(VENV)/.stamp-dev ## the drawing of the package in docs/architecture.md
	$(BIN)/python workflows/house.py docs/images/house.png

docs: $(VENV)/.stamp-docs ## docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -j $(CORES) docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean: ## what the targets made, results and environments excepted
	rm -rf docs/_build docs/reference/generated build dist .pytest_cache .mypy_cache .ruff_cache \
		.hypothesis .cache
	find . -name __pycache__ -not -path './.venv*' -exec rm -rf {} +

distclean: clean ## the environments as well (never results/)
	rm -rf .venv .venv-cuda .venv-rival .venv-audit .snakemake

# -------------------------------------------------------------------------------- the environment

ifeq ($(TORCH),cuda)
  # Wheels lying here are CPU builds and would win over those of the index.
  INSTALL := env -u PIP_FIND_LINKS -u UV_FIND_LINKS
  UV_TORCH := --torch-backend=auto
else ifneq ($(TORCH),cpu)
  $(error TORCH=$(TORCH): expected cpu or cuda)
else ifneq ($(PIP_FIND_LINKS),)
  # uv does not read pip's settings.
  INSTALL := env UV_FIND_LINKS="$(PIP_FIND_LINKS)"
else
  UV_TORCH := --torch-backend=cpu
  PIP_TORCH := --extra-index-url https://download.pytorch.org/whl/cpu
endif

# An environment in folder $(1). Debian packs venv apart from Python; uv can do without.
venv = $(if $(PYTHON),,$(error Python 3.11 or newer is needed; name one with PYTHON=...)) \
	$(PYTHON) -m venv $(1) >/dev/null 2>&1 || { rm -rf $(1); \
	uv venv -q --seed --python $(PYTHON) $(1) 2>/dev/null; } || { rm -rf $(1); \
	echo "Cannot make an environment with $(PYTHON): install its venv (Debian: apt-get install" \
		"python3-venv) or uv." >&2; exit 1; }

# Packages $(2) into the environment $(1): by uv, from PATH or installed for this (20 s), or, where
# that fails, by pip (80 s).
install = uv=$$(command -v uv) || { $(1)/bin/python -m pip install -q uv 2>/dev/null && \
	uv=$(1)/bin/uv; }; \
	{ [ -n "$$uv" ] && $(INSTALL) $$uv pip install -q --python $(1)/bin/python \
		-c constraints.txt $(UV_TORCH) $(2); } || { echo "uv did not do it; pip is tried"; \
	$(INSTALL) $(1)/bin/python -m pip install -q -c constraints.txt $(PIP_TORCH) $(2); }

$(VENV)/pyvenv.cfg:
	@$(call venv,$(VENV))

# Installed in place, so that what is edited is what runs. Each extra has a stamp; a second call
# finds it and does nothing until the dependencies change.
$(VENV)/.stamp-%: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "Installing physml[$*] into $(VENV), with torch for $(TORCH) ..."
	@$(call install,$(VENV),-e '.[$*]')
	@touch $@ $(if $(filter dev,$*),$(VENV)/.stamp-workflow)

# What `make run` needs is checked by hash: every file but torch's, of which each machine has its own
# build (the index answers for its hash, or whoever filled the folder of wheels). The CUDA build
# brings libraries of its own along.
HASHED = --require-hashes --no-deps -r locked/run.txt
OWN_TORCH = $(if $(filter cpu,$(TORCH)),--no-deps) -c constraints.txt
IN_PLACE = --no-deps --no-build-isolation -e .
locked = uv=$$(command -v uv) || { $(1)/bin/python -m pip install -q --require-hashes \
	-r locked/uv.txt 2>/dev/null && uv=$(1)/bin/uv; }; \
	with_uv() { $(INSTALL) $$uv pip install -q --python $(1)/bin/python "$$@"; }; \
	with_pip() { $(INSTALL) $(1)/bin/python -m pip install -q "$$@"; }; \
	{ [ -n "$$uv" ] && with_uv $(HASHED) && with_uv $(OWN_TORCH) $(UV_TORCH) torch && \
		with_uv $(IN_PLACE); } || { echo "uv did not do it; pip is tried"; \
	with_pip $(HASHED) && with_pip $(OWN_TORCH) $(PIP_TORCH) torch && with_pip $(IN_PLACE); }

$(VENV)/.stamp-workflow: pyproject.toml constraints.txt locked/run.txt | $(VENV)/pyvenv.cfg
	@echo "Installing physml[workflow] into $(VENV) by hash, with torch for $(TORCH) ..."
	@$(call locked,$(VENV))
	@touch $@

.venv-audit/.stamp: locked/run.txt constraints.txt
	@[ -f .venv-audit/pyvenv.cfg ] || { $(call venv,.venv-audit); }
	@$(call install,.venv-audit,pip-audit)
	@touch $@

# The rival wants its own versions of things.
.venv-rival/.stamp: constraints.txt
	@echo "Installing the rival into .venv-rival ..."
	@[ -f .venv-rival/pyvenv.cfg ] || { $(call venv,.venv-rival); }
	@$(call install,.venv-rival,torch pycadet==0.3.5)
	@touch $@
