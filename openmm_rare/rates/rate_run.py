"""What both ways to compute a rate have in common: what they are given and refuse, their tasks, and their cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..dynamics.checks import require_no_obstacle
from ..dynamics.copies.replication import fits_in_slots
from ..errors import InputError
from ..flux.restarts import begins_again
from ..io.pace import Pace
from ..io.progress import reached, shown
from ..io.tasks import Memory, Progress, Recorder, Silent, TaskLog
from ..parallel.executors import Executor, Here
from ..settings.rates import RateSettings
from ..walkers.machine import Machine
from .early.interim import Known, Unaided, in_words
from .estimate import RateEstimate
from .facts import RunFacts
from .keeping.saved_paths import SavedPaths

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["RateRun"]

_FIRST_BATCH = 10  # times as many roots as in the first batch of production are in the later ones
_FEWEST_ROOTS = 50  # in it
_SHARE = 0.05  # of the time, for estimates while the run goes on


class RateRun(ABC):
    """A rate calculation; for parameters see the classes that are made of it.

    Attributes
    ----------
    problem : RareEventSystem
    settings : RateSettings
    machine : Machine
    executor : Executor
        Where tasks are computed, for Systems of which only one walker fits into a Context.
    notes : tuple of str
        What should be known about the dynamics.
    walker_steps : dict
        Spent so far, by part of the cost: training, flux, pilot, production.
    saved_paths : SavedPaths or None
        After the run, if paths were to be saved.
    arrivals : ndarray, shape (n, n_atoms, 3), or None
        After the run, if the way back was asked for: places in B that paths came to, nm.
    watch : callable
        Is told what is known, now and then, while the run goes on; it may be replaced.
    """

    _first_task: str
    """Kind of the first task of flux walkers."""
    _counted_as: str = ""
    """The method of the estimate, if walkers that nothing pushes give the first one."""
    _unpushed: Mapping[str, int] = {}
    """Kinds of the tasks of these walkers, and how many of each are left out, for walkers to leave where they began."""

    def __init__(
        self,
        problem: RareEventSystem,
        settings: RateSettings | None = None,
        *,
        seed: int = 1,
        machine: Machine | str | None = None,
        executor: Executor | None = None,
        progress: Progress | None = None,
        target_error: float = 0.1,
        recorder: Recorder | None = None,
    ) -> None:
        if not 0.0 < target_error < 1.0:
            raise InputError(f"target_error is a relative standard error between 0 and 1, not {target_error!r}")
        settings = RateSettings() if settings is None else settings
        if not isinstance(settings, RateSettings):
            raise InputError(f"settings = {settings!r} must be RateSettings; target_error and the others are given by name")
        self.machine = Machine.choose(machine, settings.backend)
        found = require_no_obstacle(problem, "rate")
        self.notes, self._doubts = tuple(found.notes), tuple(found.doubts)
        self.problem, self.target_error, self.seed = problem, target_error, seed
        self.settings = replace(settings, backend=self.machine.backend)
        self.executor: Executor = executor or Here()
        self.progress: Progress = progress or Silent()
        self.walker_steps = {"training": 0, "flux": 0, "pilot": 0, "production": 0}
        self.saved_paths: SavedPaths | None = None
        self.arrivals: np.ndarray | None = None
        self._given_progress, self._task = progress, TaskLog(recorder or Memory(), seed)
        self.watch: Callable[[RateEstimate], None] = lambda estimate: None
        self._unaided, self._known, self._pace = Unaided(self._unpushed), None, Pace(_SHARE)

    def run(self) -> RateEstimate:
        """Compute the rate to the wanted error.

        Raises
        ------
        FloatingPointError
            If positions become NaN.
        RuntimeError
            If no walker leaves A, B is never reached, or ``max_walker_steps`` is passed; the message says how far it came.
        """
        self._task.start_clock()
        with shown(self._given_progress) as self.progress:
            for sentence in (*self.notes, *self._doubts):
                self.progress.note(sentence)
            heated = not begins_again(self.problem)
            if heated and self._task.recorded(self._first_task) and not self._task.recorded("dispersal"):
                raise InputError(
                    "this run was begun by an earlier version, which started all walkers from one structure: it cannot be "
                    "continued; start a new one (the report of the old one can still be made)"
                )
            return self._doubted(self._estimate())

    def _doubted(self, estimate: RateEstimate) -> RateEstimate:
        """With what was doubtful before anything moved."""
        reliable = estimate.reliable and not self._doubts
        return replace(estimate, warnings=(*self._doubts, *estimate.warnings), reliable=reliable)

    @abstractmethod
    def _estimate(self) -> RateEstimate:
        """What :meth:`run` does, and gives."""

    def _run_task(self, part: str, kind: str, compute: Callable[[np.random.SeedSequence], Mapping]) -> Mapping:
        """Run or replay a task and add its walker-steps to one part of the cost."""
        record = self._task(kind, compute)
        self.walker_steps[part] += int(record["walker_steps"])
        if kind in self._unpushed and not self.walker_steps["production"]:
            self._tell_counts(kind, record)
        return record

    def _first_batch(self) -> int:
        """Roots of a first, small batch of production; 0 where an earlier version began production without one."""
        later = self.settings.production_roots if self._together else self.settings.tree_roots
        n_roots = 0 if self._task.recorded("production") else min(later, max(later // _FIRST_BATCH, _FEWEST_ROOTS))
        record = self._run_task("pilot", "first_batch", lambda seed: {"roots": n_roots, "walker_steps": 0})
        return int(record["roots"])

    def _show(self, known: Known | None, error: float, ess: float) -> None:
        """Show what production has reached: the rate with a bar that few roots allow, and the error beside that wanted."""
        found = {} if known is None else {"k": known.text()}
        self.progress.update(**found, **reached(error, self.target_error), ess=f"{ess:.0f}")

    def _tell_counts(self, kind: str, record: Mapping) -> None:
        """Tell what unaided walkers at the wanted temperature say, until production has begun."""
        at = record.get("temperature_k", self.problem.temperature)
        if at == self.problem.temperature and self._unaided.add(kind, record, self.problem.timestep):
            self._tell(kind, lambda: self._unaided.estimate(self._facts(), self._counted_as))

    def _tell(self, kind: str, estimate: Callable[[], RateEstimate]) -> None:
        """Tell what is known after a task of this kind, unless an earlier session has come further; not at all times.

        Nothing that is told changes what the run computes.
        """
        known, further = self._known, kind != "production" and self._task.recorded("production")
        news = known is None or (kind == "production" and known.n_roots == 0)
        if self._task.left(kind) > 0 or further or not (news or self._pace.due):
            return
        with self._pace.spending():
            self._known = self._doubted(estimate())
            if news:
                self.progress.note(f"{in_words(self._known)}.")
            self.watch(self._known)

    @property
    def backend(self) -> str:
        """What really moves the walkers: the compiled plugin has neither momenta nor Contexts of one walker."""
        return "custom_integrator" if begins_again(self.problem) else self.machine.backend

    @property
    def _together(self) -> bool:
        """Whether walkers are slots of one Context, and not tasks."""
        return fits_in_slots(self.problem)

    def _equilibration_steps(self, n_walkers: int) -> int:
        """Steps that each walker takes to equilibrate; refused where all that may be taken are fewer."""
        settings = self.settings
        steps = max(1, round(settings.equilibration_ps / self.problem.timestep))
        if n_walkers * steps > settings.max_walker_steps:
            raise InputError(
                f"{settings.max_walker_steps:.3g} steps at most are fewer than the {n_walkers * steps:.3g} that {n_walkers} "
                f"walkers take to equilibrate in A for {settings.equilibration_ps:g} ps: allow more with --max-steps"
            )
        return steps

    def _facts(self) -> RunFacts:
        """What the estimate says about this run, now that it is finished."""
        return RunFacts(
            self.problem,
            self.settings,
            self.machine,
            self.backend,
            self.seed,
            self.target_error,
            self.notes,
            self.walker_steps,
            self._task.wall_seconds(),
        )
