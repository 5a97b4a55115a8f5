"""Dynamics at constant energy, as good as a step keeps it: drift, fluctuation, and the temperature of every mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...io.tasks import Progress, Silent
from ..midpoint_map import Step
from ..phase_space import Potential, Pull
from ..thermostat import total_energy
from .kinetics import Kinetics

__all__ = ["EnergyCourse", "Stepper", "course_of"]

Stepper = Callable[[np.ndarray, np.ndarray, Pull], Step]
"""From rows and what the potential says there to those after a step."""

_LOST = 50.0  # kT that the energy may be off before a trajectory counts as lost
_SETTLING = 0.25  # share of the steps before temperatures are averaged
_POINTS = 200  # of the energy, for figures


@dataclass(frozen=True)
class EnergyCourse:
    """What became of the energy.

    Attributes
    ----------
    lost, trajectories : int
        Those whose energy was off by 50 kT, or whose step was not solved; the numbers below are of the others.
    drift, drift_stderr : float
        Of the energy, kT/ps.
    rms : float
        Median over trajectories of the root of the mean square of the energy's error, kT.
    temperatures, stderrs : dict of str to float
        Kinetic temperature of modes, relative to that of the starts.
    evaluations : float
        Of the gradient of the action, for each step.
    times, energies : list of float
        ps, and the mean error of the energy then, kT, of the trajectories that are left.
    """

    lost: int
    trajectories: int
    drift: float
    drift_stderr: float
    rms: float
    temperatures: dict[str, float]
    stderrs: dict[str, float]
    evaluations: float
    times: list[float]
    energies: list[float]


def course_of(
    stepper: Stepper,
    potential: Potential,
    q: np.ndarray,
    p: np.ndarray,
    *,
    timestep: float,
    steps: int,
    kt: float,
    kinetics: Kinetics,
    progress: Progress | None = None,
) -> EnergyCourse:
    """Take so many steps from canonical rows.

    Parameters
    ----------
    stepper : Stepper
    potential : Potential
    q, p : ndarray, shape (n_rows, n)
        Samples at kT.
    timestep : float
        Of a step, ps.
    steps : int
    kt : float
        kJ/mol.
    kinetics : Kinetics
    progress : Progress, optional
        Told of every step.
    """
    q, p, pull, progress = q.copy(), p.copy(), potential(q), progress or Silent()
    start, alive = total_energy(p, pull), np.ones(len(q), dtype=bool)
    off, warm = np.full((steps, len(q)), np.nan), np.zeros((len(q), len(kinetics.names)))
    first, evaluations, taken = int(_SETTLING * steps), 0, 0
    for step in range(steps):
        rows = np.flatnonzero(alive)
        made = stepper(q[rows], p[rows], pull[rows])
        evaluations, taken = evaluations + made.evaluations, taken + 1
        q[rows], p[rows], pull.energy[rows], pull.force[rows] = made.q, made.p, made.pull.energy, made.pull.force
        error = (total_energy(made.p, made.pull) - start[rows]) / kt
        with np.errstate(invalid="ignore"):
            fine = made.solved & (np.abs(error) < _LOST)
        alive[rows[~fine]] = False
        off[step, rows[fine]] = error[fine]
        if step >= first and fine.any():
            warm[rows[fine]] += kinetics(q[rows[fine]], p[rows[fine]])
        progress.update(1.0)
        if not alive.any():
            break
    return _course(off, alive, warm[alive] / (kt * (steps - first)), timestep, evaluations / taken, kinetics)


def _course(
    off: np.ndarray, alive: np.ndarray, warm: np.ndarray, timestep: float, evaluations: float, kinetics: Kinetics
) -> EnergyCourse:
    steps = int(np.isfinite(off).any(axis=1).sum())
    times = timestep * np.arange(1, steps + 1)
    shown = np.unique(np.linspace(0, max(steps - 1, 0), min(steps, _POINTS)).astype(int))
    drawn = times[shown].tolist(), np.nanmean(off[shown], axis=1).tolist()
    lost, off = int((~alive).sum()), off[:, alive]
    if not alive.any():
        nan = float("nan")
        none = dict.fromkeys(kinetics.names, nan)
        return EnergyCourse(lost, len(alive), nan, nan, nan, none, none, evaluations, *drawn)
    centered = times - times.mean()
    slopes = centered @ off / (centered**2).sum()
    return EnergyCourse(
        lost,
        len(alive),
        float(slopes.mean()),
        _stderr(slopes),
        float(np.median(np.sqrt((off**2).mean(axis=0)))),
        dict(zip(kinetics.names, warm.mean(axis=0).tolist(), strict=True)),
        dict(zip(kinetics.names, (_stderr(column) for column in warm.T), strict=True)),
        evaluations,
        *drawn,
    )


def _stderr(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
