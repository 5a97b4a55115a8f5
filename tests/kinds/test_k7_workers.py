"""Errors keep their one line wherever they are raised: in workers, storages, OpenMM, on full disks, without packages."""

import errno
import pickle
import signal
import sqlite3
import subprocess
import sys

import openmm
import pytest
from click.testing import CliRunner

import chain4
from openmm_rare import errors
from openmm_rare.cli.errors import UserError, plain_errors
from openmm_rare.cli.main import main
from openmm_rare.config.run import load_config
from openmm_rare.parallel.processes import Workers
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.slots import SlotContext

paths = pytest.importorskip("openpathsampling")
from openmm_rare.ops import simstore  # noqa: E402
from openmm_rare.workflow.path_sampling import run_path_sampling  # noqa: E402

KINDS = [errors.InputError, errors.RunError, errors.DynamicsError, errors.MissingPackageError]

BOTH_IN_WORKERS = (
    chain4.BUILDER
    + """
import multiprocessing
import numpy as np

def near_trans(positions):
    a, b, c, d = np.moveaxis(positions, 1, 0)
    return np.linalg.norm(d - a, axis=1) > (0.0 if multiprocessing.parent_process() else 0.36)
"""
)


def command(*arguments):
    """Output and exit status of a command, in this process."""
    done = CliRunner().invoke(main, [str(each) for each in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output, done.exit_code


def require_one_line(output, status):
    assert status == 2 and "Traceback" not in output
    line = output.splitlines()[-1]
    assert line.startswith("Error: ") and output.count("Error: ") == 1
    return line


def raise_error(number, text="broken on purpose"):
    try:
        raise KeyError("inside")
    except KeyError as error:
        raise KINDS[number](text) from error


def overlapping(folder):
    """States that overlap in frames, as workers find out; the first path is made where they do not."""
    config = chain4.write(folder, BOTH_IN_WORKERS)
    module = next(line for line in config.read_text().splitlines() if "builder" in line).split('"')[1].partition(":")[0]
    state = 'range = { phi = ["150 deg", "-150 deg"] }'
    text = config.read_text().replace(state, f'function = "{module}:near_trans"')
    config.write_text(text.replace("[path_sampling]", "[path_sampling]\nscouting = 0"))
    return config


def test_what_a_worker_of_tps_finds_out_is_one_line(tmp_path):
    """Case 31."""
    config = overlapping(tmp_path)
    line = require_one_line(*command("tps", config, "--out", tmp_path / "out", "--trials", "5"))
    assert "lies in both A and B, at positions where phi = " in line and " deg" in line


def test_the_python_interface_raises_the_same(tmp_path):
    with pytest.raises(errors.InputError, match="lies in both A and B"):
        run_path_sampling(load_config(overlapping(tmp_path)), tmp_path / "out")


def test_our_errors_come_back_from_workers_as_they_are():
    with Workers(1) as pool:
        futures = [pool.submit(raise_error, number) for number in range(len(KINDS))]
        for kind, future in zip(KINDS, futures, strict=True):
            with pytest.raises(kind, match="^broken on purpose$"):
                future.result()
        assert pool.submit(divmod, 7, 2).result() == (3, 1)  # negative control
    for kind in KINDS:
        assert isinstance(pickle.loads(pickle.dumps(kind("text"))), kind)


def test_a_failure_stops_the_other_workers():
    with pytest.raises(errors.InputError, match="meanwhile"), Workers(1) as pool:
        assert pool.submit(divmod, 7, 2).result() == (3, 1)
        pool.submit(signal.pause)  # would be waited for
        raise errors.InputError("meanwhile")


# --- commands


@pytest.mark.parametrize("kind", KINDS)
def test_commands_print_our_errors_alone(kind):
    with pytest.raises(UserError, match="^one line in two$") as caught, plain_errors(show_traceback=False):
        raise kind("one line\nin two")
    assert caught.value.exit_code == 2
    with pytest.raises(kind), plain_errors(show_traceback=True):
        raise kind("one line")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "shots.npz"), "No space left on device: shots.npz"),
        (MemoryError("Unable to allocate 6.8 GiB"), "not enough memory .Unable to allocate 6.8 GiB."),
        (openmm.OpenMMException("Error compiling kernel:\nbad"), "OpenMM says: Error compiling kernel: bad"),
    ],
)
def test_what_the_machine_says_is_one_line(error, line):
    with pytest.raises(UserError, match=line), plain_errors(show_traceback=False):
        raise error


