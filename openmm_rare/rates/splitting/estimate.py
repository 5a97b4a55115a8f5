"""From the records of a run along a given direction to its estimate."""

from __future__ import annotations

import numpy as np

from ...bias.directions import Direction
from ...flux.blocks import BlockFlux
from ...flux.memory import remembered
from ...flux.root_density import RootDensity
from ...statistics import effective_sample_size, pareto_k, ratio_of_sums
from ..counted import poisson_interval
from ..enough.lineages import lineages
from ..estimate import RateCurve, RateEstimate
from ..facts import RunFacts
from ..production import Production
from ..roots import Steering
from ..summary import bootstrap_stream, channel_fractions, common_fields, left_over
from .calibration import Calibration
from .doubts import Curve, crossing_curve, doubts, seen_otherwise

__all__ = ["splitting_estimate"]


def splitting_estimate(
    facts: RunFacts,
    flux: BlockFlux,
    calibration: Calibration,
    density: RootDensity,
    steering: Steering,
    production: Production,
) -> RateEstimate:
    """The estimate of a finished run; without arrivals an upper bound."""
    pool, problem = flux.pool, facts.problem
    rate, curve = production.clustered(pool, density), crossing_curve(calibration, production, pool, density)
    spent = _fields(flux, calibration, curve, steering, production)
    told = [*doubts(calibration, production, pool, density, curve, problem.inertial)]
    told += [sentence for sentence in (left_over(facts, production), remembered(np.concatenate(flux.counts))) if sentence]
    if rate.value == 0.0:
        return _nothing(facts, flux, spent, [*told, *seen_otherwise(0.0, 0.0, flux.transitions)])
    replicas = rate.bootstrap(bootstrap_stream(facts.seed))
    k, error = rate.value, rate.relative_error(replicas)
    told += seen_otherwise(k * float(pool.time_ps.sum()), error, flux.transitions)
    k_replicas = replicas[:, 0] * replicas[:, 2]
    if (k_replicas > 0.0).all():
        log_error = float(np.std(np.log(k_replicas)))
    else:  # some resampled runs have no arrivals at all: the logarithm is that of a variable with this mean and spread
        log_error = float(np.sqrt(np.log1p(error**2)))
    pool_error, roots_error = rate.errors()
    common = common_fields(facts, k, k * error, log_error)
    spent["crossing"] |= _gain(k, error, common["walker_steps"], problem.timestep, spent["ess"])
    return RateEstimate(
        **common,
        **spent,
        p_ab=k / spent["flux_per_ps"],
        p_ab_stderr=float((k_replicas / replicas[:, 1]).std(ddof=1)),
        channels=channel_fractions(problem.states, rate.root_value.mean(0), replicas[:, 2:]),
        pool_relative_error=pool_error,
        roots_relative_error=roots_error,
        reliable=not told,
        warnings=tuple(told),
        complete=error <= facts.target_error,
    )


def _fields(flux: BlockFlux, calibration: Calibration, curve: Curve, steering: Steering, production: Production) -> dict:
    """Fields of the estimate that are there with and without arrivals."""
    pool, importance = flux.pool, calibration.importance
    direction, _ = importance.counted
    flux_per_ps, flux_error = ratio_of_sums(pool.exit_counts(), pool.time_ps)
    weight, weight_error = production.mean_weight()
    return {
        "method": "splitting",
        "flux_per_ps": flux_per_ps,
        "flux_stderr": flux_error,
        "ess": effective_sample_size(production.contribution),
        "pareto_k": pareto_k(production.contribution),
        "n_roots": production.n_roots,
        "n_exits": len(pool.exits),
        "strength": steering.strength,
        "window_power": steering.window.power,
        "mean_weight": weight,
        "mean_weight_stderr": weight_error,
        "pending_fraction": production.pending_fraction(),
        "crossing": {
            "direction": direction.name,
            "look_ahead_ps": importance.tau,
            "ess_blocks": lineages(production, pool),
            "blocks": len(pool.time_ps),
            "seen": _seen(flux),
            **curve.to_dict(),
        },
        "curve": _rates(curve, direction, flux_per_ps, flux_error).to_dict(),
    }


def _seen(flux: BlockFlux) -> dict:
    """What the flux run has counted by itself: the rate without trees."""
    time_ps, n = float(flux.pool.time_ps.sum()), flux.transitions
    return {"arrivals": n, "rate_per_ps": n / time_ps, "ci95": [bound / time_ps for bound in poisson_interval(n)]}


def _rates(curve: Curve, direction: Direction, flux_per_ps: float, flux_error: float) -> RateCurve:
    """The crossing curve times the flux; levels to which no descendant came are left out."""
    came, relative = curve.probability > 0.0, flux_error / max(flux_per_ps, 1e-300)
    rate = flux_per_ps * curve.probability[came]
    error = np.hypot(flux_per_ps * curve.stderr[came], relative * rate)
    return RateCurve(direction.name, getattr(direction, "key", ""), curve.levels[came], rate, error)


def _gain(k: float, error: float, steps: int, timestep: float, ess: float) -> dict[str, float]:
    """How many times more steps brute force takes for this error, and the standard error of that.

    Brute force has a relative variance of one over its events, of which each takes 1/(k dt) steps. The gain is as uncertain as
    k and as the variance, which is known from so many effective roots.
    """
    gain = 1.0 / (k * timestep * error**2) / steps
    return {"gain": gain, "gain_stderr": gain * float(np.hypot(error, np.sqrt(2.0 / max(ess, 1.0))))}


def _nothing(facts: RunFacts, flux: BlockFlux, spent: dict, told: list[str]) -> RateEstimate:
    """No descendant arrived: a bound from the flux run, which would have seen more events at a higher rate."""
    time_ps, seen = float(flux.pool.time_ps.sum()), flux.transitions
    bound = poisson_interval(seen)[1] / time_ps  # 3/T where it saw none
    known = f"below {bound:.2g} per ps (95 %, from {seen or 'no'} arrivals in {time_ps:.4g} ps of the flux run)"
    sentence = (
        f"No descendant of {spent['n_roots']} roots arrived in B: the rate is {known}, and nothing more is known. Run longer, "
        "or find a better direction."
    )
    common = common_fields(facts, 0.0, 1.0 / time_ps, 0.0) | {"rate_ci95": (0.0, bound)}
    return RateEstimate(
        **common,
        **spent,
        p_ab=0.0,
        p_ab_stderr=1.0 / time_ps / max(spent["flux_per_ps"], 1e-300),
        channels={},
        pool_relative_error=spent["flux_stderr"] / max(spent["flux_per_ps"], 1e-300),
        roots_relative_error=1.0,
        reliable=False,
        warnings=(sentence, *told),
        rate_below_per_ps=bound,
        complete=False,
    )
