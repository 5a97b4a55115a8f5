"""Rates by trees whose worker, scheduler or command is killed: the same numbers to the bit."""

import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import openmm
import pytest
from executors import cluster_of_its_own
from momenta import two_wells
from openmm import app, unit

from openmm_rare.config.run import load_config
from openmm_rare.errors import RunError
from openmm_rare.io.run_file import RunFile
from openmm_rare.io.tasks import Silent
from openmm_rare.parallel.executors import Here
from openmm_rare.parallel.local import Processes
from openmm_rare.report.results import read_result
from openmm_rare.workflow.rate import run_rate

CONFIG = """
[system]
name = "pair"
xml = "system.xml"
pdb = "start.pdb"
temperature = "300 K"
friction = "5 1/ps"
timestep = "10 fs"
inertial = true
check_interval = 2

[variables.x]
type = "coordinate"
atom = 0
axis = 0

[states.a]
range = { x = ["-0.5 nm", "-0.15 nm"] }

[states.b]
range = { x = ["0.15 nm", "0.5 nm"] }

[sampling]
platform = "Reference"
importance = "x"
target_error = 0.5
seed = 3
max_walker_steps = 60000
few_walkers = 2
block_ps = 2.0
equilibration_ps = 0.5
calibration_roots = 10
tree_roots = 20
"""


class At(Silent):
    """Does something when a stage has seen so many rounds."""

    def __init__(self, stage, rounds, what):
        self.wanted, self.left, self.what, self.here = stage, rounds, what, False

    def stage(self, name, total=None):
        self.here = name == self.wanted

    def update(self, n=1.0, **postfix):
        self.left -= self.here
        if self.left == 0 and self.here:
            self.what()


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A particle between two wells in a box, beside another one: walkers move one at a time."""
    folder, (system, positions) = tmp_path_factory.mktemp("config"), two_wells()
    topology = app.Topology()
    chain = topology.addChain()
    for _ in range(2):
        topology.addAtom("Ar", app.element.argon, topology.addResidue("AR", chain))
    topology.setPeriodicBoxVectors(3.0 * np.eye(3) * unit.nanometer)
    (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    with open(folder / "start.pdb", "w") as file:
        app.PDBFile.writeFile(topology, positions * unit.nanometer, file)
    (folder / "config.toml").write_text(CONFIG)
    return folder / "config.toml"


def rate(config, folder, executor, progress=None):
    return run_rate(load_config(config), folder, resume=True, progress=progress or Silent(), executor=executor)


def contents(folder):
    """Everything but times, which no two runs have alike."""
    run, result = RunFile.open(folder / "run.nc"), read_result(folder)
    numbers = {name: value for name, value in result.items() if name not in ("wall_seconds", "run", "notes")}  # notes: hours
    for kind in run.kinds:
        for number, record in enumerate(run.load(kind)):
            numbers |= {f"{kind} {number} {name}": value for name, value in record.items() if "seconds" not in name}
    return numbers


def require_same(one, other):
    first, second = contents(one), contents(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_equal(value, second[name], err_msg=name)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    rate(config, folder, Here())
    return folder


@pytest.fixture
def cluster():
    """A scheduler with a worker, in processes of their own."""
    pytest.importorskip("distributed")
    with cluster_of_its_own() as made:
        yield made


@pytest.mark.parametrize(
    ("stage", "rounds"), [("production", 2), pytest.param("flux and exit pool", 1, marks=pytest.mark.slow)]
)
def test_a_killed_worker_changes_nothing(config, whole, tmp_path, stage, rounds):
    others = set(multiprocessing.active_children())  # of other tests
    progress = At(stage, rounds, lambda: (set(multiprocessing.active_children()) - others).pop().kill())
    with Processes(2, "Reference") as executor:
        rate(config, tmp_path / "run", executor, progress)
    assert progress.left <= 0
    require_same(whole, tmp_path / "run")


@pytest.mark.slow
def test_a_lost_scheduler_leaves_a_rate_that_goes_on_to_the_same_end(config, whole, tmp_path, cluster):
    from openmm_rare.parallel.dask_cluster import Dask

    process, address = cluster
    with pytest.raises(RunError, match="scheduler .* is gone.*--resume"), Dask(address, "Reference") as executor:
        rate(config, tmp_path / "run", executor, At("production", 2, process.kill))
    kinds = RunFile.open(tmp_path / "run" / "run.nc").kinds
    assert 0 < kinds["production"] < RunFile.open(whole / "run.nc").kinds["production"]
    rate(config, tmp_path / "run", Here())
    require_same(whole, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--workers", "--scheduler"])
def test_a_killed_command_goes_on_to_the_same_end(config, whole, tmp_path, cluster, option):
    """Its workers on the cluster live on."""
    code, folder = "from openmm_rare.cli.main import main; main()", tmp_path / "run"
    command = [sys.executable, "-c", code, "rate", str(config), "--resume", "--out", str(folder)]
    command += [option, cluster[1] if option == "--scheduler" else "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(Path(folder).glob("run.nc.parts/production.*")):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    with pytest.raises(AssertionError):  # negative control: it had not come to its end
        assert RunFile.open(folder / "run.nc").kinds == RunFile.open(whole / "run.nc").kinds
    subprocess.run(command, check=False, capture_output=True)
    require_same(whole, folder)
