# Every target makes its own environment in .venv first; nothing else on the machine is touched.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export OMP_NUM_THREADS = 1

.PHONY: demo test test-cuda-build validate lint clean

demo: $(VENV)/installed  ## rate of seven Lennard-Jones discs at 600 K, from nothing, with a report
	$(BIN)/openmm-rare rate lj7 --temperature "600 K" --target-error 0.05 --seed 1 --out runs/demo --resume

test: $(VENV)/installed  ## the quick tests
	$(BIN)/python -m pytest

test-cuda-build: $(VENV)/cuda  ## without a GPU: the kernels compile for CUDA, and the CUDA library of the plugin loads
	$(BIN)/python examples/validation/cuda_build.py $<

$(VENV)/cuda: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-deps --target $@ nvidia-cuda-nvrtc \
		OpenMM-CUDA-13==$$($(BIN)/python -c "import openmm; print(openmm.version.short_version)")
	touch $@

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

clean:
	rm -rf $(VENV) build openmm_rare/lib *.egg-info
