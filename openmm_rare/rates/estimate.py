"""The result of a rate calculation, with the sentences that say when not to believe it, and the curve that leads to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ..errors import InputError

__all__ = ["RateCurve", "RateEstimate"]

_APART = 3.0  # combined standard errors
_KNOWN = 0.5  # relative error, above which a level is not compared


@dataclass(frozen=True)
class RateEstimate:
    """A rate constant with its error bar, its parts and its cost; ``result.json`` mirrors it.

    Attributes
    ----------
    system, method, platform : str
        ``method`` is "importance", "splitting", "brute_force" or "barrier".
    temperature_k : float
    rate_per_ps, rate_stderr : float
        k_AB and its standard error, 1/ps.
    rate_ci95 : tuple of float
        95 % interval, 1/ps.
    flux_per_ps, flux_stderr : float or None
        Exits from A per ps spent with A as the state visited last; None from the barrier, which asks no exits.
    p_ab, p_ab_stderr : float or None
        Probability that a path reaches B before it returns to A, from the distribution of exits; likewise.
    ess : float
        Effective sample size of the roots' contributions, with interfaces of what walkers brought to each (transitions, for
        brute force; paths, from the barrier).
    pareto_k : float
        Shape of the upper tail of the contributions; above 0.7 the error bar is not to be believed.
    n_roots, n_exits : int
        With interfaces, roots are drawn at the last one. From the barrier: shooting points, and none.
    strength : float
        Bias strength chosen by the pilot.
    window_power : float
        Power of I in the weight windows chosen by the pilot.
    walker_steps : int
        Force evaluations in all; the next four are its parts.
    wall_seconds : float
        Of all sessions of the run, each up to the last task that it recorded.
    channels : dict
        Name to {"fraction", "fraction_stderr"} of the rate.
    mean_weight, mean_weight_stderr : float
        Estimate of E[w] = 1 from all walkers.
    pool_relative_error, roots_relative_error : float
        The two parts of the relative standard error; from the barrier, those of windows and of shots.
    reliable : bool
        False when a warning says that the numbers should not be believed, and of a run that is not finished.
    warnings : tuple of str
    rate_reduced, rate_reduced_stderr : float or None
        In the system's reduced units, where it has some.
    no_reweighting : dict or None
        What the learned importance function alone would say, on request.
    pending_fraction : float
        By how much, relative to it, the rate would grow if every walker left between the states came to B.
    notes : tuple of str
        What should be known about the dynamics, and is no fault.
    backend : str
        What moved the walkers.
    crossing : dict or None
        Along a given direction: how probable it is to come from an exit to each level before A, by trees and by plain
        dynamics, with standard errors; the look ahead (ps), effective blocks of the flux run, the rate that it has counted by
        itself, and the gain over brute force.
    rate_below_per_ps : float or None
        Where nothing arrived in B: k is below this with 95 %, and `rate_per_ps` stands for nothing.
    complete : bool
        False where steps were used up before the wanted error was reached, and while the run goes on.
    missing : str or None
        Of a run that goes on or was stopped: what is still to be done. Its interval is then one that few roots allow.
    mixing : dict or None
        How well flux walkers of different starts agree: R-hat by quantity, walkers by start, and what was weighted.
    curve : dict or None
        Along a given direction, and from the barrier: at which rate paths from A come to each level, J P(level), with standard
        errors, and what other runs say of that (`beside`).
    barrier : dict or None
        From the barrier: what windows and shots say, both sets of windows, the free energy, and where asked the way back.
    backward : bool
        Of the way back: A here is B of the run in the folder above, and B is A.
    reverse : dict or None
        Of the way from B to A, where it was asked for: its rate, K = k_AB/k_BA and the free energy of B, less that of A, with
        errors, and where they are known, what populations say.
    training : dict or None
        Where a model was trained: rounds at each temperature, sweeps of the final fit, and why there were no more.
    saved_paths : dict or None
        Where paths were written, how many, and of how many trees they were drawn.
    """

    system: str
    method: str
    temperature_k: float
    rate_per_ps: float
    rate_stderr: float
    rate_ci95: tuple[float, float]
    flux_per_ps: float | None
    flux_stderr: float | None
    p_ab: float | None
    p_ab_stderr: float | None
    ess: float
    pareto_k: float
    n_roots: int
    n_exits: int
    strength: float
    window_power: float
    walker_steps: int
    training_walker_steps: int
    flux_walker_steps: int
    pilot_walker_steps: int
    production_walker_steps: int
    wall_seconds: float
    channels: Mapping[str, Mapping[str, float]]
    mean_weight: float
    mean_weight_stderr: float
    pool_relative_error: float
    roots_relative_error: float
    reliable: bool
    warnings: tuple[str, ...]
    seed: int
    platform: str
    versions: Mapping[str, str]
    rate_reduced: float | None = None
    rate_reduced_stderr: float | None = None
    no_reweighting: Mapping | None = None
    pending_fraction: float = 0.0
    backend: str = "python"
    notes: tuple[str, ...] = ()
    mixing: Mapping | None = None
    crossing: Mapping | None = None
    rate_below_per_ps: float | None = None
    barrier: Mapping | None = None
    curve: Mapping | None = None
    complete: bool = True
    training: Mapping | None = None
    missing: str | None = None
    saved_paths: Mapping | None = None
    backward: bool = False
    reverse: Mapping | None = None

    @property
    def relative_error(self) -> float:
        """Standard error over value."""
        return self.rate_stderr / self.rate_per_ps if self.rate_per_ps > 0.0 else float("inf")

    def to_dict(self) -> dict:
        """JSON-able dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping) -> RateEstimate:
        """What :meth:`to_dict` wrote; unknown keys are errors."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise InputError(f"not a rate estimate of this version: unknown keys {sorted(unknown)}")
        tuples = {name: tuple(values.get(name, ())) for name in ("rate_ci95", "warnings", "notes")}
        return cls(**{**values, **tuples})


@dataclass(frozen=True, eq=False)
class RateCurve:
    """How often, per time with A as the state visited last, a path leaves A and comes to a level before it returns.

    That is the flux out of A times the probability to come from an exit to the level, and beyond all levels the rate constant.

    Attributes
    ----------
    direction : str
        Along what levels are, in words.
    key : str
        The same for the same direction of a problem; empty where nobody can tell.
    levels : ndarray, shape (n,)
        Growing.
    rate_per_ps, stderr : ndarray, shape (n,)
        1/ps.
    """

    direction: str
    key: str
    levels: np.ndarray
    rate_per_ps: np.ndarray
    stderr: np.ndarray

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> RateCurve:
        """Inverse of :meth:`to_dict`."""
        columns = (np.array(found[name], dtype=np.float64) for name in ("levels", "rate_per_ps", "stderr"))
        return cls(found["direction"], found["key"], *columns)

    def to_dict(self) -> dict[str, Any]:
        """For ``result.json``."""
        names = ("levels", "rate_per_ps", "stderr")
        return {"direction": self.direction, "key": self.key, **{name: getattr(self, name).tolist() for name in names}}

    def place(self, level: float) -> str:
        """Where a level is, in words."""
        of_variable = self.key.startswith("variable")
        return f"{self.direction} is {-level:.3g} away from B" if of_variable else f"{self.direction} is {level:.3g}"

    def known(self) -> RateCurve:
        """The levels to which some paths came, with an error that says something."""
        rows = (self.rate_per_ps > 0.0) & (self.stderr > 0.0) & (self.stderr <= _KNOWN * self.rate_per_ps)
        return RateCurve(self.direction, self.key, self.levels[rows], self.rate_per_ps[rows], self.stderr[rows])

    def beside(self, other: RateCurve) -> tuple[np.ndarray, np.ndarray]:
        """Levels of this curve that both know, and there the ratio of the two in combined standard errors of its logarithm."""
        mine, its = self.known(), other.known()
        if not len(mine.levels) or not len(its.levels):
            return np.zeros(0), np.zeros(0)
        both = (mine.levels >= its.levels[0]) & (mine.levels <= its.levels[-1])
        at = mine.levels[both]
        log_other = np.interp(at, its.levels, np.log(its.rate_per_ps))
        errors = np.hypot((mine.stderr / mine.rate_per_ps)[both], np.interp(at, its.levels, its.stderr / its.rate_per_ps))
        return at, (np.log(mine.rate_per_ps[both]) - log_other) / errors

    def apart(self, other: RateCurve) -> tuple[float, float, float] | None:
        """Where the two part most: the level, the ratio of this one to the other there, and how many standard errors that is.

        None where they agree.
        """
        at, sigmas = self.beside(other)
        if not len(at) or np.abs(sigmas).max() <= _APART:
            return None
        where = int(np.abs(sigmas).argmax())
        mine, its = (float(np.interp(at[where], each.levels, each.rate_per_ps)) for each in (self.known(), other.known()))
        return float(at[where]), mine / its, float(abs(sigmas[where]))
