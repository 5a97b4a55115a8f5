"""Throughput: walker-steps per second of seven Lennard-Jones discs, every variant measured in turn in one run."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openmm
import torch

from ..bias.bias import Bias
from ..bias.importance import FastImportance
from ..committor.model import CommittorModel
from ..dynamics import native
from ..dynamics.copies.replication import replicate
from ..dynamics.copies.walker_bonds import suits_native_bonds
from ..dynamics.platforms import platform_by_name
from ..errors import RunError
from ..io.files import write_json
from ..problem import RareEventSystem
from ..rates.summary import versions
from ..settings.rates import RateSettings
from ..states.states import Disc, States
from ..systems import lj7
from ..walkers.machine import Machine
from ..walkers.native import native_parts
from ..walkers.slots import SlotContext

__all__ = ["HEADER", "format_row", "run_benchmark"]

_SECONDS = 0.4  # of each measurement
_REPEATS = 3
_YARDSTICK_WALKERS = 1000
_PLAIN = "plain C++"


class _Watched:
    """Tests every walker for A and B on every frame, as a rate calculation does, but stops none."""

    def __init__(self, problem: RareEventSystem, n: int) -> None:
        self.target, self.everyone, self.labels = problem, np.arange(n), np.zeros(n, dtype=np.int64)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        self.target.states.observe(positions, self.labels)
        return self.everyone


def _model(problem: RareEventSystem) -> CommittorModel:
    """A network of the default size; its weights do not matter for its speed, only its slope is kept gentle."""
    torch.manual_seed(0)
    model = CommittorModel(problem.descriptor_spec(), 7, temperature=problem.temperature)
    sample = problem.positions + np.random.default_rng(0).normal(0.0, 0.01, (200, 7, 3)) * [1.0, 1.0, 0.0]
    model.standardize(sample)
    with torch.no_grad():
        model.network[-1].weight.mul_(0.01)
    return model


class _Walkers:
    """Copies of a System that an integrator moves, with nothing of Python in a step."""

    def __init__(
        self,
        problem: RareEventSystem,
        n_slots: int,
        platform: str,
        integrator: openmm.Integrator,
        forces: Sequence[openmm.Force] = (),
        native_bonds: bool = False,
    ) -> None:
        self.n_slots, self._integrator = n_slots, integrator
        system, where = replicate(problem.system, n_slots, native_bonds), platform_by_name(platform)
        for force in forces:
            system.addForce(force)
        self._context = openmm.Context(system, integrator, where)
        self._context.setPositions(np.tile(problem.positions, (n_slots, 1)))

    def step(self, n_steps: int) -> None:
        """Advance all walkers."""
        self._integrator.step(n_steps)

    def positions(self) -> np.ndarray:
        """Positions of all walkers, in one array."""
        return self._context.getState(positions=True).getPositions(asNumpy=True)._value


def _brownian(problem: RareEventSystem, n_slots: int, platform: str) -> _Walkers:
    """The walkers moved by OpenMM's own BrownianIntegrator: the yardstick that tells machines apart."""
    integrator = openmm.BrownianIntegrator(problem.temperature, problem.friction, problem.timestep)
    integrator.setRandomNumberSeed(1)
    return _Walkers(problem, n_slots, platform, integrator)


def _out_of_reach(problem: RareEventSystem) -> States:
    """States like A and B where no walker comes."""
    far = [Disc(dict.fromkeys(problem.states.variables.names, value), 0.1) for value in (-99.0, 99.0)]
    return States(problem.states.variables, *far, problem.states.channels)


def _native(problem: RareEventSystem, n_slots: int, platform: str, bias: Bias | None, tested: bool) -> _Walkers:
    """The walkers moved by the native plugin, which looks for them in states out of reach."""
    states = _out_of_reach(problem) if tested else None
    parts = native_parts(problem, n_slots, 1, bias, states)
    return _Walkers(problem, n_slots, platform, *parts, suits_native_bonds(platform, n_slots))


class _Discs(ctypes.Structure):
    """PlainDiscs of the plugin."""

    _fields_ = [("n_atoms", ctypes.c_int), *((name, ctypes.c_double) for name in ("mass", "epsilon", "sigma", "alpha"))]


class _Plain:
    """The walkers moved by a plain loop in C++, without OpenMM: the same biased dynamics, weights and tests of states."""

    def __init__(self, problem: RareEventSystem, n_slots: int, bias: Bias, states: States) -> None:
        (path,) = (native.LIBRARY_FOLDER / "plugins").glob("*OpenMMRareReference*")
        self._take = ctypes.CDLL(str(path)).rare_plain_steps
        self.n_slots, self._seed = n_slots, 0
        self._integrator, (self._force,) = native_parts(problem, n_slots, 1, bias, states)
        self._discs = _Discs(len(problem.positions), lj7.MASS, lj7.EPSILON, lj7.SIGMA, lj7.ALPHA)
        self._positions, self.log_weights = np.tile(problem.positions, (n_slots, 1)), np.zeros(n_slots)

    def step(self, n_steps: int) -> None:
        """Advance all walkers."""
        self._seed += 1
        objects = (ctypes.c_void_p(int(obj.this)) for obj in (self._integrator, self._force))
        arrays = (ctypes.c_void_p(array.ctypes.data) for array in (self._positions, self.log_weights))
        if self._take(*objects, ctypes.byref(self._discs), self._seed, n_steps, *arrays) < 0:
            raise RunError("the plain loop refused its arguments")

    def positions(self) -> np.ndarray:
        """Positions of all walkers, in one array."""
        return self._positions


