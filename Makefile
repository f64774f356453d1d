# make demo    the whole job on a small dataset, in an environment of its own
# make test    linters, types and tests
# make lint    linters and types alone
# make bench   what cutting costs, as ratios (half an hour; benchmarks/results/cut.md)
# make faults  every write and rename of every command, killed and refused (see tests/faults/)
# make fuzz    hostile input to every reader (see tests/fuzz/)
PYTHON ?= python3
VENV ?= .venv
BIN ?= $(VENV)/bin
ROOT ?= trackverse-demo
JOBS ?= auto
FUZZ_SECONDS ?= 600
BUILT_FROM = pyproject.toml hatch_build.py plugins/trackverse_pyav/bilinear.c

.PHONY: demo test lint bench faults fuzz clean

demo: $(VENV)/ready-demo
	$(BIN)/trackverse demo --root $(ROOT)

test: lint
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

lint: $(VENV)/ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/ready-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python -m benchmarks.cut --write
	$(BIN)/python -m benchmarks.encoders --write

$(VENV)/ready-demo: $(BUILT_FROM)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/ready-test: $(BUILT_FROM)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/ready-demo

faults: $(VENV)/ready-test
	$(BIN)/python -m tests.faults --minutes 25 --results benchmarks/results/faults.md

fuzz: $(VENV)/ready-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	for target in metadata gzipped configuration ledger sidx index; do \
	  nice -n 15 $(BIN)/python -m tests.fuzz $$target --seconds $(FUZZ_SECONDS) || exit 1; done

clean:
	rm -rf $(VENV) trackverse-demo plugins/trackverse_pyav/libbilinear.* .mypy_cache .ruff_cache .pytest_cache
