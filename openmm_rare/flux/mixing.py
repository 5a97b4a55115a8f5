"""Whether walkers at one temperature have forgotten where they started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..committor.base import in_batches
from ..convergence import split_r_hat
from ..descriptors.build import build_descriptor
from ..dynamics.frames import Frames
from ..io.tasks import Task
from ..settings.rates import RateSettings
from ..states.states import IN_B
from ..walkers.machine import Machine
from ..walkers.thermal import ThermalWalkers

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["Mixing", "Observables", "memory", "mix"]

_SNAPSHOTS = 8  # of a stretch
_AGREE = 1.05  # split R-hat
_FORGOTTEN, _NOISE = 0.1, 4.0  # correlation with the start, and in units of 1/sqrt(walkers) what chance makes of none
_FEW = 0.05  # of the walkers outside B, that have changed between B and elsewhere
_COMPARED = 50  # inputs, those with the longest memory, whose R-hat is computed


class Observables:
    """State variables and descriptor inputs of walkers, periodic ones as sine and cosine.

    Parameters
    ----------
    problem : RareEventSystem

    Attributes
    ----------
    names : tuple of str
    """

    def __init__(self, problem: RareEventSystem) -> None:
        self._variables = problem.states.variables
        self._descriptor = build_descriptor(problem.descriptor_spec(), len(problem.positions))
        periods = [variable.period for variable in self._variables.variables]
        self._turns = [np.inf if period is None else 2.0 * np.pi / period for period in periods]
        names = []
        for name, period in zip(self._variables.names, periods, strict=True):
            names += [name] if period is None else [f"sin {name}", f"cos {name}"]
        self._added = [column for column, name in enumerate(self._descriptor.names) if name not in names]
        self.n_variables = len(names)
        self.names = (*names, *(self._descriptor.names[column] for column in self._added))

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Values, shape ``(n, len(names))``, of positions ``(n, n_atoms, 3)`` in nm."""
        columns = []
        for values, turn in zip(self._variables(positions).T, self._turns, strict=True):
            columns += [values] if np.isinf(turn) else [np.sin(turn * values), np.cos(turn * values)]
        inputs = in_batches(self._descriptor, positions)
        return np.column_stack([*columns, inputs[:, self._added]])


