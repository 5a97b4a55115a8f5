#!/usr/bin/env bash
# check_wheel.sh WHEEL ENVIRONMENT PLACE: the wheel in a new environment in PLACE, beside the packages that another environment has;
# what works there, and a rate by the native plugin. Nothing is downloaded.
set -euo pipefail
wheel=$(realpath "$1")
python=$(realpath --no-symlinks "$2")/bin/python
place=$(realpath --no-symlinks "$3")
unset PYTHONPATH OPENMM_RARE_LIBRARY OPENMM_RARE_NATIVE
rm -rf "$place"
"$python" -m venv "$place"
"$place/bin/python" -m pip install --quiet --no-deps --no-index "$wheel"
site='import sysconfig; print(sysconfig.get_path("purelib"))'
"$python" -c "$site" >"$("$place/bin/python" -c "$site")/beside.pth"  # what is editable there stays there
cd "$place" # out of the repository
bin/python -c "import openmm_rare, sys; assert openmm_rare.__file__.startswith(sys.prefix), openmm_rare.__file__"
bin/openmm-rare doctor | tee doctor.txt
grep -q "available on *Reference" doctor.txt
bin/openmm-rare rate double_well_1d --temperature "1500 K" --backend native --target-error 0.1 --seed 1 --out rate
grep -q '"backend": "native"' rate/result.json
