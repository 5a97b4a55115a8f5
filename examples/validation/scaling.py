"""What workers gain: stretches of flux walkers in water, by one and by more processes, and by a Dask cluster on this machine.

python scaling.py [--workers 2] [--system alanine_dipeptide] [--steps 400] [--repeats 5]

All ways take turns, in one order and in the reverse one, so that other load and a warm processor fall on all of them alike;
processes have been started, and have made their Contexts, before. The machine should be quiet: --workers cores are needed.
Efficiency is the time here, in this process, over the time of a way and its number of workers.
"""

import argparse
import time
from contextlib import ExitStack

import numpy as np

from openmm_rare.dynamics.frames import Frames
from openmm_rare.flux.restarts import restarted
from openmm_rare.parallel.executors import Here
from openmm_rare.parallel.local import Processes
from openmm_rare.systems import build
from openmm_rare.walkers.machine import Machine


def stretch(problem, executor, n_walkers, n_steps, seed):
    """Seconds of the clock that it takes, and where walkers are then."""
    frames, machine = Frames(np.repeat(problem.positions[None], n_walkers, axis=0)), Machine("CPU", threads=1)
    begun = time.perf_counter()
    end = restarted(problem, frames, np.ones(n_walkers, dtype=bool), n_steps, machine, seed, executor)
    return time.perf_counter() - begun, end.frames.positions


def measure(problem, ways, n_walkers, n_steps, repeats):
    """Seconds of each way, by repeat; all must give the same numbers."""
    for _, executor in ways:
        stretch(problem, executor, n_walkers, problem.check_interval, 0)
    seconds = {name: [] for name, _ in ways}
    for repeat in range(repeats):
        ends = []
        for name, executor in ways[:: -1 if repeat % 2 else 1]:
            took, end = stretch(problem, executor, n_walkers, n_steps, repeat + 1)
            seconds[name].append(took)
            ends.append(end)
        assert all(np.array_equal(end, ends[0]) for end in ends), "the numbers differ"
    return {name: np.array(each) for name, each in seconds.items()}


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--walkers", type=int, default=8)
    parser.add_argument("--system", default="alanine_dipeptide")
    parser.add_argument("--steps", type=int, default=400, help="of each walker")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    problem, n = build(arguments.system), arguments.workers
    with ExitStack() as stack:
        ways = [("here", Here()), ("1 process", Processes(1, "CPU")), (f"{n} processes", Processes(n, "CPU"))]
        for _, executor in ways:
            stack.enter_context(executor)
        from distributed import LocalCluster

        from openmm_rare.parallel.dask_cluster import Dask

        cluster = stack.enter_context(LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=None))
        ways.append((f"{n} Dask workers", stack.enter_context(Dask(cluster.scheduler_address, "CPU"))))
        seconds = measure(problem, ways, arguments.walkers, arguments.steps, arguments.repeats)
    print(f"{problem.name}: {arguments.walkers} walkers, {arguments.steps} steps each, {arguments.repeats} repeats")
    for name, each in seconds.items():
        ratio = seconds["here"] / each
        error = ratio.std(ddof=1) / np.sqrt(len(ratio)) if len(ratio) > 1 else np.nan
        workers = int(name.split()[0]) if name[0].isdigit() else 1
        gain = f"{ratio.mean():5.2f} ± {error:.2f} times here   {ratio.mean() / workers:.2f} of ideal"
        print(f"{name:16} {each.mean():7.2f} s   {gain}")


if __name__ == "__main__":
    main()
