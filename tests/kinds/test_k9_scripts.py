"""Scripts without a main guard: workers do not run them again; where they would have to, one line says so."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import chain4
from openmm_rare.errors import InputError
from openmm_rare.parallel import processes
from openmm_rare.parallel.processes import Workers, require_importable

PATHS = """
from pathlib import Path
with open("runs.txt", "a") as log:
    log.write("run\\n")
from openmm_rare.config.run import load_config
from openmm_rare.workflow.path_sampling import run_path_sampling
result = run_path_sampling(load_config("config.toml"), "out")
print(result["method"], "done")
"""

SHOTS = """
import numpy as np
with open("runs.txt", "a") as log:
    log.write("run\\n")
from openmm_rare.config.run import build_system, load_config
from openmm_rare.parallel.local import Processes
from openmm_rare.paths.direct_committor import ShotRun
from openmm_rare.walkers.machine import Machine
system = build_system(load_config("config.toml"))
turned = np.load("between.npy")
run = ShotRun(system, Machine(), 10, 1_000_000, 1, False)
with Processes(2) as executor:
    print(sorted(number for number, _ in executor.map(run, [(0, turned), (1, turned)])))
"""

OWN_FUNCTION = """
import numpy as np
import chain4
from openmm_rare import Dihedral, FunctionRegion, Range, RareEventSystem
from openmm_rare.parallel.processes import require_importable

def near_trans(positions):
    return np.linalg.norm(positions[:, 3] - positions[:, 0], axis=1) > 0.36

GUARD
    system = RareEventSystem.from_openmm(
        chain4.system(), chain4.positions(), FunctionRegion(near_trans), Range({"phi": chain4.GAUCHE}),
        [Dihedral("phi", (0, 1, 2, 3))], 300, 5, 0.001, inertial=True,
    )
    require_importable(system)
    print("importable")
"""


def run(folder, code, *, module=False):
    """A script in a folder, started as people do."""
    chain4.write(folder)
    (folder / "run.py").write_text(textwrap.dedent(code))
    command = [sys.executable, "-m", "run"] if module else [sys.executable, "run.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_path_sampling_in_a_script_without_a_guard_runs_it_once(tmp_path):
    """Case 25."""
    pytest.importorskip("openpathsampling")
    done = run(tmp_path, PATHS)
    assert done.returncode == 0 and "path_sampling done" in done.stdout, done.stderr
    assert (tmp_path / "runs.txt").read_text() == "run\n"


def test_fresh_shots_in_a_script_without_a_guard_run_it_once(tmp_path):
    between = chain4.positions()
    between[3, 1:] = [0.05, 0.12]  # the torsion at about 110 degrees
    np.save(tmp_path / "between.npy", between[None])
    done = run(tmp_path, SHOTS, module=True)
    assert done.returncode == 0 and "[0, 1]" in done.stdout, done.stderr
    assert (tmp_path / "runs.txt").read_text() == "run\n"


def test_path_sampling_from_standard_input_runs(tmp_path):
    """As `python - < run.py` and many a queue do; there is no file that workers could run."""
    pytest.importorskip("openpathsampling")
    chain4.write(tmp_path)
    done = subprocess.run([sys.executable, "-"], cwd=tmp_path, capture_output=True, text=True, input=PATHS)
    assert done.returncode == 0 and "path_sampling done" in done.stdout, done.stderr
    assert (tmp_path / "runs.txt").read_text() == "run\n"


def test_functions_of_a_session_are_named(tmp_path):
    chain4.write(tmp_path)
    code = OWN_FUNCTION.replace("GUARD", "if True:")
    done = subprocess.run([sys.executable, "-"], cwd=tmp_path, capture_output=True, text=True, input=code)
    line = done.stderr.splitlines()[-1]
    assert line.endswith("of <stdin>, which they cannot read: put the functions into a module of their own")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].endswith(
        "of this session, which they cannot read: put the functions into a module of their own"
    )


def test_functions_of_a_script_that_workers_cannot_run_again_are_named(tmp_path):
    done = run(tmp_path, OWN_FUNCTION.replace("GUARD", "if True:"))
    line = done.stderr.splitlines()[-1]
    assert "InputError: workers need near_trans of " in line and 'put what it does below if __name__ == "__main__":' in line
    done = run(tmp_path, OWN_FUNCTION.replace("GUARD", 'if __name__ == "__main__":'))  # negative control
    assert done.stdout == "importable\n", done.stderr


def test_a_run_outside_the_guard_ends_its_workers_with_one_line(tmp_path):
    pytest.importorskip("openpathsampling")
    guarded = PATHS + '\nif __name__ == "__main__":\n    print("never")\n'
    done = run(tmp_path, guarded)
    assert done.returncode == 1 and not done.stdout
    said = [line for line in done.stderr.splitlines() if "workers run this script again" in line]
    assert len(said) == 1 and said[0].endswith('put what it does below if __name__ == "__main__":')
    assert "RunError: a worker process died" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("code", "guarded"),
    [
        ('if __name__ == "__main__":\n    pass', True),
        ('if "__main__" == __name__: main()', True),
        ('if __name__ != "__main__":\n    raise SystemExit', True),
        ("import logging\nlog = logging.getLogger(__name__)", False),
        ("print(1)", False),
        ("no python at all (", True),  # left as it is
    ],
)
def test_a_guard_is_seen(tmp_path, code, guarded):
    (tmp_path / "script.py").write_text(code)
    assert processes._has_guard(tmp_path / "script.py") == guarded


def test_this_process_may_have_functions_of_modules():
    require_importable(chain4.problem())
    require_importable(test_a_guard_is_seen)
    with pytest.raises(InputError, match="a worker"), Workers(1):
        raise InputError("a worker is never started where nothing is asked of it")
