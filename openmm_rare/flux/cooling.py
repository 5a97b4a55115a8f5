"""Annealed importance sampling: walkers cooled from a temperature where they are in equilibrium, with weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..dynamics.frames import Frames
from ..io.tasks import Progress, Task
from ..settings.rates import RateSettings
from ..states.states import IN_A, IN_B, NEITHER
from ..units import KB
from ..walkers.machine import Machine
from ..walkers.thermal import ThermalWalkers
from .reweighting import family_sample_size, log_total, next_inverse_temperature, resampled

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["Cooled", "cool"]

_LOSS = 1e-3  # of the effective sample, in one step of temperature
_LEVELS = 20  # steps of temperature in one task
_RESAMPLE = 0.5  # effective part of the walkers in A
_FEW = 0.25  # part of the walkers that is in A at least


@dataclass(frozen=True)
class Cooled:
    """Weighted walkers on their way down, or at its end.

    Attributes
    ----------
    frames : Frames
    log_weights : ndarray, shape (n,)
        The mean weight is an estimate of Z(now)/Z(hot).
    family : ndarray of int64, shape (n,)
        The hot walker that each descends from; the order of the walkers says nothing.
    beta : float
        1/kT, mol/kJ.
    walker_steps : int
    """

    frames: Frames
    log_weights: np.ndarray
    family: np.ndarray
    beta: float
    walker_steps: int

    def record(self) -> dict:
        """For the recorder."""
        columns = {name: value for name, value in vars(self).items() if name != "frames"}
        return self.frames.arrays() | columns


def cool(
    problem: RareEventSystem,
    frames: Frames,
    temperature: float,
    n_steps: int,
    settings: RateSettings,
    machine: Machine,
    task: Task,
    progress: Progress,
) -> Cooled:
    r"""Anneal walkers to the temperature of ``problem``, and count what it does to their weights.

    Each step of inverse temperature adds :math:`-\Delta\beta\,U(x)` to the log weight of a walker, and is followed by motion at
    the new temperature. Weighted averages are right however fast the temperature falls; the spread of the weights is not.

    Parameters
    ----------
    problem : RareEventSystem
    frames : Frames
        In equilibrium at ``temperature``, in the whole space.
    temperature : float
        K; not below that of ``problem``.
    n_steps : int
        Steps of motion at each temperature.
    settings : RateSettings
    machine : Machine
    task : callable
        See :data:`openmm_rare.io.tasks.Task`; some steps of temperature are one task of the kind "annealed_cooling".
    progress : Progress
    """
    n, spent = len(frames), 0
    at = Cooled(frames, np.zeros(n), np.arange(n), 1.0 / (KB * temperature), 0)
    while at.beta < 1.0 / problem.kt:

        def compute(seed: np.random.SeedSequence, at: Cooled = at) -> Mapping:
            return _some_levels(problem, at, n_steps, settings, machine, seed).record()

        record = task("annealed_cooling", compute)
        arrays = (np.asarray(record[name]) for name in ("log_weights", "family"))
        spent += int(record["walker_steps"])
        at = Cooled(Frames.from_arrays(record), *arrays, float(record["beta"]), spent)
        progress.update(annealed_to=f"{1.0 / (KB * at.beta):.0f} K")
    return at


def _some_levels(
    problem: RareEventSystem, at: Cooled, n_steps: int, settings: RateSettings, machine: Machine, seed: np.random.SeedSequence
) -> Cooled:
    """Some steps of temperature."""
    rng, noise = np.random.default_rng(seed), seed.spawn(1)[0]
    walkers = ThermalWalkers(problem, settings.n_slots, machine, noise)
    frames, log_weights, family, beta = at.frames, at.log_weights, at.family, at.beta
    end, levels = 1.0 / problem.kt, 0
    while levels < _LEVELS and beta < end:
        energies = walkers.energies(frames)
        status = problem.states.classify(frames.positions)
        wanted = np.flatnonzero(status == IN_A) if (status == IN_A).any() else np.arange(len(status))
        after = next_inverse_temperature(energies[wanted], log_weights[wanted], beta, end, _LOSS)
        parents, log_weights = _regenerated(log_weights - (after - beta) * energies, status, rng)
        frames, family, beta, levels = frames[parents], family[parents], after, levels + 1
        frames = walkers.move(frames, problem.temperature if beta == end else 1.0 / (KB * beta), n_steps)
    return Cooled(frames, log_weights, family, beta, levels * n_steps * len(frames))


def _regenerated(log_weights: np.ndarray, status: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Whom each walker copies from now on, and the log weights after that.

    Walkers in A are resampled among themselves, which leaves their total weight as it is: together with those in B they would
    die out wherever B is the stabler state. Where few are left, they get places of walkers in B, which become fewer.
    """
    rows = [np.flatnonzero(status == state) for state in (IN_A, IN_B, NEITHER)]
    n_a, n_b, n = len(rows[0]), len(rows[1]), len(status)
    moved = min(n // 2 - n_a, 3 * n_b // 4) if 0 < n_a < _FEW * n else 0
    if moved <= 0 and (n_a == 0 or family_sample_size(log_weights[rows[0]], rows[0]) >= _RESAMPLE * n_a):
        return np.arange(n), log_weights
    parents, weights = [rows[2]], [log_weights[rows[2]]]
    for some, size in ((rows[0], n_a + max(moved, 0)), (rows[1], n_b - max(moved, 0))):
        if size != len(some) or some is rows[0]:
            parents.append(some[resampled(log_weights[some], rng, size)])
            weights.append(np.full(size, log_total(log_weights[some]) - np.log(size)))
        else:
            parents.append(some)
            weights.append(log_weights[some])
    return np.concatenate(parents), np.concatenate(weights)
