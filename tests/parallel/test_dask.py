"""Tasks on a Dask cluster: the same numbers as here, what is common sent once, deaths, and clusters that do not suit."""

import os
import signal
import subprocess
import sys
import time

import executor_tasks
import numpy as np
import pytest

distributed = pytest.importorskip("distributed")
import dask  # noqa: E402

from openmm_rare.errors import DynamicsError, InputError, MissingPackageError, RunError  # noqa: E402
from openmm_rare.parallel import dask_cluster  # noqa: E402
from openmm_rare.parallel.dask_cluster import Dask  # noqa: E402
from openmm_rare.parallel.executors import Here  # noqa: E402

CLUSTER = """
if __name__ == "__main__":
    import time
    from distributed import LocalCluster
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        time.sleep(600)
"""


@pytest.fixture
def threads():
    """A cluster in this process, whose worker has two threads."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp://"
    ) as made:
        yield made.scheduler_address


def test_results_are_those_of_here(two_of_dask):
    tasks = [(seed, 100) for seed in range(8)]
    there, here = (dict(each.map(executor_tasks.noise, tasks)) for each in (two_of_dask, Here()))
    assert two_of_dask.elsewhere and len(there) == 8
    for number, values in here.items():
        np.testing.assert_array_equal(values, there[number])
        there[number] += 1.0  # nothing that Dask has locked
    assert not np.array_equal(here[0], here[1])  # negative control


def test_tasks_with_one_key_go_to_one_worker(two_of_dask):
    pinned = dict(two_of_dask.map(executor_tasks.where, [(number,) for number in range(6)], [0, 1, 2, 0, 1, 2]))
    again = dict(two_of_dask.map(executor_tasks.where, [(7,)], [1]))
    places = [pinned[number][1] for number in range(6)]
    assert places[:3] == places[3:] and places[0] == places[2] != places[1] and again[0][1] == places[1]
    assert os.getpid() not in places


def test_what_is_common_is_sent_and_made_once(two_of_dask):
    common = executor_tasks.Common(list(range(1000)))
    for made in (1, 0):
        found = dict(two_of_dask.map(executor_tasks.sum_of, [(common, number) for number in range(3)], [0, 0, 0]))
        assert [found[number][0] for number in range(3)] == [499500, 499501, 499502]
        assert [known for _, known in found.values()].count(False) == made
    assert len(two_of_dask._sent) == 1


def test_what_a_task_raises_is_raised_here(two_of_dask):
    with pytest.raises(ValueError, match="number 1"):
        list(two_of_dask.map(executor_tasks.failing, [(number,) for number in range(3)]))
    with pytest.raises(DynamicsError, match=r"^NaN in 3 \(worker tcp://.*\)$"):
        list(two_of_dask.map(executor_tasks.breaking, [(3,)]))
    assert dict(two_of_dask.map(executor_tasks.noise, [(1, 2)]))[0].shape == (2,)  # it goes on


def test_functions_of_a_script_are_named(two_of_dask, monkeypatch):
    monkeypatch.setattr(executor_tasks.where, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "where", executor_tasks.where, raising=False)
    with pytest.raises(InputError, match="workers need where of .*cannot read.*into a module of their own"):
        list(two_of_dask.map(executor_tasks.where, [(1,)]))


def require_noise_in_spite_of_a_death(executor, keys, folder):
    tasks = [(str(folder), seed, 5, int(seed == 2)) for seed in range(5)]
    found = list(executor.map(executor_tasks.noise_and_death, tasks, keys))
    assert sorted(number for number, _ in found) == list(range(5))
    assert all(np.array_equal(result, executor_tasks.noise(number, 5)) for number, result in found)
    assert len(set((folder / "begun-2.txt").read_text().split())) == 2


def test_what_a_killed_worker_had_is_computed_again_and_counts_once(two_of_dask, tmp_path):
    require_noise_in_spite_of_a_death(two_of_dask, None, tmp_path)


@pytest.mark.slow
def test_tasks_whose_only_worker_was_killed_go_to_the_next(tmp_path):
    """Dask itself would wait for the address of the one that is gone."""
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, Dask(cluster.scheduler_address, "Reference") as one:
        require_noise_in_spite_of_a_death(one, [0, 1, 0, 1, 0], tmp_path)


def test_a_task_that_kills_its_worker_each_time_is_given_up(two_of_dask, tmp_path):
    with pytest.raises(RunError, match="workers died at task 0 again and again.*memory.*--resume"):
        list(two_of_dask.map(executor_tasks.noise_and_death, [(str(tmp_path), 0, 5, 99)]))
    assert len((tmp_path / "begun-0.txt").read_text().split()) == 2
    assert dict(two_of_dask.map(executor_tasks.noise, [(1, 2)]))[0].shape == (
        2,
    )  # it goes on, when the nanny has made another worker


@pytest.mark.slow
def test_a_worker_without_memory_is_given_up():
    few = {"distributed.scheduler.allowed-failures": 1}
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": "700MB"}
    with dask.config.set(few), distributed.LocalCluster(**options) as cluster, Dask(cluster.scheduler_address) as executor:
        with pytest.raises(RunError, match="task 0 again and again.*--memory-limit"):
            list(executor.map(executor_tasks.greedy, [(0,)]))
        assert dict(executor.map(executor_tasks.noise, [(1, 2)]))[0].shape == (2,)


def test_workers_with_threads_are_refused(threads):
    with pytest.raises(InputError, match="worker tcp://.* has 2 threads.*--nthreads 1"), Dask(threads):
        raise AssertionError("not reached")


@pytest.mark.parametrize("number", range(3))
def test_workers_with_other_versions_are_refused(cluster, monkeypatch, number):
    mine = list(dask_cluster.versions())
    mine[number] = (mine[number][0], "0.0.7")
    monkeypatch.setattr(dask_cluster, "versions", lambda: tuple(mine))
    words = f"worker tcp://.* has {mine[number][0]} .*, but 0.0.7 is here"
    with pytest.raises(InputError, match=words), Dask(cluster.scheduler_address):
        raise AssertionError("not reached")


def test_a_cluster_without_the_package_is_refused(cluster, monkeypatch):
    monkeypatch.setattr(dask_cluster, "_OURS", "openmm_rare.parallel.not_there:__name__")
    words = "the scheduler at tcp://.* cannot import openmm_rare .*start it in the same environment"
    with pytest.raises(InputError, match=words), Dask(cluster.scheduler_address):
        raise AssertionError("not reached")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", __file__])
def test_no_scheduler_is_one_line_within_seconds(address, monkeypatch):
    monkeypatch.setattr(dask_cluster, "_CONNECT_S", 0.5)
    begun = time.monotonic()
    with pytest.raises(RunError, match="no Dask scheduler answers at .*start one with dask scheduler") as caught, Dask(address):
        raise AssertionError("not reached")
    assert "\n" not in str(caught.value) and time.monotonic() - begun < 5.0


def test_a_cluster_without_workers_is_refused(monkeypatch):
    monkeypatch.setattr(dask_cluster, "_FIRST_WORKER_S", 0.1)
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None, protocol="tcp://") as empty:
        with pytest.raises(RunError, match="no workers at .*dask worker .*--nthreads 1"), Dask(empty.scheduler_address):
            raise AssertionError("not reached")


def test_a_client_of_ones_own_stays_open(cluster):
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        with Dask(client) as executor:
            assert dict(executor.map(executor_tasks.noise, [(1, 2)]))[0].shape == (2,)
        assert client.status == "running"
    with pytest.raises(InputError, match="within its with block"):
        list(executor.map(executor_tasks.noise, [(1, 2)]))


def test_a_lost_scheduler_is_one_line(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", CLUSTER], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        with pytest.raises(RunError, match="the Dask scheduler at tcp://.* is gone; finished work is kept.*--resume"):
            with Dask(process.stdout.readline().strip()) as executor:
                for number, _ in executor.map(executor_tasks.where, [(0,), (1, 600.0)]):
                    assert number == 0
                    process.kill()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_without_distributed_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingPackageError, match=r"\[dask\]"):
        Dask("tcp://127.0.0.1:1")
