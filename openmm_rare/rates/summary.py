"""From the records of a run to its estimate: rate, error bars, channels and warnings."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
import torch

from .. import __version__
from ..flux.hot_exits import unvisited_exits
from ..flux.parts import doubts_about_a, mixing_of
from ..flux.pool import Pool
from ..flux.root_density import RootDensity
from ..flux.run import FluxRun
from ..statistics import pareto_k, ratio_of_sums
from .crossing import values_in_words
from .enough.lineages import few_lineages
from .estimate import RateEstimate
from .facts import RunFacts
from .production import NEGLIGIBLE, Production
from .roots import Steering

if TYPE_CHECKING:
    from ..states.states import States

__all__ = [
    "bootstrap_stream",
    "channel_fractions",
    "common_fields",
    "importance_estimate",
    "installed_version",
    "left_over",
    "versions",
]


def installed_version(name: str) -> str | None:
    """Version of a package of Python, or None if there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def versions(*more: str) -> dict[str, str]:
    """Versions of what computed a result, and of these packages where there are some."""
    return {
        "openmm_rare": __version__,
        "openmm": openmm.version.short_version,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    } | {name: found for name in more if (found := installed_version(name)) is not None}


def common_fields(facts: RunFacts, rate: float, stderr: float, log_error: float) -> dict[str, Any]:
    """The fields of a :class:`RateEstimate` that every method fills in the same way.

    Parameters
    ----------
    facts : RunFacts
    rate, stderr : float
        k and its standard error, 1/ps.
    log_error : float
        Standard error of ln k.
    """
    problem = facts.problem
    time_unit = None if problem.reduced is None else problem.reduced.time
    return {
        "system": problem.name,
        "temperature_k": problem.temperature,
        "rate_per_ps": rate,
        "rate_stderr": stderr,
        "rate_ci95": (float(rate * np.exp(-1.96 * log_error)), float(rate * np.exp(1.96 * log_error))),
        "rate_reduced": None if time_unit is None else rate * time_unit,
        "rate_reduced_stderr": None if time_unit is None else stderr * time_unit,
        "walker_steps": sum(facts.walker_steps.values()),
        **{f"{part}_walker_steps": steps for part, steps in facts.walker_steps.items()},
        "wall_seconds": facts.wall_seconds,
        "seed": facts.seed,
        "platform": facts.machine.platform,
        "backend": facts.backend,
        "versions": versions(),
        "notes": facts.notes,
    }


def importance_estimate(
    facts: RunFacts,
    flux: FluxRun,
    density: RootDensity,
    production: Production,
    steering: Steering,
    no_reweighting: bool = False,
) -> RateEstimate:
    """The estimate of a finished run.

    Parameters
    ----------
    facts : RunFacts
    flux, density, production : FluxRun, RootDensity, Production
    steering : Steering
    no_reweighting : bool
        Also say what the importance function alone would.
    """
    pool, states = flux.pool, facts.problem.states
    rate = production.clustered(pool, density)
    pool_error, roots_error = rate.errors()
    replicas = rate.bootstrap(bootstrap_stream(facts.seed))
    k, k_replicas = rate.value, replicas[:, 0] * replicas[:, 2]
    log_error = float(np.std(np.log(np.maximum(k_replicas, 1e-300))))
    flux_per_ps, flux_error = ratio_of_sums(pool.exit_counts(), pool.time_ps)
    tail, weight = production.tail(), production.mean_weight()
    warnings = [
        *_warnings(tail, pareto_k(pool.surrogate(density)), weight, pool.drift()),
        *doubts_about_a(flux, rate, facts.target_error),
        *filter(None, [few_lineages(production, pool, density)]),
        *filter(None, [unvisited_exits(facts.problem, flux.model, flux.dispersal, pool), left_over(facts, production)]),
    ]
    return RateEstimate(
        **common_fields(facts, k, k * rate.relative_error(replicas), log_error),
        method="importance",
        flux_per_ps=flux_per_ps,
        flux_stderr=flux_error,
        p_ab=k / flux_per_ps,
        p_ab_stderr=float((k_replicas / replicas[:, 1]).std(ddof=1)),
        ess=production.ess(),
        pareto_k=tail,
        n_roots=production.n_roots,
        n_exits=len(pool.exits),
        strength=steering.strength,
        window_power=steering.window.power,
        channels=channel_fractions(states, rate.root_value.mean(0), replicas[:, 2:]),
        mean_weight=weight[0],
        mean_weight_stderr=weight[1],
        pool_relative_error=pool_error,
        roots_relative_error=roots_error,
        pending_fraction=production.pending_fraction(),
        reliable=not warnings,
        warnings=tuple(warnings),
        no_reweighting=_without_weights(states, pool, flux_per_ps, production) if no_reweighting else None,
        mixing=mixing_of(flux),
    )


