"""Production: rounds of roots, and what all of them have given so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..flux.pool import Pool
from ..flux.root_density import RootDensity
from ..statistics import ClusteredRate, effective_sample_size, pareto_k, ratio_of_sums
from ..walkers.population import Walkers
from .interfaces.interface import PER_ROOT, Passage, allotted
from .keeping.kept_paths import Keep, KeptPaths
from .keeping.past import PastTable, frames_of
from .roots import Climbed, RootSampler, Steering
from .weighted_paths import PathBatch, Patience

__all__ = ["NEGLIGIBLE", "Production", "production_round"]

NEGLIGIBLE: float = 0.1
"""Of the target error: what the walkers still between the states may add to the rate without being waited for."""

_PATHS_SHOWN = 40


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
    pending_tops : ndarray or None
        The highest levels that these have come to, where levels are kept account of.
    crossed : ndarray, shape (n_roots, n_levels), or None
        Summed weights of the descendants that have come to each level.
    kept : KeptPaths or None
        Those of all rounds that may be kept in the end.
    pending_pasts : PastTable or None
        Where the pending walkers have been, if whole paths are kept.
    passages : list of Passage
        For every interface on the way, how all fared that started for it.
    stage_steps : ndarray, shape (n_interfaces + 1,)
        Steps to each interface, and from the last one, if there are some.

    Parameters
    ----------
    n_channels : int
    keep : Keep, optional
        What to keep of paths.
    """

    def __init__(self, n_channels: int, keep: Keep | None = None) -> None:
        self._keep = keep
        self.kept: KeptPaths | None = None
        self.pending_pasts: PastTable | None = None
        self.root = np.zeros(0, dtype=np.int64)
        self.start_weight, self.contribution, self.returned = np.zeros(0), np.zeros(0), np.zeros(0)
        self.channel_contribution = np.zeros((0, n_channels))
        self.arrivals = np.zeros(n_channels, dtype=np.int64)
        self.pending: Walkers | None = None
        self.pending_tops: np.ndarray | None = None
        self.crossed: np.ndarray | None = None
        self.passages: list[Passage] = []
        self.stage_steps = np.zeros(1)

    @property
    def n_roots(self) -> int:
        """Roots started so far."""
        return len(self.root)

    @property
    def n_started(self) -> int:
        """Roots that would have been started so far without interfaces: half the walkers on their way to each, in all."""
        walkers = self.n_roots + sum(len(each) for each in self.passages)
        return walkers // PER_ROOT if self.passages else walkers

    def add(self, record: Mapping) -> None:
        """Add one round."""
        new = len(record["root"])
        self.root = np.concatenate([self.root, np.asarray(record["root"])])
        self.start_weight = np.concatenate([self.start_weight, np.asarray(record["start_weight"])])
        touched = np.asarray(record["touched"])
        sums = ["contribution", "returned", "channel_contribution"]
        if "crossed" in record:
            sums.append("crossed")
            self.crossed = np.zeros((0, record["crossed"].shape[1])) if self.crossed is None else self.crossed
        for name in sums:
            old = getattr(self, name)
            grown = np.concatenate([old, np.zeros((new, *old.shape[1:]))])
            grown[touched] += np.asarray(record[name])
            setattr(self, name, grown)
        self.arrivals = self.arrivals + np.asarray(record["arrivals"])
        found = [Passage.of_record(record, f"interface{i}_") for i in range(int(record.get("n_interfaces", 0)))]
        joined = [old.join(new) for old, new in zip(self.passages, found, strict=False)]
        self.passages = joined or found or self.passages
        self.stage_steps = self.stage_steps + np.asarray(record.get("stage_steps", 0))
        self.pending, self.pending_tops = Walkers.of_record(record, "pending_"), record.get("pending_tops")
        if self._keep is not None:
            found, self.pending_pasts = KeptPaths.of_record(record), PastTable.of_record(record)
            self.kept = (found if self.kept is None else self.kept.join(found)).top(self._keep.n + 1)

    def left_over(self) -> dict[str, Any]:
        """What the next round follows on, and the number of its first root."""
        known = {"pending": self.pending, "pending_tops": self.pending_tops, "pending_pasts": self.pending_pasts}
        return known | {"first_root": self.n_roots}

    def keep(self) -> Keep | None:
        """What to keep of the paths of the next round."""
        if self._keep is None or self.kept is None:
            return self._keep
        return replace(self._keep, above=self.kept.threshold(self._keep.n))

    def mean_weight(self) -> tuple[float, float]:
        """Estimate of E[w] = 1 from all arrivals and those still to come, and its standard error.

        With interfaces from walkers that started from exits and came to the first one, or back to A. Beyond it nearly all of
        the weight is that of the few that turn back, which a strong bias hardly lets do so: there the mean is not seen.
        """
        if self.passages:
            return ratio_of_sums(self.passages[0].weight, self.passages[0].start_weight)
        weight = self.contribution + self.returned
        if self.pending is not None:
            weight += np.bincount(self.pending.roots, np.exp(self.pending.log_weights), minlength=self.n_roots)
        return ratio_of_sums(weight, self.start_weight)

    def ess(self) -> float:
        """Effective sample size of roots, and of walkers before them: one over the relative variance of their fates."""
        return self.whole_ess(effective_sample_size(self.contribution))

    def whole_ess(self, of_roots: float) -> float:
        """The same from that of the contributions of roots alone."""
        if not self.passages or of_roots == 0.0:
            return of_roots
        before = sum(each.relative_variance() / len(each) for each in self.passages)
        return 1.0 / max(1.0 / of_roots - 1.0 / self.n_roots + before, 1e-300)

    def allotted(self, steering: Steering, n_roots: int) -> Steering:
        """The steering with as many walkers for each interface as pays, by what is known so far, for so many roots."""
        if not steering.interfaces or not n_roots:
            return steering
        if not self.passages or not self.contribution.any():
            return steering.scaled(n_roots)
        numbers = np.array([*(len(each) for each in self.passages), self.n_roots])
        return steering.with_numbers(allotted(self._variances(), self.stage_steps / numbers, n_roots))

    def _variances(self) -> np.ndarray:
        """Relative variance of what one walker brings to the next interface, and at last to B."""
        last = max(self.n_roots / effective_sample_size(self.contribution) - 1.0, 1e-3)
        return np.array([*(each.relative_variance() for each in self.passages), last])

    def tail(self) -> float:
        """Pareto k of what roots have contributed, or walkers before them to an interface: where most of the variance is."""
        if not self.passages or not self.contribution.any():
            return pareto_k(self.contribution)
        values = [*(each.value for each in self.passages), self.contribution]
        return pareto_k(values[int(np.argmax(self._variances() / [len(each) for each in values]))])

    def pending_fraction(self) -> float:
        """By how much, relative to it, the rate would grow if every walker still between the states came to B."""
        pending = 0.0 if self.pending is None else self.pending.total_weight()
        return pending / max(self.contribution.sum(), 1e-300) if pending > 0.0 else 0.0

    def clustered(self, pool: Pool, density: RootDensity) -> ClusteredRate:
        """Rate estimator, clustered by flux walker."""
        columns = np.column_stack([self.contribution, self.channel_contribution])
        given = pool.surrogate(density), pool.exit_counts(), pool.time_ps, pool.walker[self.root], columns
        if not self.passages:
            return ClusteredRate(*given)
        n, through = len(pool.time_ps), [(pool.walker[each.exit], each.value) for each in self.passages]
        sums = [[np.bincount(who, value, minlength=n), np.bincount(who, minlength=n)] for who, value in through]
        return ClusteredRate(*given, np.array(sums).transpose(0, 2, 1))


