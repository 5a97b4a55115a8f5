"""Executors that tests share: starting Python and importing everything takes longer than most of what they do."""

import pytest

from openmm_rare.parallel.local import Processes


@pytest.fixture(scope="session")
def two():
    """Two processes."""
    with Processes(2, "Reference") as executor:
        yield executor


@pytest.fixture(scope="session")
def cluster():
    """A Dask cluster of two workers, of which one may die at a task once."""
    distributed = pytest.importorskip("distributed")
    import dask

    once = {"distributed.scheduler.allowed-failures": 1}
    with dask.config.set(once), distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as made:
        yield made


@pytest.fixture(scope="session")
def two_of_dask(cluster):
    """Its workers."""
    from openmm_rare.parallel.dask_cluster import Dask

    with Dask(cluster.scheduler_address, "Reference") as executor:
        yield executor
