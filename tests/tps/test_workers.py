"""Path sampling by workers: the same to the bit for any number of them, and when one, the scheduler or the run is killed."""

import multiprocessing
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from executors import cluster_of_its_own

pytest.importorskip("openpathsampling")

from openmm_rare.errors import RunError
from openmm_rare.folders.path_folder import PathRecord, read_path_ensemble
from openmm_rare.io.tasks import Silent
from openmm_rare.parallel.executors import Here
from openmm_rare.parallel.local import Processes
from openmm_rare.settings.paths import PathSettings
from openmm_rare.systems import build
from openmm_rare.tps.path_sampling import PathSampling

NAME, SEED = "double_well_1d", 3
SETTINGS = {"trials": 20, "chains": 2, "storage": False}


class After(Silent):
    """Does something when so many rounds are over."""

    def __init__(self, rounds, what):
        self.left, self.what = rounds, what

    def update(self, n=1.0, **postfix):
        self.left -= "yield" in postfix
        if self.left == 0 and "yield" in postfix:
            self.what()


def sample(folder, executor, progress=None, **options):
    settings = PathSettings(**(SETTINGS | options))
    run = PathSampling(
        build(NAME), settings, seed=options.get("seed", SEED), progress=progress or Silent(), folder=folder, executor=executor
    )
    return run.run()


def contents(folder):
    with np.load(folder / "shots.npz") as archive:
        arrays = {name: archive[name] for name in archive.files if name != "config"}
    return arrays | {f"path {i}": path for i, path in enumerate(read_path_ensemble(folder).paths)}


def require_same(one, other):
    first, second = contents(one), contents(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    sample(folder, Here())
    return folder


@pytest.fixture
def cluster():
    """A scheduler with a worker, in processes of their own."""
    pytest.importorskip("distributed")
    with cluster_of_its_own() as made:
        yield made


@contextmanager
def killing(n, rounds):
    """So many processes, of which one is killed after so many rounds of a run with the progress that comes with them."""
    others = set(multiprocessing.active_children())  # of other tests

    def kill():
        (set(multiprocessing.active_children()) - others).pop().kill()

    progress = After(rounds, kill)
    with Processes(n, "Reference") as executor:
        yield executor, progress
    assert progress.left <= 0


@pytest.mark.parametrize("n", [1, 2])
def test_a_killed_worker_changes_nothing(whole, tmp_path, n):
    with killing(n, 1) as workers:
        sample(tmp_path / "run", *workers)
    require_same(whole, tmp_path / "run")


@pytest.mark.slow
def test_a_killed_worker_leaves_a_sound_storage(tmp_path):
    with killing(2, 2) as workers:
        sample(tmp_path / "run", *workers, storage=True)
    count = "from openmm_rare.ops.simstore import open_simstore; import sys; s = open_simstore(sys.argv[1], 'r');"
    count += "print([step.mccycle for step in s.steps] == list(range(21)))"
    for chain in ("chain-0", "chain-1"):
        path = str(tmp_path / "run" / chain / "steps.db")
        assert subprocess.run([sys.executable, "-c", count, path], check=True, capture_output=True).stdout == b"True\n"


def test_a_lost_scheduler_leaves_a_run_that_goes_on_to_the_same_end(whole, tmp_path, cluster):
    from openmm_rare.parallel.dask_cluster import Dask

    process, address = cluster
    with pytest.raises(RunError, match="scheduler .* is gone.*--resume"), Dask(address, "Reference") as executor:
        sample(tmp_path / "run", executor, After(2, process.kill))
    assert 0 < PathRecord.load(tmp_path / "run").cycles < 20
    with pytest.raises(AssertionError):  # negative control
        require_same(whole, tmp_path / "run")
    sample(tmp_path / "run", Here())
    require_same(whole, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--workers", "--scheduler"])
def test_a_killed_command_goes_on_to_the_same_end(whole, tmp_path, cluster, option):
    """Its workers on the cluster live on."""
    config = tmp_path / "config.toml"
    config.write_text(f'[system]\nname = "{NAME}"\n[path_sampling]\ntrials = 20\nchains = 2\nstorage = false\n')
    code = "from openmm_rare.cli.main import main; main()"
    command = [sys.executable, "-c", code, "tps", str(config), "--seed", str(SEED), "--resume", "--out", str(tmp_path / "run")]
    command += [option, cluster[1] if option == "--scheduler" else "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shots = tmp_path / "run" / "shots.npz"
    while process.poll() is None and not (shots.exists() and PathRecord.load(tmp_path / "run").cycles >= 5):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    subprocess.run(command, check=True, capture_output=True)
    require_same(whole, tmp_path / "run")