def production_round(
    sampler: RootSampler,
    production: Production,
    steering: Steering,
    level: float,
    n_new: int,
    patience: Patience,
    seed: np.random.SeedSequence,
) -> dict:
    """Start ``n_new`` roots and follow them, with those that were left over.

    Parameters
    ----------
    sampler : RootSampler
    production : Production
        The rounds before, with their pending walkers.
    steering : Steering
    level : float
        ln C of the weight windows, the same in all rounds.
    n_new : int
    patience : Patience
    seed : numpy.random.SeedSequence

    Returns
    -------
    dict
        The record of the round; contributions only of the roots that it touched.
    """
    first, keep = production.n_roots == 0, production.keep()
    climbed = None
    if steering.interfaces and n_new:
        climbed = sampler.climb(steering, seed, first or (keep is not None and keep.whole))
    root, log_weight, batch = sampler.follow(
        n_new,
        steering,
        level,
        seed,
        **production.left_over(),
        keep=keep,
        climbed=climbed,
        patience=patience,
        record_paths=first,
    )
    touched, seen = _touched(batch, sampler)
    return {
        "root": root,
        "start_weight": np.exp(log_weight),
        "touched": touched,
        "contribution": batch.contribution[touched],
        "channel_contribution": batch.channel_contribution[touched],
        "returned": batch.returned[touched],
        "arrivals": batch.arrivals,
        "log_weights": batch.log_weights.astype(np.float32),
        "walker_steps": batch.walker_steps + (0 if climbed is None else sum(climbed.walker_steps)),
        **batch.pending.record("pending_"),
        **seen,
        **_kept(batch),
        **_sample_paths(batch, sampler, climbed),
        **_passages(climbed, batch.walker_steps),
    }