class _Threads:
    """Several sets of walkers, each moved by a Python thread of its own."""

    def __init__(self, sets: Sequence[_Walkers]) -> None:
        self._sets, self.n_slots = sets, sum(each.n_slots for each in sets)
        self._pool = ThreadPoolExecutor(len(sets))

    def step(self, n_steps: int) -> None:
        """Advance all walkers."""
        list(self._pool.map(lambda each: each.step(n_steps), self._sets))

    def positions(self) -> np.ndarray:
        """Positions of all walkers, in one array."""
        return np.concatenate([each.positions() for each in self._sets])


def _variants(platform: str) -> list[tuple[str, int, bool, bool, int]]:
    """(backend, walkers, bias, states tested, threads) to measure; all sizes where small systems belong, one elsewhere."""
    kinds = [(False, False), (False, True), (True, True)]
    sizes = (1, 100, 1000, 4000) if platform == "Reference" else (1000,)
    backends = ("python", "native") if platform in native.plugin().platforms else ("python",)
    rows = [(backend, walkers, *kind, 1) for walkers in sizes for kind in kinds for backend in backends]
    if platform == "Reference" and "native" in backends:
        rows += [("native", 1000, True, True, 2), (_PLAIN, 1000, True, True, 1)]
    return rows


def _make(
    problem: RareEventSystem, platform: str, backend: str, walkers: int, bias: Bias | None, tested: bool, threads: int
) -> SlotContext | _Walkers | _Plain | _Threads:
    """What to measure."""
    if backend == _PLAIN:
        return _Plain(problem, walkers, bias, _out_of_reach(problem))
    if threads > 1:
        return _Threads([_native(problem, walkers, platform, bias, tested) for _ in range(threads)])
    if backend == "native":
        return _native(problem, walkers, platform, bias, tested)
    observer = _Watched(problem, walkers) if tested else None
    return SlotContext(problem, walkers, Machine(platform, backend), 1, bias, observer)


def _speed(slots: SlotContext | _Walkers | _Plain | _Threads) -> tuple[float, float]:
    """Best of several: walker-steps per CPU-second and per second of wall time."""
    slots.step(5)
    slots.positions()  # GPUs are not waited for before
    start = time.perf_counter()
    slots.step(5)
    slots.positions()
    n_steps = max(5, int(_SECONDS * 5 / (time.perf_counter() - start)))
    best = (0.0, 0.0)
    for _ in range(_REPEATS):
        cpu, wall = time.process_time(), time.perf_counter()
        slots.step(n_steps)
        slots.positions()
        done = slots.n_slots * n_steps
        best = max(best, (done / (time.process_time() - cpu), done / (time.perf_counter() - wall)))
    return best


def run_benchmark(path: str | Path | None = None, report: Callable[[dict], None] | None = None) -> list[dict]:
    """Measure every variant on every platform of this machine.

    Parameters
    ----------
    path : path, optional
        Where to write the rows as JSON.
    report : callable, optional
        Called with every row as soon as it is measured.

    Returns
    -------
    list of dict
        ``system``, ``platform``, ``backend`` ("plain C++": a loop without OpenMM), ``threads`` of Python, each with a Context
        of its own, ``walkers`` of each, ``bias``, ``bias_interval`` (with bias only), ``states_tested``,
        ``walker_steps_per_cpu_second``, ``walker_steps_per_second`` and ``relative_to_brownian``: per CPU-second, as a
        fraction of what OpenMM's own BrownianIntegrator does with 1000 walkers on that platform.
    """
    target = lj7.build(kt_over_epsilon=0.1)
    bias = Bias(FastImportance(_model(target), target.num_dimensions), interval=RateSettings().bias_interval)
    available = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    try:
        for platform in available:
            variants = _variants(platform)
            yardstick = _speed(_brownian(target, _YARDSTICK_WALKERS, platform))[0] if variants else 0.0
            for backend, walkers, biased, tested, n_threads in variants:
                slots = _make(target, platform, backend, walkers, bias if biased else None, tested, n_threads)
                per_cpu, per_wall = _speed(slots)
                row = {
                    "system": target.name,
                    "platform": platform,
                    "backend": backend,
                    "threads": n_threads,
                    "walkers": walkers,
                    "bias": biased,
                    **({"bias_interval": bias.interval} if biased else {}),
                    "states_tested": tested,
                    "walker_steps_per_cpu_second": per_cpu,
                    "walker_steps_per_second": per_wall,
                    "relative_to_brownian": per_cpu / yardstick,
                }
                rows.append(row)
                if report is not None:
                    report(row)
    finally:
        torch.set_num_threads(threads)
    if path is not None:
        write_json(Path(path), {"rows": rows, "versions": versions()})
    return rows


HEADER = (
    f"{'platform':<10} {'backend':<9} {'threads':>7} {'walkers':>7} {'bias':>5} {'tested':>6} "
    f"{'k steps/CPU-s':>14} {'k steps/s':>10} {'/Brownian':>9}"
)
"""Heads the lines of :func:`format_row`."""


def format_row(row: dict) -> str:
    """One row as a line of a table."""
    bias, tested = ("yes" if row[key] else "no" for key in ("bias", "states_tested"))
    return (
        f"{row['platform']:<10} {row['backend']:<9} {row['threads']:>7} {row['walkers']:>7} {bias:>5} {tested:>6} "
        f"{row['walker_steps_per_cpu_second'] / 1e3:>14.1f} {row['walker_steps_per_second'] / 1e3:>10.1f} "
        f"{row['relative_to_brownian']:>9.3f}"
    )