def memory(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Correlation over walkers of what each observable was with what it is, of values or of ranks, whichever is larger.

    Values see a few walkers that have gone far, ranks what many others do meanwhile. An observable that has values now from
    where none was near before has a memory of 1: what else is there has only begun to be found.

    Parameters
    ----------
    before, after : ndarray, shape (n_walkers, n_observables)

    Returns
    -------
    ndarray, shape (n_observables,)
        0 for observables that are the same for all walkers.
    """
    from scipy.stats import rankdata  # of 20 MB, which commands that only wait or read do without

    pairs = ((before, after), (rankdata(before, axis=0), rankdata(after, axis=0)))
    kept = np.max([np.abs(_correlation(one, other)) for one, other in pairs], axis=0)
    low, high = before.min(0), before.max(0)
    margin = 0.5 * (high - low)
    return np.where((after.min(0) < low - margin) | (after.max(0) > high + margin), 1.0, kept)


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one - one.mean(0), other - other.mean(0)
    size = np.sqrt((one**2).sum(0) * (other**2).sum(0))
    return np.divide((one * other).sum(0), size, out=np.zeros(len(size)), where=size > 1e-12 * len(one))


@dataclass(frozen=True)
class Mixing:
    """What became of walkers at one temperature.

    Attributes
    ----------
    temperature : float
        K.
    frames : Frames
    mixed : bool
    r_hat : dict of str to float
        Split R-hat of each observable, between the groups of starts, and early and late in the last stretch.
    slowest : str
        The observable with the longest memory.
    memory : float
        Its correlation with what it was at the beginning of the last stretch.
    decay : float
        Steps in which that falls by the factor e.
    steps : int
        Of each walker.
    walker_steps : int
    """

    temperature: float
    frames: Frames
    mixed: bool
    r_hat: dict[str, float]
    slowest: str
    memory: float
    decay: float
    steps: int
    walker_steps: int


def mix(
    problem: RareEventSystem,
    frames: Frames,
    group: np.ndarray,
    first: int,
    limit: int,
    with_b: bool,
    settings: RateSettings,
    machine: Machine,
    task: Task,
) -> Mixing:
    """Move walkers at the temperature of ``problem`` until they have forgotten their starts, or cannot within the limit.

    They have when, over a stretch as long as all before it, no observable of a walker is correlated with what it was at the
    beginning of the stretch, and the groups agree. (Groups that start at one place agree long before that.)

    Parameters
    ----------
    problem : RareEventSystem
    frames : Frames
    group : ndarray of int, shape (n,)
        Of starts.
    first, limit : int
        Steps of each walker in the first stretch, and at most.
    with_b : bool
        Whether A and B must exchange walkers, too; if not, and where so few have come from B or gone there that it makes no
        difference to A, only those are looked at that have not been in B.
    settings : RateSettings
    machine : Machine
    task : callable
        See :data:`openmm_rare.io.tasks.Task`; every stretch is one task of the kind "annealed_mixing".
    """
    observables = Observables(problem)
    forgotten = max(_FORGOTTEN, _NOISE / np.sqrt(len(frames)))
    in_b = problem.states.classify(frames.positions) == IN_B
    sides = np.column_stack([in_b, ~in_b])
    steps, walker_steps = 0, 0
    while True:
        length = max(steps, first)

        def compute(
            seed: np.random.SeedSequence, at: tuple[Frames, np.ndarray] = (frames, sides), length: int = length
        ) -> Mapping:
            walkers = ThermalWalkers(problem, settings.n_slots, machine, seed)
            return _stretch(problem, walkers, observables, *at, group, length, with_b)

        record = task("annealed_mixing", compute)
        frames, sides, begun = Frames.from_arrays(record), np.asarray(record["sides"], dtype=bool), steps > 0
        steps, walker_steps = steps + length, walker_steps + int(record["walker_steps"])
        kept, r_hat = np.asarray(record["memory"]), np.asarray(record["r_hat"])
        most, disagree = float(kept.max()), bool((r_hat[np.isfinite(r_hat)] > _AGREE).any())
        mixed = begun and most <= forgotten and not disagree
        decay = -length / np.log(np.clip(most, forgotten, 0.999))
        if mixed or 2 * steps > limit or (begun and -2.0 * decay * np.log(forgotten) > limit):
            compared = {name: float(value) for name, value in zip(observables.names, r_hat, strict=True) if not np.isnan(value)}
            slowest = observables.names[int(kept.argmax())]
            return Mixing(problem.temperature, frames, mixed, compared, slowest, most, float(decay), steps, walker_steps)


def _stretch(
    problem: RareEventSystem,
    walkers: ThermalWalkers,
    observables: Observables,
    frames: Frames,
    sides: np.ndarray,
    group: np.ndarray,
    n_steps: int,
    with_b: bool,
) -> dict:
    """One stretch of motion, and what it says."""
    values = [observables(frames.positions)]
    ends = np.linspace(0, n_steps, _SNAPSHOTS + 1).round().astype(int)
    for length in np.diff(ends):
        frames = walkers.move(frames, problem.temperature, int(length))
        values.append(observables(frames.positions))
        in_b = problem.states.classify(frames.positions) == IN_B
        sides = sides | np.column_stack([in_b, ~in_b])
    never, changed = ~sides[:, 0], sides.all(1)
    apart = not with_b and changed.sum() <= _FEW * never.sum()
    rows = np.flatnonzero(never) if apart else np.arange(len(sides))
    kept, group = memory(values[0][rows], values[-1][rows]), group[rows]
    looked_at = np.stack(values[1:])[:, rows]
    r_hat = np.full(len(kept), np.nan)
    for column in {*range(observables.n_variables), *np.argsort(-kept)[:_COMPARED].tolist()}:
        r_hat[column] = split_r_hat([looked_at[:, group == one, column].ravel() for one in np.unique(group)])
    return {
        "temperature_k": problem.temperature,
        **frames.arrays(),
        "sides": sides,
        "memory": kept,
        "r_hat": r_hat,
        "walker_steps": n_steps * len(frames),
    }
