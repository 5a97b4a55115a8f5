"""When not to believe a rate along a given direction, in sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammainc, gammaincc

from ...flux.pool import Pool
from ...flux.root_density import RootDensity
from ...statistics import effective_sample_size, pareto_k
from ..enough.lineages import FEWEST, lineages
from ..production import Production
from .calibration import Calibration

__all__ = ["Curve", "crossing_curve", "doubts", "seen_otherwise"]

_APART = 4.0  # standard errors between what trees and plain excursions say of a level
_COUNTED = 10  # excursions that must have come to a level for their own standard error to be one
_HIGH = 2.0  # standard errors above what trees say, with which the excursions that came to a level are still unlikely
_WORSE = 30.0  # times as many roots as a good direction needs, from where on it is called a bad one
_TAIL = 0.7
_UNLIKELY = 1e-3  # probability


@dataclass(frozen=True, eq=False)
class Curve:
    """How probable it is to come from an exit to a level before A, from trees and from excursions without branching.

    Attributes
    ----------
    levels, probability, stderr : ndarray, shape (n_levels,)
        Of trees.
    plain, plain_stderr, counted : ndarray, shape (n_levels,)
        Of excursions, and how many of these came to the level.
    """

    levels: np.ndarray
    probability: np.ndarray
    stderr: np.ndarray
    plain: np.ndarray
    plain_stderr: np.ndarray
    counted: np.ndarray

    def to_dict(self) -> dict[str, list[float]]:
        """For ``result.json``."""
        return {name: [float(value) for value in column] for name, column in vars(self).items()}

    def apart(self) -> int | None:
        """The level at which the two cannot both be right; None if there is none.

        More excursions come to it than trees allow for, or both are known well and differ.
        """
        n = self.counted[0] / self.plain[0] if len(self.plain) and self.plain[0] > 0.0 else 0.0
        expected = np.maximum(n * (self.probability + _HIGH * self.stderr), 1e-300)
        surprise = np.where(self.counted > 0.0, gammainc(np.maximum(self.counted, 1.0), expected), 1.0)
        error = np.hypot(self.stderr, self.plain_stderr)
        differ = (self.counted >= _COUNTED) & (np.abs(self.plain - self.probability) > _APART * error)
        surprise = np.where(differ, 0.0, surprise)
        return int(surprise.argmin()) if len(surprise) and surprise.min() < _UNLIKELY else None


def crossing_curve(calibration: Calibration, production: Production, pool: Pool, density: RootDensity) -> Curve:
    """The curve of a run, with errors from independent blocks of its flux."""
    levels, n_clusters = calibration.importance.counted[1], len(pool.time_ps)
    per_exit = float(np.average(density(pool.log_importance), weights=pool.weight))
    cluster, plain = pool.walker[production.root], calibration.excursions
    probability, stderr = _clustered_mean(production.crossed * per_exit, cluster, n_clusters)
    came = (plain.top[:, None] >= levels[None]).astype(np.float64)
    expected, its_error = _clustered_mean(came, pool.walker[plain.exit], n_clusters)
    return Curve(levels, probability, stderr, expected, its_error, came.sum(0))


def _clustered_mean(values: np.ndarray, cluster: np.ndarray, n_clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of the columns and their standard errors from independent clusters."""
    mean = values.mean(0)
    sums = np.zeros((n_clusters, values.shape[1]))
    np.add.at(sums, cluster, values - mean)
    occupied = max(len(np.unique(cluster)), 2)
    return mean, np.sqrt(occupied / (occupied - 1.0) * (sums**2).sum(0)) / len(values)


def doubts(
    calibration: Calibration, production: Production, pool: Pool, density: RootDensity, curve: Curve, inertial: bool
) -> list[str]:
    """Sentences for everything that should shake the reader's trust."""
    found: list[str] = []
    ess, ess_blocks = effective_sample_size(production.contribution), lineages(production, pool)
    tail, pool_tail = pareto_k(production.contribution), pareto_k(pool.surrogate(density))
    if 0.0 < ess < FEWEST:
        found.append(
            f"The rate rests on {ess:.0f} effective roots: its error bar is too uncertain itself. Lower the target error, so "
            "that more roots are followed."
        )
    if inertial and 0.0 < ess_blocks < FEWEST:
        found.append(
            f"The rate rests on {ess_blocks:.0f} effective blocks of the flux run ({FEWEST:.0f} at least): rare exits, "
            "fast ones perhaps, carry it, and the pool may lack such. Lower the target error, so that the flux runs longer."
        )
    if tail > _TAIL:
        found.append(
            f"A few roots carry most of the answer (Pareto k = {tail:.2f}, above {_TAIL}): the error bar is too small. Lower "
            "the target error so that more roots are followed, or find a better direction: more trials of openmm-rare tps."
        )
    if pool_tail > _TAIL:
        found.append(
            f"A few blocks carry most of the exit pool (Pareto k = {pool_tail:.2f}, above {_TAIL}): run the flux longer by "
            "lowering the target error."
        )
    if abs(pool.drift()) > 4.0:
        found.append(
            f"The flux out of A drifts during the run (by {pool.drift():+.1f} standard errors): A was not in equilibrium. "
            "Raise block_ps, or check whether the basin of A has slow parts."
        )
    return [*found, *_of_curve(calibration, production, curve, ess)]


def _of_curve(calibration: Calibration, production: Production, curve: Curve, ess: float) -> list[str]:
    found, at, name = [], curve.apart(), calibration.importance.counted[0].name
    if at is not None:
        found.append(
            f"Trees and plain dynamics part at the level {curve.levels[at]:.3g} of {name}: {curve.probability[at]:.2g} +- "
            f"{curve.stderr[at]:.1g} and {curve.plain[at]:.2g} +- {curve.plain_stderr[at]:.1g} of the exits come there. It "
            "does not see what decides, and trees miss rare branches: find a direction that does, with inputs for whatever "
            "else moves, such as the solvent."
        )
    p_ab = production.contribution.mean() if production.n_roots else 0.0
    if ess > 0.0 and 0.0 < p_ab < 1.0:
        needed = 1.5 * np.log(1.0 / calibration.p_ab)
        if production.n_roots / ess > _WORSE * needed:
            found.append(
                f"As a direction {name} is bad: {production.n_roots} roots are worth {ess:.0f}, where a good one would make "
                f"of them {production.n_roots / needed:.0f}. More trials of openmm-rare tps would help, or inputs that "
                "see what is slow."
            )
    return found


def seen_otherwise(expected: float, relative_error: float, seen: int) -> list[str]:
    """A sentence, if the flux run itself has seen far more or far fewer arrivals in B than the rate lets one expect."""
    begun = f"The flux run itself came to B {seen} times, where {expected:.2g} would be expected at this rate: "
    least, most = (expected * max(1.0 + sign * _HIGH * relative_error, 0.0) for sign in (-1.0, 1.0))
    if seen and gammainc(seen, max(most, 1e-300)) < _UNLIKELY:  # probability of so many or more
        return [f"{begun}trees miss ways to B. Find a better direction, with inputs for whatever else moves."]
    if gammaincc(seen + 1, least) < _UNLIKELY:  # of so few or fewer
        return [f"{begun}a few heavy roots have made too much of it. Lower the target error, so that more are followed."]
    return []