def _touched(batch: PathBatch, sampler: RootSampler) -> tuple[np.ndarray, dict]:
    """Roots whose descendants arrived somewhere, and how far these came, where levels are kept account of."""
    touched, seen = batch.contribution + batch.returned > 0.0, {}
    if batch.crossings is not None:
        touched[batch.crossings.root] = True
        seen = {"pending_tops": batch.pending_tops}
        seen["crossed"] = batch.crossings.on(sampler.importance.counted[1], len(touched))[touched].astype(np.float32)
    return np.flatnonzero(touched), seen


def _passages(climbed: Climbed | None, last_steps: int) -> dict:
    """How walkers came to interfaces; empty where there are none."""
    if climbed is None:
        return {}
    found: dict = {"n_interfaces": len(climbed.passages), "stage_steps": np.array([*climbed.walker_steps, last_steps])}
    for i, passage in enumerate(climbed.passages):
        found |= passage.record(f"interface{i}_")
    return found


def _kept(batch: PathBatch) -> dict:
    """Paths that are kept, and what will belong to some; empty where none are."""
    found = {} if batch.kept is None else batch.kept.record()
    return found | ({} if batch.pending_pasts is None else batch.pending_pasts.record())


def _sample_paths(batch: PathBatch, sampler: RootSampler, climbed: Climbed | None) -> dict:
    """Some of the recorded paths to B, flattened for storage; empty when none were recorded."""
    if batch.history is None or not batch.history.ends:
        return {}
    ends = batch.history.ends
    chosen = [ends[i] for i in np.unique(np.linspace(0, len(ends) - 1, _PATHS_SHOWN).astype(int))]
    paths = [_whole(*batch.history.path(end), sampler, climbed) for end in chosen]
    joined = np.concatenate(paths)
    return {
        "path_values": joined[:, :-1],
        "path_ln_importance": joined[:, -1],
        "path_id": np.repeat(np.arange(len(paths)), [len(path) for path in paths]),
        "path_variables": ",".join(sampler.problem.states.variables.names),
    }


def _whole(root: int, values: np.ndarray, sampler: RootSampler, climbed: Climbed | None) -> np.ndarray:
    """Variables and ln I along a path to B from its root on, and before it from the exit on."""
    if climbed is None:
        return values
    before = frames_of(climbed.starts.pasts[root]).astype(np.float64)
    seen = [sampler.problem.states.variables(before), sampler.importance.log_importance(before)]
    return np.concatenate([np.column_stack(seen).astype(np.float32), values])
