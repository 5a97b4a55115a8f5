"""From the records of a run to its estimate: the exit pool, the production rounds, error bars and warnings."""

from __future__ import annotations

import platform as machine
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import openmm
import torch

from . import __version__
from .committor import CommittorModel
from .estimate import RateEstimate
from .flux import RootDensity
from .statistics import ClusteredRate, effective_sample_size, pareto_k, ratio_of_sums
from .walkers import Walkers
from .weighted_paths import PathBatch

if TYPE_CHECKING:
    from .rates import ImportanceSamplingRate, Steering
    from .systems.base import RareEventSystem

__all__ = ["Pool", "Production", "bootstrap_stream", "importance_estimate", "sample_paths", "versions"]

_PATHS_SHOWN = 40


@dataclass
class Pool:
    """The exits of the flux run so far, and what is needed to weight them.

    Attributes
    ----------
    exits : ndarray of float32, shape (n_exits, n_atoms, 3), nm
    walker : ndarray of int, shape (n_exits,)
        Flux walker that made each exit.
    log_importance : ndarray, shape (n_exits,)
    time_ps : ndarray, shape (n_walkers,)
        Time with A visited last.
    flux_by_chunk : list of (exits, time)
        Of every walker in every stretch, for the test of stationarity.
    """

    exits: np.ndarray
    walker: np.ndarray
    log_importance: np.ndarray
    time_ps: np.ndarray
    flux_by_chunk: list[tuple[np.ndarray, np.ndarray]]

    @classmethod
    def empty(cls, n_atoms: int, n_walkers: int) -> Pool:
        """No exits yet."""
        frames = np.zeros((0, n_atoms, 3), dtype=np.float32)
        return cls(frames, np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(n_walkers), [])

    def extend(self, record: Mapping, model: CommittorModel, timestep: float) -> None:
        """Add one stretch of the flux run."""
        exits, walker = np.asarray(record["exits"]), np.asarray(record["exit_walker"])
        time_ps = np.asarray(record["frames_last_a"]) * timestep
        self.exits = np.concatenate([self.exits, exits])
        self.walker = np.concatenate([self.walker, walker])
        self.log_importance = np.concatenate([self.log_importance, model.log_importance(exits)])
        self.time_ps = self.time_ps + time_ps
        self.flux_by_chunk.append((np.bincount(walker, minlength=len(time_ps)).astype(float), time_ps))

    def exit_counts(self) -> np.ndarray:
        """Exits of each walker."""
        return np.bincount(self.walker, minlength=len(self.time_ps)).astype(float)

    def surrogate(self, density: RootDensity) -> np.ndarray:
        """Sum of G over the exits of each walker."""
        return np.bincount(self.walker, weights=density(self.log_importance), minlength=len(self.time_ps))

    def relative_error(self, uniform_fraction: float) -> float:
        """Relative error that the finite pool gives to the rate; inf before there are exits of at least 20 walkers."""
        if (self.exit_counts() > 0).sum() < 20:
            return float("inf")
        value, error = ratio_of_sums(
            self.surrogate(RootDensity.of_pool(self.log_importance, uniform_fraction)), self.time_ps
        )
        return error / value

    def drift(self) -> float:
        """Difference of the flux between the first and the second half of the run, in standard errors."""
        if len(self.flux_by_chunk) < 2:
            return 0.0
        times = np.cumsum([chunk[1].sum() for chunk in self.flux_by_chunk])
        middle = int(np.searchsorted(times, times[-1] / 2)) + 1
        middle = min(middle, len(self.flux_by_chunk) - 1)
        halves = [
            ratio_of_sums(*(sum(chunk[i] for chunk in part) for i in (0, 1)))
            for part in (self.flux_by_chunk[:middle], self.flux_by_chunk[middle:])
        ]
        return float((halves[1][0] - halves[0][0]) / max(np.hypot(halves[0][1], halves[1][1]), 1e-300))