def test_faults_of_the_program_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), plain_errors(show_traceback=False):
        raise ZeroDivisionError


@pytest.mark.parametrize("missing", ["openpathsampling", "mdtraj", "sqlalchemy"])
def test_path_sampling_without_its_packages_says_what_to_install(missing, tmp_path):
    code = f"import sys; sys.modules[{missing!r}] = None; from openmm_rare.cli.main import main; main()"
    line = [sys.executable, "-c", code, "tps", "jung_42d", "--out", str(tmp_path / "out")]
    done = subprocess.run(line, capture_output=True, text=True)  # modules imported twice would stay in this process
    line = require_one_line(done.stderr, done.returncode)
    assert "OpenPathSampling" in line and '-c constraints.txt ".[ops,symbolic]"' in line


# --- OpenMM


ILLEGAL = chain4.BUILDER.replace(
    "    return chain4.system()",
    "    made = chain4.system()\n    made.getForce(0).addBond(0, 9, 0.15, 1000.0)\n    return made",
)


@pytest.mark.parametrize("name", ["tps", "path"])
def test_a_context_that_cannot_be_made_is_one_line(name, tmp_path):
    line = require_one_line(*command(name, chain4.write(tmp_path, ILLEGAL), "--out", tmp_path / "out.npz"))
    assert "particle" in line


def test_what_openmm_refuses_names_the_system():
    broken = chain4.system()
    broken.getForce(0).addBond(0, 9, 0.15, 1000.0)
    with pytest.raises(errors.InputError, match="OpenMM cannot run chain on platform Reference: HarmonicBondForce.*particle"):
        Machine().context(broken, openmm.VerletIntegrator(0.001), "chain")
    wide = chain4.system(box=2.0)
    wide.getForce(3).setCutoffDistance(1.5)
    with pytest.raises(errors.InputError, match="OpenMM cannot run chain on platform Reference: .*cutoff"):
        Machine().context(wide, openmm.VerletIntegrator(0.001), "chain")
    Machine().context(chain4.system(box=2.0), openmm.VerletIntegrator(0.001))  # negative control


def test_dynamics_that_openmm_stops_is_an_error_of_ours(monkeypatch):
    slots = SlotContext(chain4.problem(inertial=False, timestep=1e-6), 1, Machine("Reference", "python"), 1)
    for said, kind in (("Particle coordinate is NaN.", errors.DynamicsError), ("device lost", errors.RunError)):
        monkeypatch.setattr(slots, "integrator", type("Broken", (), {"step": staticmethod(failing(said))}))
        with pytest.raises(kind, match=said.rstrip(".")):
            slots.step(1)


def failing(said):
    def step(n_steps):
        raise openmm.OpenMMException(said)

    return step


# --- storages


@pytest.fixture
def storage_file(tmp_path):
    """An OpenPathSampling storage with nothing but its tables."""
    simstore.open_simstore(tmp_path / "steps.db", "w").close()
    return tmp_path / "steps.db"


def damage(path, how):
    content = path.read_bytes()
    if how == "another":
        path.unlink()
        with sqlite3.connect(path) as other:
            other.execute("create table t(a)")
        other.close()
        return
    path.write_bytes({"text": b"no storage\n" * 500, "empty": b"", "cut": content[: len(content) // 3]}[how])


@pytest.mark.parametrize("how", ["text", "empty", "cut", "another"])
@pytest.mark.parametrize("mode", ["r", "a"])
def test_a_damaged_storage_is_named(storage_file, how, mode):
    damage(storage_file, how)
    with pytest.raises(errors.InputError, match=r"steps.db is no readable storage.*move it away, and a new one is begun"):
        simstore.open_simstore(storage_file, mode)


def test_a_storage_on_a_full_disk_says_so(storage_file):
    from sqlalchemy import event

    storage = simstore.open_simstore(storage_file, "a")
    pages = sqlite3.connect(storage_file).execute("pragma page_count").fetchone()[0]
    event.listen(storage.backend.engine, "begin", lambda made: made.exec_driver_sql(f"pragma max_page_count = {pages}"))
    with pytest.raises(errors.RunError, match="no space left on the disk while writing .*steps.db.*--resume"):
        storage.save([paths.Trajectory([]) for _ in range(3000)])


def test_a_sound_storage_opens(storage_file):
    for mode in "ra":
        storage = simstore.open_simstore(storage_file, mode)
        assert storage.backend.metadata.tables
        storage.close()
