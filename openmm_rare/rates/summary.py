"""From the records of a run to its estimate: rate, error bars, channels and warnings."""

from __future__ import annotations

import platform
from collections.abc import Mapping
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
from ..statistics import effective_sample_size, pareto_k, ratio_of_sums
from .crossing import values_in_words
from .estimate import RateEstimate
from .production import NEGLIGIBLE, Production
from .roots import Steering

if TYPE_CHECKING:
    from ..states.states import States
    from .brute_force import BruteForceRate
    from .importance import ImportanceSamplingRate

__all__ = ["bootstrap_stream", "common_fields", "importance_estimate", "installed_version", "versions"]


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


def common_fields(
    run: ImportanceSamplingRate | BruteForceRate,
    rate: float,
    stderr: float,
    log_error: float,
    walker_steps: Mapping[str, int],
    wall: float,
) -> dict[str, Any]:
    """The fields of a :class:`RateEstimate` that every method fills in the same way.

    Parameters
    ----------
    run : ImportanceSamplingRate or BruteForceRate
        Gives system, seed and machine.
    rate, stderr : float
        k and its standard error, 1/ps.
    log_error : float
        Standard error of ln k.
    walker_steps : mapping
        By part of the cost: training, flux, pilot, production.
    wall : float
        Seconds.
    """
    system = run.system
    time_unit = None if system.reduced is None else system.reduced.time
    return {
        "system": system.name,
        "temperature_k": system.temperature,
        "rate_per_ps": rate,
        "rate_stderr": stderr,
        "rate_ci95": (float(rate * np.exp(-1.96 * log_error)), float(rate * np.exp(1.96 * log_error))),
        "rate_reduced": None if time_unit is None else rate * time_unit,
        "rate_reduced_stderr": None if time_unit is None else stderr * time_unit,
        "walker_steps": sum(walker_steps.values()),
        **{f"{part}_walker_steps": steps for part, steps in walker_steps.items()},
        "wall_seconds": wall,
        "seed": run.seed,
        "platform": run.machine.platform,
        "backend": run.machine.backend,
        "versions": versions(),
        "notes": run.notes,
    }


def importance_estimate(
    run: ImportanceSamplingRate, flux: FluxRun, density: RootDensity, production: Production, steering: Steering, wall: float
) -> RateEstimate:
    """The estimate of a finished run.

    Parameters
    ----------
    run : ImportanceSamplingRate
        Gives system, seed, cost and options.
    flux, density, production : FluxRun, RootDensity, Production
    steering : Steering
    wall : float
        Seconds.
    """
    pool = flux.pool
    rate = production.clustered(pool, density)
    pool_error, roots_error = rate.errors()
    replicas = rate.bootstrap(bootstrap_stream(run.seed))
    k, k_replicas = rate.value, replicas[:, 0] * replicas[:, 2]
    log_error = float(np.std(np.log(np.maximum(k_replicas, 1e-300))))
    flux_per_ps, flux_error = ratio_of_sums(pool.exit_counts(), pool.time_ps)
    tail, weight = pareto_k(production.contribution), production.mean_weight()
    pending = production.pending_fraction()
    warnings = _warnings(tail, pareto_k(pool.surrogate(density)), weight, pool.drift())
    warnings += doubts_about_a(flux, rate, run.target_error)
    warnings += filter(None, [unvisited_exits(run.system, run.model, flux.dispersal, pool)])
    if pending > NEGLIGIBLE * run.target_error:
        place = _heaviest(run.system.states, production)
        warnings.append(
            f"Walkers that could raise the rate by up to {100 * pending:.2g} % were still between the states after "
            f"{run.settings.waiting_steps} steps without a new root, the heaviest near {place}: "
            "they may sit in a trap. Raise waiting_steps, make the trap a part of A or B, or compute two steps."
        )
    return RateEstimate(
        **common_fields(run, k, k * rate.relative_error(replicas), log_error, run.walker_steps, wall),
        method="importance",
        flux_per_ps=flux_per_ps,
        flux_stderr=flux_error,
        p_ab=k / flux_per_ps,
        p_ab_stderr=float((k_replicas / replicas[:, 1]).std(ddof=1)),
        ess=effective_sample_size(production.contribution),
        pareto_k=tail,
        n_roots=production.n_roots,
        n_exits=len(pool.exits),
        strength=steering.strength,
        window_power=steering.window.power,
        channels=_channels(run.system.states, rate.root_value.mean(0), replicas[:, 2:]),
        mean_weight=weight[0],
        mean_weight_stderr=weight[1],
        pool_relative_error=pool_error,
        roots_relative_error=roots_error,
        pending_fraction=pending,
        reliable=not warnings,
        warnings=tuple(warnings),
        no_reweighting=_without_weights(run.system.states, pool, flux_per_ps, production) if run.no_reweighting else None,
        mixing=mixing_of(flux),
    )


def _heaviest(states: States, production: Production) -> str:
    """Where the heaviest walker between the states is, in words."""
    pending = production.pending
    heaviest = pending.frames[int(pending.log_weights.argmax())].positions
    return values_in_words(states.variables.names, states.variables(heaviest)[0])


def bootstrap_stream(seed: int) -> np.random.Generator:
    """The random numbers of the bootstrap: always the same, so that the run stops at the error that it then reports."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))


def _channels(states: States, mean: np.ndarray, replicas: np.ndarray) -> dict[str, dict[str, float]]:
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