def left_over(facts: RunFacts, production: Production) -> str | None:
    """A sentence, if walkers left between the states could change the rate."""
    fraction, walkers, variables = production.pending_fraction(), production.pending, facts.problem.states.variables
    if fraction <= NEGLIGIBLE * facts.target_error:
        return None
    heaviest = walkers.frames[int(walkers.log_weights.argmax())].positions
    return (
        f"Walkers that could raise the rate by up to {100 * fraction:.2g} % were still between the states after "
        f"{facts.settings.waiting_steps} steps without a new root, the heaviest near "
        f"{values_in_words(variables.names, variables(heaviest)[0])}: "
        "they may sit in a trap. Raise waiting_steps, make the trap a part of A or B, or compute two steps."
    )


def bootstrap_stream(seed: int) -> np.random.Generator:
    """The random numbers of the bootstrap: always the same, so that the run stops at the error that it then reports."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))


def channel_fractions(states: States, mean: np.ndarray, replicas: np.ndarray) -> dict[str, dict[str, float]]:
    """Fractions of the rate by channel, of those that were found, from C and its replicas: in all, then by channel."""
    fractions = replicas[:, 1:] / np.maximum(replicas[:, :1], 1e-300)
    return {
        name: {"fraction": float(mean[1 + i] / mean[0]), "fraction_stderr": float(fractions[:, i].std(ddof=1))}
        for i, name in enumerate(states.channel_names)
        if mean[1 + i] > 0.0 or states.channels is None
    }


def _warnings(k: float, pool_k: float, weight: tuple[float, float], drift: float) -> list[str]:
    """Plain sentences for everything that should shake the reader's trust.

    Parameters
    ----------
    k, pool_k : float
        Pareto k of the roots, and of the flux walkers.
    weight : (float, float)
        Mean path weight and its standard error.
    drift : float
        Of the flux, in standard errors.
    """
    found = []
    if abs(weight[0] - 1.0) > 4.0 * weight[1]:
        found.append(
            f"The mean path weight is {weight[0]:.3f} +- {weight[1]:.3f} instead of 1: rare heavy paths are missing. Train "
            "longer, or lower the target error."
        )
    if k > 0.7:
        found.append(
            f"A few roots carry most of the answer (Pareto k = {k:.2f}, above 0.7): the error bar is too small. Train "
            "longer, or lower the target error so that more roots are drawn."
        )
    if pool_k > 0.7:
        found.append(
            f"A few flux walkers carry most of the exit pool (Pareto k = {pool_k:.2f}, above 0.7): make A smaller, or "
            "run the flux longer by lowering the target error."
        )
    if abs(drift) > 4.0:
        found.append(
            f"The flux out of A drifts during the run (by {drift:+.1f} standard errors): A was not in equilibrium. "
            "Raise flux_steps, or check whether the basin of A has slow parts."
        )
    return found


def _without_weights(states: States, pool: Pool, flux: float, production: Production) -> dict:
    """What the importance function would say if it were the exact committor: P_AB = mean of I over the exits."""
    p_ab = float(np.average(np.exp(pool.log_importance), weights=pool.weight))
    share = production.arrivals / max(production.arrivals.sum(), 1)
    return {
        "rate_per_ps": flux * p_ab,
        "p_ab": p_ab,
        "channels": {name: float(value) for name, value in zip(states.channel_names, share, strict=True) if value > 0.0},
    }
