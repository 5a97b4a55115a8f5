"""What is known of a rate while its run goes on: bars that are wide enough for few events, and bounds from unaided walkers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...io.text import format_value
from ...statistics import ClusteredRate
from ..counted import poisson_interval
from ..estimate import RateEstimate
from ..facts import RunFacts
from ..production import Production
from ..roots import RootSampler
from ..summary import bootstrap_stream, common_fields

__all__ = ["Known", "Outlook", "Unaided", "in_words", "shortfall", "unfinished"]

_QUANTILE = 1.96
_TO_COME = "only unaided walkers have been counted yet, and they may not have forgotten where they began"


@dataclass(frozen=True)
class Known:
    """A rate as it is known before the end.

    Attributes
    ----------
    k : float
        1/ps; positive.
    relative_error : float
        Standard error of ln k, from resampling.
    ess : float
        Effective sample size of the roots, at least 1.
    pool_error : float
        Relative standard error of what roots start from, which is independent of them.
    least, most : float
        Factors on k, if less or more arrives than is expected of walkers under way.
    """

    k: float
    relative_error: float
    ess: float
    pool_error: float = 0.0
    least: float = 1.0
    most: float = 1.0

    def interval(self) -> tuple[float, float]:
        """95 %, 1/ps, with a width that few roots allow.

        Resampling a handful of roots cannot know of those that were not seen: its interval is too short. That of a Poisson
        count of as many events as are effective (Garwood 1936; for weighted sums Fay and Feuer 1997, Statist. Med. 16, 791)
        is what they can tell at best. The wider bound holds.
        """
        low, high = poisson_interval(self.ess)
        pool, resampled = _QUANTILE * self.pool_error, _QUANTILE * self.relative_error
        down = max(np.hypot(np.log(self.ess / low), pool), resampled)
        up = max(np.hypot(np.log(high / self.ess), pool), resampled)
        return float(self.k * self.least * np.exp(-down)), float(self.k * self.most * np.exp(up))

    def is_surer_than(self, other: Known) -> bool:
        """Whether the interval is narrower, as a ratio."""
        return float(np.ptp(np.log(self.interval()))) < float(np.ptp(np.log(other.interval())))

    def text(self) -> str:
        """For one line."""
        low, high = map(format_value, self.interval())
        return f"{format_value(self.k)} ({low} to {high}) 1/ps"


class Outlook:
    """What production says when walkers under way count as what they are expected to bring to B.

    A round leaves its slowest walkers to the next one. They are those that come far: without them a rate is too low. On average
    the sum of w I is kept if I is the exact committor; how far I is off as a whole is seen at the end of the first round, which
    leaves none.

    Parameters
    ----------
    sampler : RootSampler
    seed : int
        Of the run.
    """

    def __init__(self, sampler: RootSampler, seed: int) -> None:
        self._sampler, self._seed, self._scale = sampler, seed, 1.0
        self._best: Known | None = None

    def __call__(self, production: Production, rate: ClusteredRate, relative_error: float) -> Known | None:
        """What is known after a round, of which the rate without those under way is given; None as long as that is nothing.

        While many are under way less may be known than after the round before: then what was known holds.
        """
        now = self._now(production, rate, relative_error)
        if now is not None and now.ess < 1.0:  # less than one event: nothing is known
            now = None
        if self._best is None or (now is not None and now.is_surer_than(self._best)):
            self._best = now
        return self._best

    def _now(self, production: Production, rate: ClusteredRate, relative_error: float) -> Known | None:
        arrived, walkers = float(production.contribution.sum()), production.pending
        pool, root = self._sampler.pool, production.root
        if arrived <= 0.0:
            return None
        if walkers is None or not len(walkers):
            if not production.passages:  # beyond the last interface I is all but 1
                self._scale = arrived / float((production.start_weight * np.exp(pool.log_importance[root])).sum())
            return Known(rate.value, relative_error, production.ess(), rate.errors()[0])
        log_importance = self._sampler.importance.log_importance(walkers.frames.positions, walkers.frames.velocities)
        weight, chance = np.exp(walkers.log_weights), np.minimum(self._scale * np.exp(log_importance), 1.0)
        expected = np.bincount(walkers.roots, weight * chance, minlength=production.n_roots)
        total = production.contribution + expected
        whole = replace(rate, root_value=total[:, None])
        # whether a walker arrives is chance, too
        squares = (total**2).sum() + (weight**2 * chance * (1.0 - chance)).sum()
        ess = production.whole_ess(float(total.sum() ** 2 / squares))
        more, error = float(expected.sum()), whole.relative_error(whole.bootstrap(bootstrap_stream(self._seed)))
        least, most = (arrived + 0.5 * more) / total.sum(), (arrived + 2.0 * more) / total.sum()
        return Known(whole.value, error, ess, rate.errors()[0], least, most)


def shortfall(error: float, target: float) -> str:
    """What is missing, in words."""
    now = f"{100 * error:.2g} %" if np.isfinite(error) else "not known yet"
    return f"the error is {now}, and {100 * target:.2g} % are wanted"


def unfinished(estimate: Callable[[], RateEstimate], missing: str, known: Known | None = None) -> RateEstimate:
    """An estimate as it is told while the run goes on: with a bar that few roots allow, and with what is missing.

    Parameters
    ----------
    estimate : callable
        Gives what would be the answer if this were the end.
    missing : str
    known : Known, optional
        Default: as the estimate says, its events being independent of its pool, if it has one.
    """
    found = replace(estimate(), complete=False, missing=missing, reliable=False)
    k = found.rate_per_ps
    if k <= 0.0 or found.rate_below_per_ps is not None:
        return found
    if known is None:
        pool_error = 0.0 if found.method == "brute_force" else found.pool_relative_error
        known = Known(k, np.log(found.rate_ci95[1] / k) / _QUANTILE, found.ess, pool_error)
    low, high = known.interval()
    grown = known.k / k
    changes = {"rate_stderr": max(found.rate_stderr * grown, (high - low) / (2.0 * _QUANTILE))}
    if found.p_ab is not None:
        changes |= {"p_ab": found.p_ab * grown, "p_ab_stderr": found.p_ab_stderr * grown}
    if found.rate_reduced is not None:
        per = found.rate_reduced / k
        changes |= {"rate_reduced": known.k * per, "rate_reduced_stderr": changes["rate_stderr"] * per}
    return replace(found, rate_per_ps=known.k, rate_ci95=(low, high), **changes)


def in_words(estimate: RateEstimate) -> str:
    """An estimate of an unfinished run in one sentence."""
    low, high = (format_value(bound) for bound in estimate.rate_ci95)
    if estimate.rate_below_per_ps is not None:
        found = f"k is below {format_value(estimate.rate_below_per_ps)} 1/ps (95 %)"
    else:
        found = f"k = {format_value(estimate.rate_per_ps, estimate.rate_stderr)} 1/ps (95 %: {low} to {high})"
    return f"so far {found}; not the final answer: {estimate.missing}"


@dataclass
class Unaided:
    """What walkers that nothing pushed have counted before there is anything better.

    Attributes
    ----------
    left_out : mapping
        Kind of tasks to the number of those that are not counted: walkers leave where they began.
    transitions : int
        Arrivals in B.
    time_ps : float
        Time with A as the state visited last.
    """

    left_out: Mapping[str, int]
    transitions: int = 0
    time_ps: float = 0.0

    def __post_init__(self) -> None:
        self._left = dict(self.left_out)

    def add(self, kind: str, record: Mapping, timestep: float) -> bool:
        """Count a record of unaided walkers, all of which stand for as much; whether there was anything to count."""
        if "frames" not in record or np.any(np.asarray(record.get("weight", 1.0)) != 1.0):
            return False
        self._left[kind] -= 1
        if self._left[kind] >= 0:
            return False
        self.transitions += int(np.sum(record["transitions"]))
        self.time_ps += float(np.sum(record["frames"])) * timestep
        return self.time_ps > 0.0

    def estimate(self, facts: RunFacts, method: str) -> RateEstimate:
        """The Poisson interval of the rate; an upper bound where nothing came to B."""
        n, unknown = self.transitions, float("nan")
        low, high = (events / self.time_ps for events in poisson_interval(n))
        common = common_fields(facts, n / self.time_ps, max(n, 1) ** 0.5 / self.time_ps, unknown)
        return RateEstimate(
            **{**common, "rate_ci95": (low, high)},
            method=method,
            flux_per_ps=None,
            flux_stderr=None,
            p_ab=None,
            p_ab_stderr=None,
            ess=float(n),
            pareto_k=unknown,
            n_roots=0,
            n_exits=0,
            strength=0.0,
            window_power=1.0,
            channels={},
            mean_weight=unknown,
            mean_weight_stderr=unknown,
            pool_relative_error=unknown,
            roots_relative_error=unknown,
            reliable=False,
            warnings=(),
            rate_below_per_ps=None if n else high,
            complete=False,
            missing=f"{_TO_COME} ({n} came to B in {self.time_ps:.3g} ps)",
        )
