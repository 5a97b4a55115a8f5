# Every target makes its own environment in .venv first; nothing else on the machine is touched.
PYTHON ?= python3
VENV ?= .venv
TORCHFORCE ?= .venv-torchforce
BIN = $(VENV)/bin
export OMP_NUM_THREADS = 1

.PHONY: demo test test-torchforce validate lint clean

demo: $(VENV)/installed  ## rate of seven Lennard-Jones discs at 600 K, from nothing, with a report
	$(BIN)/openmm-rare rate lj7 --temperature "600 K" --target-error 0.05 --seed 1 --out runs/demo --resume

test: $(VENV)/installed  ## the quick tests
	$(BIN)/python -m pytest

test-torchforce: export CUDA_VISIBLE_DEVICES =
test-torchforce: $(TORCHFORCE)/installed  ## the tests of bias forces with openmmtorch, on the CPU
	$(TORCHFORCE)/bin/openmm-rare doctor
	$(TORCHFORCE)/bin/python -c "from openmm_rare.bias_force import check_force as c; c('torch', 'Reference'); c('torch', 'CPU')"
	$(TORCHFORCE)/bin/python -m pytest tests/test_torch_force.py tests/test_committor_force.py

validate: $(VENV)/installed  ## long statistical validation: accuracy and coverage (hours)
	$(BIN)/python -m pytest -m slow
	$(BIN)/python examples/validation/accuracy.py --target-error 0.03
	$(BIN)/python examples/validation/coverage.py two_channel_2d --repeats 100
	$(BIN)/python examples/validation/coverage.py double_well_1d --temperature "900 K" --brute-force
	$(BIN)/python examples/validation/coverage.py lj7 --repeats 40

lint: $(VENV)/installed
	$(BIN)/python -m pip install --quiet ruff
	$(BIN)/ruff check .

# torch goes first and pinned: a later package could otherwise pull another build of it
$(VENV)/installed: setup.py pyproject.toml constraints.txt $(shell find plugin_src -type f)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -c constraints.txt -e ".[test]"
	touch $@

$(TORCHFORCE)/installed: setup.py pyproject.toml constraints.txt $(wildcard tests/torchforce/*) $(shell find plugin_src -type f)
	tests/torchforce/environment.sh $(TORCHFORCE) $(PYTHON)
	touch $@

clean:
	rm -rf $(VENV) $(TORCHFORCE) build openmm_rare/lib *.egg-info