class Production:
    """The production rounds so far, root by root.

    Attributes
    ----------
    root : ndarray of int, shape (n_roots,)
        Exit of the pool that each root is.
    start_weight : ndarray, shape (n_roots,)
        1/G: the weight that a root started with.
    contribution, returned : ndarray, shape (n_roots,)
        Summed weights of the descendants that have reached B, and returned to A, so far.
    channel_contribution : ndarray, shape (n_roots, n_channels)
    arrivals : ndarray of int, shape (n_channels,)
        Unweighted numbers of arrivals in B.
    pending : Walkers or None
        Those still between the states.
    """

    def __init__(self, n_channels: int) -> None:
        self.root = np.zeros(0, dtype=np.int64)
        self.start_weight, self.contribution, self.returned = np.zeros(0), np.zeros(0), np.zeros(0)
        self.channel_contribution = np.zeros((0, n_channels))
        self.arrivals = np.zeros(n_channels, dtype=np.int64)
        self.pending: Walkers | None = None

    @property
    def n_roots(self) -> int:
        """Roots started so far."""
        return len(self.root)

    def add(self, record: Mapping) -> None:
        """Add one round."""
        new = len(record["root"])
        self.root = np.concatenate([self.root, np.asarray(record["root"])])
        self.start_weight = np.concatenate([self.start_weight, np.asarray(record["start_weight"])])
        touched = np.asarray(record["touched"])
        for name in ("contribution", "returned", "channel_contribution"):
            old = getattr(self, name)
            grown = np.concatenate([old, np.zeros((new, *old.shape[1:]))])
            grown[touched] += np.asarray(record[name])
            setattr(self, name, grown)
        self.arrivals = self.arrivals + np.asarray(record["arrivals"])
        self.pending = Walkers(*(np.asarray(record[f"pending_{field.name}"]) for field in fields(Walkers)))

    def clustered(self, pool: Pool, density: RootDensity) -> ClusteredRate:
        """Rate estimator, clustered by flux walker."""
        columns = np.column_stack([self.contribution, self.channel_contribution])
        return ClusteredRate(
            pool.surrogate(density), pool.exit_counts(), pool.time_ps, pool.walker[self.root], columns
        )


def sample_paths(batch: PathBatch, system: RareEventSystem) -> dict:
    """Some of the recorded paths to B, flattened for storage; empty when none were recorded."""
    if batch.history is None or not batch.history.ends:
        return {}
    ends = batch.history.ends
    chosen = [ends[i] for i in np.unique(np.linspace(0, len(ends) - 1, _PATHS_SHOWN).astype(int))]
    paths = [batch.history.path(end) for end in chosen]
    joined = np.concatenate(paths)
    return {
        "path_values": joined[:, :-1],
        "path_ln_importance": joined[:, -1],
        "path_id": np.repeat(np.arange(len(paths)), [len(path) for path in paths]),
        "path_variables": ",".join(system.states.variables.names),
    }


def versions() -> dict[str, str]:
    """Versions of what computed a result."""
    return {
        "openmm_rare": __version__,
        "openmm": openmm.version.short_version,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": machine.python_version(),
    }


def _warnings(
    run: ImportanceSamplingRate,
    pool: Pool,
    ess: float,
    k: float,
    pool_k: float,
    total: float,
    weight: tuple[float, float],
) -> list[str]:
    """Plain sentences for everything that should shake the reader's trust."""
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
    if ess < run.settings.min_ess:
        found.append(f"The effective sample size is {ess:.0f}, below {run.settings.min_ess:.0f}: lower the target error.")
    if abs(pool.drift()) > 4.0:
        found.append(
            f"The flux out of A drifts during the run (by {pool.drift():+.1f} standard errors): A was not in equilibrium. "
            "Raise flux_steps, or check whether the basin of A has slow parts."
        )
    if total > run.target_error * 1.001:
        found.append(f"The relative error is {100 * total:.1f} %, above the target of {100 * run.target_error:.1f} %.")
    return found


