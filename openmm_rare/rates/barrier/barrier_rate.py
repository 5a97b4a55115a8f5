r"""The rate from the barrier: umbrella windows give Z_b/p_A, shots from points near the top the mean of 1_TP / sum b.

"The rate from the barrier" in docs/theory.md derives :math:`k = Z_b/(2 p_A \Delta t)\,\langle 1_{TP}/\sum_i b(x_i)\rangle`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...committor.base import Committor
from ...dynamics.frames import Frames
from ...errors import RunError
from ...io.progress import reached
from ...io.tasks import Progress, Recorder
from ...parallel.executors import Executor
from ...settings.barrier import BarrierSettings
from ...settings.rates import RateSettings
from ...statistics import correlated_mean
from ...walkers.machine import Machine
from ...walkers.phase_slots import PhaseSlots
from ..early.interim import shortfall, unfinished
from ..estimate import RateEstimate
from ..rate_run import RateRun
from .bench import Bench
from .free_energy import require_pymbar
from .ladder import Scouted, climb, descend, scout, stretch
from .points import shoot
from .populations import populations
from .reversible import require_reversible_forces
from .route import find_route
from .shots import Shots
from .summary import Findings, barrier_estimate, plan
from .top import Top, find_top
from .window_sets import SIDES, WindowSets
from .windows import Window

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["BarrierRate"]

_SMALL = 200  # atoms up to which many copies share a Context
_COPIES, _WALKERS, _WALKERS_ALONE = 20, 50, 2
_WIDTH = 0.7  # of the Gaussian b, in widths of the barrier: wider ones give uneven weights, narrower ones are missed by paths
_NARROW, _STIFFEST = 2.0, 1.3  # root mean square steps of a frame: gaps that matter, and how near windows may be to be stable
_MOST_WINDOWS = 100
_STEPS = 1.5  # root mean square steps of a frame, below which paths would jump over b
_GROWTH = 0.5  # of windows or points between two looks at the error
_FEW = 5  # transition paths, below which nothing is said
_FEWEST = 30  # transition paths, below which no error is believed
_GIVE_UP = 300  # points without any transition path
_LONGER = 3  # times the windows that the target takes: how long sets that disagree may go on
_MEMORIES = 2.0  # of the coordinate between two points


class BarrierRate(RateRun):
    """Rate constant from A to B of reversible dynamics, from windows up to the barrier and shots from its top.

    Parameters
    ----------
    problem : RareEventSystem
        Any System; with momenta or overdamped.
    settings : RateSettings, optional
        Its ``max_walker_steps`` ends the run with the error reached so far.
    barrier : BarrierSettings, optional
    seed : int
    machine : Machine or str, optional
        Or the name of an OpenMM platform; default: Reference.
    model : Committor, optional
        For windows along its logit.
    progress : Progress, optional
        Default: on the terminal (standard error); :class:`openmm_rare.Silent` shows nothing.
    target_error : float
        Relative standard error at which to stop.
    recorder : Recorder, optional
        Keeps every finished task; a recorder with earlier ones resumes the run.
    executor : Executor, optional
        Computes windows and batches of points; default: this process, one after another. The result does not depend on it.

    Raises
    ------
    ValueError
        If no coordinate leads from A to B, or nobody can tell which is meant; and whatever
        :func:`~openmm_rare.dynamics.checks.require_runnable` finds in the way.
    ModuleNotFoundError
        Without pymbar.
    """

    _first_task = ""  # there were no earlier versions

    def __init__(
        self,
        problem: RareEventSystem,
        settings: RateSettings | None = None,
        *,
        barrier: BarrierSettings | None = None,
        seed: int = 1,
        machine: Machine | str | None = None,
        model: Committor | None = None,
        progress: Progress | None = None,
        target_error: float = 0.1,
        recorder: Recorder | None = None,
        executor: Executor | None = None,
    ) -> None:
        require_pymbar()
        options = {"executor": executor, "progress": progress, "target_error": target_error, "recorder": recorder}
        super().__init__(problem, settings, seed=seed, machine=machine, **options)
        self.barrier = BarrierSettings() if barrier is None else barrier
        self._route = find_route(problem, self.barrier.along, model)
        self.notes = (*self.notes, *filter(None, [self._route.note]))
        self._bench = Bench(problem, self.machine.one_thread, self._route.coordinate)
        self._small = len(problem.positions) <= _SMALL and PhaseSlots.can_copy(problem) and self._repeats()

    def _repeats(self) -> bool:
        """Whether the coordinate can hold several copies in one Context."""
        try:
            self._route.coordinate.hold(len(self.problem.positions), 2)
        except ValueError:
            return False
        return True

    @property
    def backend(self) -> str:
        """As :attr:`RateRun.backend`; walkers are held in windows and watched by forces that the plugin does not know."""
        return "custom_integrator"

    def _estimate(self) -> RateEstimate:
        """Windows to the barrier, then both windows and shots until the target error is reached."""
        require_reversible_forces(self.problem, self.machine)
        sets, relax = self._windows()
        top = self._top(sets)
        shots, wait = self._walkers(sets, top, relax)
        return self._until_precise(sets, top, shots, wait)

    def _batch(self, part: str, kind: str, function: Callable[..., Mapping[str, Any]], tasks: Sequence[tuple]) -> list[Mapping]:
        records = self._task.batch(kind, self.executor.map, function, tasks)
        self.walker_steps[part] += sum(int(record["walker_steps"]) for record in records)
        return records

    def _alone(self, kind: str, function: Callable[..., Mapping[str, Any]], *task: Any) -> Mapping[str, Any]:
        return self._run_task("flux", kind, partial(function, *task))

    def _windows(self) -> tuple[WindowSets, int]:
        """Both sets of windows, doubled until none is missing, after their first round; and how long they take to relax."""
        settings, route = self.barrier, self._route
        copies = (settings.copies or _COPIES) if self._small else 1
        self.progress.stage("windows")
        free = self._alone("barrier_scout", scout, self._bench, copies, 2 * settings.equilibration)
        scouted = Scouted(float(free["start"]), float(free["step"]))
        spacing = route.length(scouted.start) / (settings.windows - 1)
        while True:
            relax = max(settings.equilibration, scouted.frames_to_relax(spacing))
            sets, spacing = self._there_and_back(free, spacing, relax)
            cut = sets.cut(_NARROW * scouted.step)
            if cut is None:
                return sets, relax
            spacing *= 0.5
            if spacing < _STIFFEST * scouted.step or spacing < route.length(scouted.start) / _MOST_WINDOWS:
                raise RunError(
                    f"nothing connects windows at {route.text(cut[0])} with those at {route.text(cut[1])}, however many there "
                    "are: the coordinate jumps there, or the barrier is narrower than a frame; choose another coordinate"
                )

    def _there_and_back(self, free: Mapping[str, Any], spacing: float, relax: int) -> tuple[WindowSets, float]:
        """Windows with walkers from A and from B, and their distance."""
        settings, bench, route = self.barrier, self._bench, self._route
        up = self._alone("barrier_climb", climb, bench, route, spacing, free, relax, settings.reverse)
        places, spacing = np.asarray(up["places"]).tolist(), float(up["spacing"])
        windows = [
            route.window(place, spacing, first=number == 0, last=settings.reverse and number == len(places) - 1)
            for number, place in enumerate(places)
        ]
        ends = [Frames.from_arrays(up, f"window_{number}") for number in range(len(places))]
        down = self._alone("barrier_descend", descend, bench, windows, ends[-1], relax)
        back = [Frames.from_arrays(down, f"window_{number}") for number in range(len(places))]
        sets = WindowSets(bench, route, windows, [ends, back], partial(self._batch, "flux"))
        sets.extend(max(settings.window_frames, 2 * relax))
        return sets, spacing

    def _top(self, sets: WindowSets) -> Top:
        """The barrier as the first windows saw it, once for all: a run that is continued keeps its b."""

        def compute(seed: np.random.SeedSequence) -> Mapping[str, Any]:
            found = sets.free_energy()
            rows = np.ones(len(found.sample), dtype=bool)
            weights = found.log_weights(rows, found.solve(rows))
            top = find_top(found.sample.s, found.sample.status, weights, self._route.sign)
            steps = np.concatenate([np.diff(sets.series(side, self._near(sets, top))[0]).ravel() for side in range(len(SIDES))])
            least = _STEPS * float(np.sqrt(np.mean(steps**2)))
            width = self.barrier.width or max(_WIDTH * top.width, least)
            return {"place": top.place, "width": top.width, "bias_width": width, "walker_steps": 0}

        record = self._run_task("flux", "barrier_top", compute)
        self._bias = Window.gaussian(float(record["place"]), float(record["bias_width"]), self.problem.kt)
        return Top(float(record["place"]), float(record["width"]), self._route.sign)

    @staticmethod
    def _near(sets: WindowSets, top: Top) -> int:
        return min(sets.ordered, key=lambda number: abs(sets.windows[number].place - top.place))

    def _walkers(self, sets: WindowSets, top: Top, relax: int) -> tuple[_ShotsOfSets, int]:
        """Walkers near the top, after a while there, and the frames between two points of each."""
        self.progress.stage("shots")
        each = self.barrier.walkers or (_WALKERS if self._small else _WALKERS_ALONE)
        starts, side = [], []
        for number in range(len(SIDES)):
            there = sets.nearest(top.place, number)
            several = there[np.arange(each) % len(there)]
            starts += [several] if self._small else [several[walker] for walker in range(each)]
            side += [number] * (1 if self._small else each)
        tasks = [(self._bench, self._bias, frames, 3 * relax) for frames in starts]
        records = self._batch("production", "barrier_walkers", stretch, tasks)
        self._number_of_top = sets.add_top(self._bias)
        for which, record in zip(side, records, strict=True):
            sets.add(which, self._number_of_top, record)
        series = [row for record in records for row in np.asarray(record["s"])[:, relax:]]
        _, error = correlated_mean(series)
        memory = sum(map(len, series)) * error**2 / np.var(np.concatenate(series))
        wait = self.barrier.wait or int(np.ceil(max(_MEMORIES * memory, 2.0)))
        return _ShotsOfSets(Shots([Frames.from_arrays(record) for record in records]), side), wait

    def _shoot(self, sets: WindowSets, shots: _ShotsOfSets, wait: int) -> None:
        """Another batch of points of every walker."""
        settings = self.barrier
        tasks = [
            (self._bench, self._bias, frames, settings.points_per_task, wait, settings.max_frames)
            for frames in shots.shots.walkers
        ]
        for task, record in enumerate(self._batch("production", "barrier_points", shoot, tasks)):
            shots.shots.add(task, record)
            sets.add(shots.side[task], self._number_of_top, record)

    def _until_precise(self, sets: WindowSets, top: Top, shots: _ShotsOfSets, wait: int) -> RateEstimate:
        """Spend steps where they lower the variance most, until the error is that wanted and the sets agree."""
        limit, planned, batches, windows_next = np.inf, False, 0, False
        while True:
            if windows_next:
                sets.extend(max(1, round(_GROWTH * sets.n_frames)), None if self.barrier.reverse else top.place)
            else:
                for _ in range(max(1, round(_GROWTH * batches))):
                    self._shoot(sets, shots, wait)
                    batches += 1
            found = self._look(sets, top, shots.shots)
            total, n_paths, spent = float(np.hypot(*found.errors)), int(shots.shots.transition.sum()), self.walker_steps["flux"]
            self.progress.update(transition_paths=n_paths, **reached(total, self.target_error))
            if not n_paths and len(shots.shots.values) >= _GIVE_UP:
                raise RunError(found.no_path())
            enough = n_paths >= _FEWEST
            if enough and np.hypot(found.populations.block_error, found.errors[1]) <= self.target_error:
                limit = min(limit, _LONGER * spent)  # of sets that do not agree, although each is sure
            if enough and (total <= self.target_error or spent >= limit) or self._spent_all(n_paths):
                return barrier_estimate(self._facts(), found, self.barrier)
            if n_paths >= _FEW:
                estimate = partial(barrier_estimate, self._facts(), found, self.barrier)
                self._tell("barrier_points", partial(unfinished, estimate, shortfall(total, self.target_error)))
            if enough and not planned:
                planned = True
                self.progress.note(plan(found, self.target_error, self.walker_steps))
            windows_next = enough and self._gain(found, "flux") > self._gain(found, "production")

    def _spent_all(self, n_paths: int) -> bool:
        """Whether the limit of walker-steps is passed.

        Raises
        ------
        RunError
            If it is passed before there is an estimate.
        """
        over = sum(self.walker_steps.values()) > self.settings.max_walker_steps
        if over and n_paths < _FEW:
            raise RunError(
                f"the limit of {self.settings.max_walker_steps:.3g} walker-steps was passed with {n_paths} transition paths: "
                "raise max_walker_steps and resume"
            )
        return over

    def _gain(self, found: Findings, part: str) -> float:
        """Variance that a step more of windows ("flux") or of shots ("production") saves."""
        return found.errors[part == "production"] ** 2 / self.walker_steps[part]

    def _look(self, sets: WindowSets, top: Top, shots: Shots) -> Findings:
        """What is known now."""
        learned = top.learned(shots.column("at"), shots.reached_b)
        pops = populations(sets.free_energy(), sets.ordered, learned, self._bias, self.problem.kt)
        return Findings(self.problem, self._route, sets, self._bias, learned, pops.shifted(sets.shift(top.place)), shots)


@dataclass(frozen=True)
class _ShotsOfSets:
    """Shots, and from which set of windows the walkers of each task came."""

    shots: Shots
    side: list[int]
