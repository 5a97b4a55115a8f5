"""The problems that all methods are tried on: system, progress coordinate, settings of the peers that need it, and truth.

Interfaces and bins were chosen by hand, by a few runs of each method that are not counted: what a peer needs of that, and ours
does not, is not in the table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from openmm_rare import CollectiveVariables, Disc, Distance, Range, RareEventSystem, States
from openmm_rare.states.regions import Region
from openmm_rare.states.variables import CollectiveVariable
from openmm_rare.systems import build, two_channel_2d

sys.path.append(str(Path(__file__).resolve().parents[1]))

from truth import Truth, exact  # noqa: E402

__all__ = ["PROBLEMS", "PeerProblem", "Truth"]


@dataclass(frozen=True)
class PeerProblem:
    """A rate to be found by every method, and what those need that go along a coordinate.

    Attributes
    ----------
    system : RareEventSystem
        As our method takes it.
    walkers : RareEventSystem
        The same dynamics and states, whose variables have the progress coordinate among them.
    variable : str
        Its name there.
    sign : int
        1 if it grows from A to B, -1 if it falls: progress is the product of both.
    interfaces : tuple of float
        Rising progress, all beyond A and none beyond any point of B: those of forward flux sampling, A and B left out.
    bins : ndarray
        Borders of the bins of the weighted ensemble, in progress.
    per_bin, tau : int
        Its walkers in each bin, and steps between two resamplings.
    flux_steps, shots, iterations : int
        What the peers do for an error of about 10 %: steps of all flux walkers and shots from each interface of forward flux
        sampling; iterations of the weighted ensemble.
    truth : Truth
    """

    system: RareEventSystem
    walkers: RareEventSystem
    variable: str
    sign: int
    interfaces: tuple[float, ...]
    bins: np.ndarray
    per_bin: int
    tau: int
    flux_steps: int
    shots: int
    iterations: int
    truth: Truth

    def progress(self, positions: np.ndarray) -> np.ndarray:
        """Progress of frames of shape (n, n_atoms, 3), in the unit of the variable; shape (n,)."""
        variables = self.walkers.states.variables
        return self.sign * variables(positions)[:, variables.index(self.variable)]

    def beyond(self, level: float) -> Range:
        """Where progress is at least ``level``."""
        return Range({self.variable: (level, np.inf) if self.sign > 0 else (-np.inf, -level)})

    def stopping_at(self, a: Region, b: Region) -> RareEventSystem:
        """The dynamics with other states, in which walkers stop; none has channels."""
        return replace(self.walkers, states=States(self.walkers.states.variables, a, b))

    @property
    def only_b(self) -> RareEventSystem:
        """The dynamics in which walkers stop in B alone; A is a point, which has to be somewhere, and no walker hits it."""
        variables = self.walkers.states.variables
        values = variables(self.walkers.positions[None])[0]
        return self.stopping_at(Disc(dict(zip(variables.names, values, strict=True)), 1e-12), self.walkers.states.b)


def _with_variables(problem: RareEventSystem, *more: CollectiveVariable, **changes: object) -> RareEventSystem:
    """The problem with further variables, and without channels."""
    states = problem.states
    variables = CollectiveVariables([*states.variables.variables, *more])
    return replace(problem, states=States(variables, states.a, states.b), **changes)


def _double_well(temperature: float) -> PeerProblem:
    system = build("double_well_1d", temperature=temperature)
    return PeerProblem(
        system=system,
        walkers=system,
        variable="x",
        sign=1,
        interfaces=(-0.36, -0.31, -0.26, -0.21, -0.16, -0.1, 0.0),
        bins=np.arange(-0.4, 0.4, 0.05),
        per_bin=20,
        tau=20,
        flux_steps=600_000,
        shots=1200,
        iterations=1000,
        truth=exact(system.name, temperature),
    )


def _two_channels(temperature: float) -> PeerProblem:
    """Along the distance from the middle of A, where a massless particle, which does not move, marks it for the plugin."""
    system = build("two_channel_2d", temperature=temperature)
    marked = deepcopy(system.system)
    marked.addParticle(0.0)
    middle = np.array([[*two_channel_2d.CENTER_A, 0.0]])
    both = np.concatenate([system.positions, middle])
    return PeerProblem(
        system=system,
        walkers=_with_variables(system, Distance("r", (0, 1)), system=marked, positions=both),
        variable="r",
        sign=1,
        interfaces=(0.27, 0.33, 0.39, 0.44, 0.49, 0.54, 0.59, 0.64, 0.7, 0.77, 0.9, 1.2),
        bins=np.arange(0.2, 1.63, 0.025),
        per_bin=20,
        tau=10,
        flux_steps=1_000_000,
        shots=4000,
        iterations=1000,
        truth=exact(system.name, temperature),
    )


_LJ7_RATES = {600.0: Truth("brute force, docs/benchmarks.md", 0.405, 0.012), 300.0: Truth("ours, docs", 3.016e-5, 0.05e-5)}
"""1/ps; at 300 K three runs at another radius of A, which the rate does not depend on: nothing else can reach it."""

_LJ7_SETTINGS = {
    600.0: {
        "interfaces": (-1.1, -1.0, -0.9, -0.8, -0.7, -0.6, -0.5),
        "bins": np.arange(-1.35, -0.45, 0.05),
        "per_bin": 20,
        "tau": 25,
        "flux_steps": 1_000_000,
        "shots": 2000,
        "iterations": 500,
    },
    300.0: {
        "interfaces": (-1.275, -1.25, -1.225, -1.2, -1.17, -1.14, -1.1, -1.06, -1.0, -0.94, -0.86, -0.75, -0.6),
        "bins": np.arange(-1.35, -0.45, 0.025),
        "per_bin": 30,
        "tau": 10,
        "flux_steps": 1_500_000,
        "shots": 4000,
        "iterations": 1600,
    },
}


def _lj7(temperature: float) -> PeerProblem:
    """Along the third moment of the coordination numbers, which falls from 1.32 to 0.35."""
    system = build("lj7", temperature=temperature)
    settings = _LJ7_SETTINGS[temperature]
    return PeerProblem(system, _with_variables(system), "mu3", -1, **settings, truth=_LJ7_RATES[temperature])


PROBLEMS: dict[str, Callable[[], PeerProblem]] = {
    "two_channel_2d": lambda: _two_channels(600.0),
    "lj7_600": lambda: _lj7(600.0),
    "lj7_300": lambda: _lj7(300.0),
    "double_well_1d": lambda: _double_well(600.0),
}
"""By what the command calls them: name of the system, and temperature in K where there are several; the last one is quick."""
