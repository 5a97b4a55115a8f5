"""What a walker-step costs against the number of atoms: droplets of Lennard-Jones discs, with a cutoff and without one.

python scaling_atoms.py [--sizes 7 20 80 200] [--library FOLDER] [--seconds 2]

CPU time of one thread for each step of a walker on the Reference platform, with a network of coordination numbers that pushes
the discs at every fourth step, and without it. The slope is that of log(time) against log(N) from the second size on. --library
names the folder of another build of the plugin (``openmm_rare/lib`` of another source tree): both take turns without a cutoff,
each in processes of its own, and the ratio of their times is printed with its standard error.
"""

import argparse
import json
import os
import subprocess
import sys
from time import process_time

import numpy as np
import openmm
import torch

from openmm_rare.bias.bias import Bias
from openmm_rare.bias.importance import importance_of
from openmm_rare.committor.model import CommittorModel
from openmm_rare.dynamics.frames import Frames
from openmm_rare.problem import RareEventSystem
from openmm_rare.states.states import CollectiveVariables, Distance, Range, States
from openmm_rare.systems import lj7
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.population import Walkers
from openmm_rare.walkers.propagator import Propagator

CUTOFF = 2.5 * lj7.SIGMA
TEMPERATURE = 600.0  # K; kT = 0.16 epsilon: the droplet is solid, its surface moves
STEPS = 50


def droplet(n):
    """The n places of a triangular lattice that are nearest to the origin, shape ``(n, 3)`` in nm."""
    numbers = np.arange(-12, 13)
    along, across = (each.ravel() for each in np.meshgrid(numbers, numbers))
    places = lj7.RING_RADIUS * lj7.SIGMA * np.stack([along + 0.5 * across, 0.5 * np.sqrt(3.0) * across, 0.0 * along], axis=1)
    return places[np.argsort(np.linalg.norm(places, axis=1), kind="stable")[:n]]


def discs(n, cutoff):
    """Discs as those of lj7, whose first two are the states."""
    force = openmm.CustomNonbondedForce(f"{4 * lj7.EPSILON!r}*i*(i-1); i=1/({lj7.ALPHA!r}+{lj7.SIGMA**-6!r}*r^6)")
    if cutoff:
        force.setNonbondedMethod(force.CutoffNonPeriodic)
        force.setCutoffDistance(CUTOFF)
    system = openmm.System()
    for _ in range(n):
        system.addParticle(lj7.MASS)
        force.addParticle([])
    system.addForce(force)
    variables = CollectiveVariables([Distance("d", (0, 1))])
    start = lj7.RING_RADIUS * lj7.SIGMA
    a, b = Range({"d": (start - 1e-7, start + 1e-7)}), Range({"d": (99.0, 100.0)})  # walkers hardly ever stop
    coordination = {"kind": "coordination", "radius": 1.5 * lj7.SIGMA, "sorted": True}
    return RareEventSystem(
        name=f"{n} discs",
        system=system,
        positions=droplet(n),
        states=States(variables, a, b),
        temperature=TEMPERATURE,
        friction=lj7.FRICTION,
        timestep=lj7.TIMESTEP_REDUCED * lj7.TIME_UNIT,
        num_dimensions=2,
        descriptor=coordination,
    )


def bias_of(problem):
    """A network of the default size; its weights do not matter for its speed, only its slope is kept gentle."""
    torch.manual_seed(0)
    n = len(problem.positions)
    model = CommittorModel(problem.descriptor_spec(), n, temperature=problem.temperature)
    sample = problem.positions + np.random.default_rng(0).normal(0.0, 0.01, (200, n, 3)) * [1.0, 1.0, 0.0]
    model.standardize(sample)
    with torch.no_grad():
        model.network[-1].weight.mul_(0.01)
    return Bias(importance_of(model, problem.num_dimensions), 1.0, 4)


def microseconds(problem, bias, n_walkers, seconds):
    """CPU time of a walker-step, the median of many stretches, from walkers that have come some way from their lattice."""
    propagator = Propagator(problem, bias, n_walkers, Machine("Reference", "native"), np.random.SeedSequence(1))
    walkers = Walkers.start(Frames(np.repeat(problem.positions[None], n_walkers, axis=0)), np.zeros(n_walkers, dtype=np.int64))
    walkers = propagator.advance(walkers, 10 * STEPS).walkers
    begun, times = process_time(), []
    while len(times) < 5 or process_time() - begun < seconds:
        start = process_time()
        block = propagator.advance(walkers, STEPS)
        times.append(1e6 * (process_time() - start) / block.walker_steps)
        walkers = block.walkers
    return float(np.median(times))


def in_process(n, cutoff, seconds, library):
    """Microseconds without and with a bias, in a process of its own that may take another library."""
    command = [sys.executable, __file__, "--sizes", str(n), "--seconds", str(seconds), "--raw", "cutoff" if cutoff else "none"]
    environment = os.environ | ({"OPENMM_RARE_LIBRARY": library} if library else {})
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def both(n, cutoff, seconds):
    """Microseconds without and with a bias."""
    problem, n_walkers = discs(n, cutoff), min(250, 20000 // n)
    return [microseconds(problem, bias, n_walkers, seconds) for bias in (None, bias_of(problem))]


def compare(sizes, seconds, library, repeats):
    """Print how this library's times without a cutoff compare with those of another one."""
    print(f"\nwithout a cutoff, times over those of {library}, {repeats} pairs of processes in turn")
    for n in sizes:
        ratios = []
        for _ in range(repeats):
            here, there = (in_process(n, False, seconds, which) for which in (None, library))
            ratios.append(np.divide(here, there))
        mean, error = np.mean(ratios, axis=0), np.std(ratios, axis=0, ddof=1) / np.sqrt(repeats)
        texts = (f"{name} {mean[k]:.2f} ± {error[k]:.2f}" for k, name in enumerate(("without bias", "with bias")))
        print(f"{n:5}  {'   '.join(texts)}", flush=True)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[7, 20, 80, 200])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--library", help="folder of another build of the plugin, to compare with")
    parser.add_argument("--repeats", type=int, default=3, help="of each comparison")
    parser.add_argument("--raw", choices=["cutoff", "none"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.raw:
        print(json.dumps(both(arguments.sizes[0], arguments.raw == "cutoff", arguments.seconds)))
        return
    print("microseconds of CPU for a step of a walker")
    print("        with a cutoff of 2.5 sigma   without a cutoff")
    print("    N   without bias   with bias     without bias   with bias")
    rows = []
    for n in arguments.sizes:
        rows.append(both(n, True, arguments.seconds) + both(n, False, arguments.seconds))
        print(f"{n:5}   {rows[-1][0]:12.2f}   {rows[-1][1]:9.2f}     {rows[-1][2]:12.2f}   {rows[-1][3]:9.2f}", flush=True)
    if len(rows) > 2:
        slopes = np.polyfit(np.log(arguments.sizes[1:]), np.log(rows[1:]), 1)[0]
        print(f"slope   {slopes[0]:12.2f}   {slopes[1]:9.2f}     {slopes[2]:12.2f}   {slopes[3]:9.2f}")
    if arguments.library:
        compare(arguments.sizes, arguments.seconds, arguments.library, arguments.repeats)


if __name__ == "__main__":
    main()
