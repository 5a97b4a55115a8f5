"""The flux run: unbiased walkers of many starts, run until they agree on A, or weighted where its parts do not exchange."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..committor.model import CommittorModel
from ..descriptors.by_hand import feature_columns
from ..io.progress import reached
from ..io.tasks import Progress, Task
from ..settings.rates import RateSettings
from ..states.states import IN_A
from ..statistics import ratio_of_sums
from ..walkers.machine import Machine
from .agreement import Agreement, Quantity, compare, quantities
from .annealed_start import NoEquilibriumError, WeightedStart, annealed_start
from .dispersal import Dispersal
from .flux import FluxState, run_flux
from .pool import Pool

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["FluxRun", "stretch"]

_PIECES = 4  # of a stretch: at the end of each, walkers are looked at
_PATIENCE = 5  # stretches of equilibration after which walkers that still differ are weighted
_MOST_INPUTS = 300  # that are looked at
_STAGNANT = 0.85  # factor on the error of a pool, above which twice the time was no use
_DRIFT = 2.5  # standard errors between stretches
FLUX, WEIGHTED_FLUX = "flux", "I-weighted flux"


def stretch(
    problem: RareEventSystem,
    model: CommittorModel,
    state: FluxState,
    n_steps: int,
    machine: Machine,
    seed: np.random.SeedSequence,
) -> dict:
    """Run flux walkers on; a record of their exits, times and values, and of the state at the end.

    Returns
    -------
    dict
        Of every exit ``exits``, ``exit_walker``, ``exit_cluster``, ``exit_weight`` and ``exit_piece``; ``frames`` of every
        walker and ``weighted_frames`` of every cluster with A visited last, for each piece; ``snapshots`` at the end of each,
        shape (n_pieces, n, n_values), NaN where A was not visited last; ``transitions``, ``walker_steps``, and the state.
    """
    rng = np.random.default_rng(seed)
    parts, snapshots = [], []
    for piece in range(_PIECES):
        chunk = run_flux(problem, state, -(-n_steps // _PIECES), machine, int(rng.integers(2**31)), rng)
        state, walker = chunk.state, chunk.exit_walker
        parts.append(
            {
                **chunk.exits.astype(np.float32).arrays("exits"),
                "exit_walker": walker,
                "exit_cluster": state.cluster[walker],
                "exit_weight": state.weight[walker],
                "exit_piece": np.full(len(walker), piece, dtype=np.int8),
                "frames": chunk.frames_last_a[None],
                "weighted_frames": np.bincount(state.cluster, state.weight * chunk.frames_last_a, minlength=state.n_clusters)[
                    None
                ],
                "transitions": chunk.transitions[None],
            }
        )
        values = [problem.states.variables(state.frames.positions), _inputs(model, state.frames.positions)]
        snapshots.append(np.where(state.last_a[:, None], np.concatenate(values, axis=1), np.nan))
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {
        **joined,
        "transitions": joined["transitions"].sum(0),
        "snapshots": np.array(snapshots, dtype=np.float32),
        "walker_steps": _PIECES * chunk.walker_steps,
        **state.record(),
    }


def _looked_at(model: CommittorModel) -> np.ndarray:
    """Columns of the inputs that walkers are compared by."""
    n = model.descriptor.n_features
    return np.unique(np.linspace(0, n - 1, min(n, _MOST_INPUTS)).astype(int))


def _inputs(model: CommittorModel, positions: np.ndarray) -> np.ndarray:
    return feature_columns(model.descriptor, positions)[_looked_at(model)].T


@dataclass
class FluxRun:
    """Flux walkers and what they have given.

    Attributes
    ----------
    problem : RareEventSystem
    model : CommittorModel
        Trained.
    settings : RateSettings
    machine : Machine
    task : callable
        See :data:`openmm_rare.io.tasks.Task`; tasks of the kinds "equilibration" and "flux", and those of annealed walkers.
    progress : Progress
    dispersal : Dispersal
        Where walkers start.
    pool : Pool
    state : FluxState
        Of the walkers now.
    agreement : Agreement or None
        Of the last stretch of equilibration, before any weights.
    found : list of Quantity
        What they were compared by.
    weighted : WeightedStart or None
        Where walkers did not agree and could be weighted.
    failure : str or None
        Why they could not.
    growing : bool
        Whether it is walkers that the pool lacks, not time.
    stuck : bool
        Whether neither time nor walkers make the error of the pool smaller.
    steps : int
        Of the flux run after equilibration, of the walkers that were there from its beginning.
    """

    problem: RareEventSystem
    model: CommittorModel
    settings: RateSettings
    machine: Machine
    task: Task
    progress: Progress
    dispersal: Dispersal
    pool: Pool = field(init=False)
    state: FluxState = field(init=False)
    agreement: Agreement | None = None
    found: list[Quantity] = field(default_factory=list)
    weighted: WeightedStart | None = None
    failure: str | None = None
    growing: bool = False
    stuck: bool = False
    steps: int = 0

    def equilibrate(self) -> None:
        """Run in A, in stretches of growing length, until neither the flux nor the start of a walker matters any more."""
        self.progress.stage("equilibration in A")
        self.state = self.dispersal.flux_state(self.settings.flux_walkers)
        n_steps, before = self.settings.flux_steps, None
        for number in range(self.settings.equilibration_tries):
            record = self._stretch("equilibration", n_steps)
            exits = np.bincount(np.asarray(record["exit_walker"]), minlength=len(self.state)).astype(float)
            now = ratio_of_sums(exits, np.asarray(record["frames"]).sum(0) * self.problem.timestep)
            self.agreement = self._compare(record)
            name, r_hat = self.agreement.worst
            self.progress.update(flux_per_ps=f"{now[0]:.3g}", R_hat=f"{r_hat:.2f} ({name})")
            steady = before is not None and now[0] > 0.0 and abs(now[0] - before[0]) < _DRIFT * np.hypot(now[1], before[1])
            if steady and self.agreement.agree:
                break
            if number + 1 >= _PATIENCE and not self.agreement.agree and self._weigh():
                break
            before, n_steps = now, 2 * n_steps
        self.pool = Pool.empty(self.state.frames, self.state.n_clusters)

    def extend(self, wanted: float) -> None:
        """Run in A until the pool's part of the relative error is at most ``wanted``, or cannot be made smaller."""
        self.progress.stage("flux and exit pool")
        n_steps, before = self.settings.flux_steps, np.inf
        while True:
            spent = self._more_walkers() if self.growing else self._longer(n_steps)
            if self.stuck:
                return
            error = self.pool.relative_error(self.settings.uniform_fraction)
            self.progress.update(spent, **reached(error, wanted), exits=len(self.pool.exits))
            if error <= wanted:
                return
            apart = self.agreement is not None and not self.agreement.agree
            doubled = 2 * n_steps >= self.steps > n_steps
            self.growing = self.growing or (apart and doubled and error > _STAGNANT * before)
            before, have = error, self.steps
            # enough for the error that is left, but never more than doubling what there is
            needed = have * (min(error / wanted, 10.0) ** 2 - 1.0) if np.isfinite(error) else have
            n_steps = int(np.clip(1.1 * needed, self.settings.flux_steps, max(have, self.settings.flux_steps)))

    def _longer(self, n_steps: int) -> int:
        """Run all walkers on; returns walker-steps."""
        record = self._stretch("flux", n_steps)
        self.pool.extend(record, self.model, self.problem.timestep)
        self.steps += n_steps
        return int(record["walker_steps"])

    def _more_walkers(self) -> int:
        """Add weighted walkers, run as long as the others were; returns walker-steps, and is stuck where there are none."""
        start = None if self.weighted is None else self._annealed()
        if start is None:
            self.stuck = True
            return 0
        others, new = self.state, _state_of(start, self.problem)
        self.state = replace(new, cluster=new.cluster + len(self.pool.time_ps))
        record = self._stretch("flux", self.steps)
        self.pool.widen(self.state.n_clusters)
        self.pool.extend(record, self.model, self.problem.timestep)
        self.state = others.join(self.state)
        return int(record["walker_steps"])

    def _stretch(self, kind: str, n_steps: int) -> Mapping:
        """The record of one stretch; the state becomes that at its end."""

        def compute(seed: np.random.SeedSequence) -> Mapping:
            return stretch(self.problem, self.model, self.state, n_steps, self.machine, seed)

        record = self.task(kind, compute)
        self.state = FluxState.from_record(record)
        return record

    def _compare(self, record: Mapping) -> Agreement:
        """How well the walkers agree in one stretch."""
        names = [self.model.descriptor.names[column] for column in _looked_at(self.model)]
        self.found = quantities(self.problem.states, names, np.asarray(record["snapshots"]), self._fluxes(record))
        return compare(self.found, self.state.group, self.dispersal.names, self.state.weight)

    def _fluxes(self, record: Mapping) -> dict[str, np.ndarray]:
        """Flux, and flux weighted with I, of every walker in both halves, shape (2, n_walkers), 1/ps."""
        walker, late = np.asarray(record["exit_walker"]), np.asarray(record["exit_piece"]) >= _PIECES // 2
        n = len(self.state)
        importance = np.exp(self.model.log_importance(np.asarray(record["exits"])))
        times = np.array([half.sum(0) for half in np.array_split(np.asarray(record["frames"]), 2)]) * self.problem.timestep
        times = np.where(times > 0.0, times, np.nan)
        rows = [(walker[late == half], importance[late == half]) for half in (False, True)]
        counts = np.array([np.bincount(who, minlength=n) for who, _ in rows])
        weighted = np.array([np.bincount(who, i, minlength=n) for who, i in rows])
        return {FLUX: counts / times, WEIGHTED_FLUX: weighted / times}

    def _weigh(self) -> bool:
        """Replace the walkers by weighted ones, if there are any; whether that was possible."""
        if self.failure is not None:
            return False
        start = self._annealed()
        if start is None:
            return False
        self.weighted, self.state = start, _state_of(start, self.problem)
        self._stretch("equilibration", self.settings.flux_steps)
        return True

    def _annealed(self) -> WeightedStart | None:
        ladder = [*self.dispersal.temperatures[::-1], self.problem.temperature]
        starts, group = self.dispersal.starts, self.dispersal.group
        options = self.settings, self.machine, self.task, self.progress
        try:
            found = annealed_start(self.problem, starts, group, ladder, 2 * self.settings.flux_walkers, *options)
        except NoEquilibriumError as error:
            self.failure = str(error)
            found = None
        self.progress.stage("flux and exit pool")
        return found


def _state_of(start: WeightedStart, problem: RareEventSystem) -> FluxState:
    """Flux walkers at annealed positions."""
    state = FluxState.at(start.frames)
    cluster = np.unique(start.family, return_inverse=True)[1].astype(np.int64)
    in_a = problem.states.classify(start.frames.positions) == IN_A
    return replace(state, in_a=in_a, weight=start.weights, cluster=cluster)
