"""Executors for tests: starting Python and importing everything takes longer than most of their runs."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

from openmm_rare.parallel.executors import Here

_CLUSTER = """
if __name__ == "__main__":
    import sys, time
    from distributed import LocalCluster
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        time.sleep(600)
"""


def workers_here(n, platform):
    """What ``Processes`` is replaced by."""
    return Here()


@contextmanager
def cluster_of_its_own():
    """A scheduler with a worker, in processes that may be killed: the first of them, and the address."""
    process = subprocess.Popen([sys.executable, "-c", _CLUSTER], stdout=subprocess.PIPE, text=True, start_new_session=True)
    yield process, process.stdout.readline().strip()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
