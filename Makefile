# Each target does all of its own set-up from a bare clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
COMPILED := $(VENV)/.compiled
export DO_NOT_TRACK := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export HF_HUB_OFFLINE ?= 1

# Tests start hundreds of processes that import our packages; none should compile them again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test check types bench soak screenshots format docs clean

# Of 24,000 files a third is ever imported, and compiled then: pip would compile all of them, on one core.
$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (a few minutes the first time)"
	@start=$$(date +%s); \
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed; say make PYTHON=/path/to/python3.11")' && \
	$(PYTHON) -m venv $(VENV) && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pip setuptools && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]' && \
	touch $(STAMP) && \
	echo "set-up took $$(( $$(date +%s) - start )) s"

# One process compiles what the tests import, so that not each of those that run them does.
$(COMPILED): $(STAMP)
	@$(BIN)/python -m pytest -q -q --collect-only >$(COMPILED).log 2>&1 || { cat $(COMPILED).log; exit 1; }
	@touch $(COMPILED)

demo: $(STAMP)  ## learn four small tasks in order; show what one adapter loses and ours does not
	@start=$$(date +%s); $(BIN)/lori demo && echo "the demo took $$(( $$(date +%s) - start )) s"

# Threads that wait must not spin where other tests could work (as in flows/stage_launch.py).
test: export OMP_WAIT_POLICY := PASSIVE
test: $(COMPILED)  ## every test, slow ones too; those on real data need LORI_DATA and LORI_MODELS
	$(BIN)/python -m pytest -q -rs --numprocesses=4 --dist=loadfile --no-loadscope-reorder --durations=60

setup: $(STAMP)  ## what every other target does first

check: $(STAMP)  ## what CI runs; the tests are run beside the type checker, which stops nothing early
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory --jobs=2 types test

types: $(STAMP)  ## in `check` beside the tests, which often wait
	$(BIN)/mypy

bench: $(STAMP)  ## measure what we claim and rewrite docs/performance.md
	MALLOC_MMAP_THRESHOLD_=65536 $(BIN)/python -m benchmarks.step_cost
	$(BIN)/python -m benchmarks.corridor_share
	$(BIN)/python -m benchmarks.registry_growth
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.dashboard_speed
	$(BIN)/python -m benchmarks.dashboard_load
	$(BIN)/python -m benchmarks.write_performance

soak: $(STAMP)  ## the large sizes, logged in docs/soak.md; goes on where it was broken off
	$(BIN)/python -m tests.flows.kills --kills 10
	$(BIN)/python -m tests.flows.orchestrator_soak --arrivals 200 --sequences 10 --workers 4 --kills 5
	$(BIN)/python -m tests.registry.soak --processes 12 --each 25 --contenders 20 --kills 5 --registrations 100
	LORI_HOSTILE=3000 $(BIN)/python -m pytest -q tests/registry/test_hostile_stores.py tests/dashboard/test_hostile.py tests/dashboard/test_hostile_pages.py

screenshots: $(STAMP)  ## learn the demo, then take the pictures of docs/images; LORI_HOME takes a home where it was learned
	$(BIN)/python -m tests.dashboard.browser.screenshots

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)  ## regenerate docs/reference.md
	$(BIN)/python -m lori_core.reference_doc > docs/reference.md

clean:
	rm -rf $(VENV) .lori build dist *.egg-info