def importance_estimate(
    run: ImportanceSamplingRate, pool: Pool, density: RootDensity, production: Production, steering: Steering, wall: float
) -> RateEstimate:
    """The estimate of a finished run.

    Parameters
    ----------
    run : ImportanceSamplingRate
        Gives system, seed, cost and options.
    pool, density, production : Pool, RootDensity, Production
    steering : Steering
    wall : float
        Seconds.
    """
    system = run.system
    rate = production.clustered(pool, density)
    pool_error, roots_error = rate.errors()
    replicas = rate.bootstrap(bootstrap_stream(run.seed))
    flux, flux_error = ratio_of_sums(pool.exit_counts(), pool.time_ps)
    mean = rate.root_value.mean(0)
    k, k_replicas = rate.value, replicas[:, 0] * replicas[:, 2]
    k_error = k * rate.relative_error(replicas)
    log_error = float(np.std(np.log(np.maximum(k_replicas, 1e-300))))
    contributions = production.contribution
    ess, tail = effective_sample_size(contributions), pareto_k(contributions)
    weight = ratio_of_sums(contributions + production.returned, production.start_weight)
    warnings = _warnings(run, pool, ess, tail, pareto_k(pool.surrogate(density)), k_error / k, weight)
    names = ("all",) if system.states.channels is None else system.states.channels.names
    fractions = replicas[:, 3:] / np.maximum(replicas[:, 2:3], 1e-300)
    channels = {
        name: {"fraction": float(mean[1 + i] / mean[0]), "fraction_stderr": float(fractions[:, i].std(ddof=1))}
        for i, name in enumerate(names)
        if mean[1 + i] > 0.0 or system.states.channels is None
    }
    time_unit = None if system.reduced is None else system.reduced.time
    return RateEstimate(
        system=system.name,
        method="importance",
        temperature_k=system.temperature,
        rate_per_ps=k,
        rate_stderr=k_error,
        rate_ci95=(float(k * np.exp(-1.96 * log_error)), float(k * np.exp(1.96 * log_error))),
        flux_per_ps=flux,
        flux_stderr=flux_error,
        p_ab=k / flux,
        p_ab_stderr=float((k_replicas / replicas[:, 1]).std(ddof=1)),
        ess=ess,
        pareto_k=tail,
        n_roots=len(contributions),
        n_exits=len(pool.exits),
        strength=steering.strength,
        window_power=steering.window.power,
        walker_steps=sum(run.walker_steps.values()),
        training_walker_steps=run.walker_steps["training"],
        flux_walker_steps=run.walker_steps["flux"],
        pilot_walker_steps=run.walker_steps["pilot"],
        production_walker_steps=run.walker_steps["production"],
        wall_seconds=wall,
        channels=channels,
        mean_weight=weight[0],
        mean_weight_stderr=weight[1],
        pool_relative_error=pool_error,
        roots_relative_error=roots_error,
        reliable=not warnings,
        warnings=tuple(warnings),
        seed=run.seed,
        platform=run.platform,
        versions=versions(),
        rate_reduced=None if time_unit is None else k * time_unit,
        rate_reduced_stderr=None if time_unit is None else k_error * time_unit,
        no_reweighting=_without_weights(pool, flux, production, names) if run.no_reweighting else None,
    )


def bootstrap_stream(seed: int) -> np.random.Generator:
    """The random numbers of the bootstrap: always the same, so that the run stops at the error that it then reports."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))


def _without_weights(pool: Pool, flux: float, production: Production, names: tuple[str, ...]) -> dict:
    """What the importance function would say if it were the exact committor: P_AB = mean of I over the exits."""
    p_ab = float(np.exp(pool.log_importance).mean())
    share = production.arrivals / max(production.arrivals.sum(), 1)
    return {
        "rate_per_ps": flux * p_ab,
        "p_ab": p_ab,
        "channels": {name: float(value) for name, value in zip(names, share, strict=True) if value > 0.0},
    }
