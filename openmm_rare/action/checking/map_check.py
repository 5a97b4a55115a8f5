"""A learned map beside Verlet and beside a predictor without structure: what each does to energy, modes and phase space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import openmm

from ...errors import DynamicsError, InputError
from ...io.tasks import Progress, Silent
from ...structure.particles import masses_of
from ...units import KB
from ..direct import DirectPredictor
from ..features.pair_features import PairFeatures
from ..midpoint_map import Action, MidpointMap, Step, verlet_steps
from ..phase_space import ContextPotential, PhaseSpace, Potential
from ..refusals import require_suitable
from ..sampling import canonical_starts
from ..thermostat import total_energy
from .energy_course import EnergyCourse, Stepper, course_of
from .kinetics import Kinetics, NormalModes, PairModes
from .structure import contraction, irreversibility, lack_of_symplecticity

__all__ = ["MapCheck", "MapRow", "Method", "check_map", "compared", "methods_of"]

_BACK_AND_FORTH = 10  # steps before momenta are reversed
_FEW = 8  # rows that reversibility and contraction are measured for
_SINGLE = 8  # times the trajectories: single steps from which an acceptance follows
_SIGMAS, _NEGLIGIBLE = 3.0, 0.01  # standard errors, and kT over a whole check
_TOLERANCE = 1e-6  # in units of the root of kT
_STEPS = 500


@dataclass(frozen=True)
class Method:
    """A way to take long steps.

    Attributes
    ----------
    stepper : Stepper
    timestep : float
        ps.
    action : Action or None
    """

    stepper: Stepper
    timestep: float
    action: Action | None = None


@dataclass(frozen=True)
class MapRow:
    """What one method does.

    Attributes
    ----------
    course : EnergyCourse
    acceptance : float
        Mean of min(1, exp(-dH/kT)) of a step from canonical points: what GHMC accepts. Of a map without structure it is a
        number, and no method.
    irreversibility : float
        Median over rows of how far 10 steps and 10 with reversed momenta end from where they began, in roots of kT.
    lack_of_symplecticity : float
    contraction : float
        Largest of canonical points; NaN without an action.
    """

    course: EnergyCourse
    acceptance: float
    irreversibility: float
    lack_of_symplecticity: float
    contraction: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> MapRow:
        """Inverse of :meth:`to_dict`, also of what JSON has made of it."""
        plain = {name: float("nan") if value is None else value for name, value in values.items()}
        course = {name: float("nan") if value is None else value for name, value in plain.pop("course").items()}
        for name in ("temperatures", "stderrs"):
            course[name] = {mode: float("nan") if value is None else value for mode, value in course[name].items()}
        return cls(EnergyCourse(**course), **plain)


@dataclass(frozen=True)
class MapCheck:
    """All methods, from the same canonical points for the same time.

    Attributes
    ----------
    rows : dict of str to MapRow
        "fine", "verlet" at the long step, "direct" if there is a predictor, and "action".
    timestep : float
        The long one, ps.
    duration : float
        ps.
    """

    rows: dict[str, MapRow]
    timestep: float
    duration: float

    @property
    def doubts(self) -> list[str]:
        """Sentences about what is wrong with the action; none where it can be used."""
        found, course = [], self.rows["action"].course
        if course.lost:
            found.append(
                f"{course.lost} of {course.trajectories} trajectories of the action were lost: an unsolved step, or an energy "
                "that ran away. Shorten the time step, or train with more and hotter samples."
            )
        if abs(course.drift) > max(_SIGMAS * course.drift_stderr, _NEGLIGIBLE / self.duration):
            found.append(
                f"The energy of the action drifts by {course.drift:.2g} ± {course.drift_stderr:.1g} kT/ps: use it with "
                "Metropolis only."
            )
        if not course.rms < self.rows["verlet"].course.rms and np.isfinite(self.rows["verlet"].course.rms):
            found.append(
                f"The action keeps the energy no better than Verlet with the same step: off by {course.rms:.2g} kT instead "
                f"of {self.rows['verlet'].course.rms:.2g} kT. Train with more samples."
            )
        fine = self.rows["fine"].course
        for name, value in fine.temperatures.items():
            both = float(np.hypot(fine.stderrs[name], course.stderrs[name]))
            off = course.temperatures[name] - value
            if abs(off) > _SIGMAS * both:
                found.append(f"The kinetic temperature of {name} is off by {off:.2g} of that of fine dynamics.")
        return found


def check_map(
    action: Action,
    context: openmm.Context,
    *,
    stride: int,
    temperature: float,
    direct: DirectPredictor | None = None,
    trajectories: int = 24,
    duration: float | None = None,
    num_dimensions: int = 3,
    tolerance: float = _TOLERANCE,
    max_evaluations: int = 20,
    mode_names: list[str] | None = None,
    seed: int = 1,
    known: Mapping[str, MapRow] | None = None,
    on_row: Callable[[str, MapRow], None] | None = None,
    progress: Progress | None = None,
) -> MapCheck:
    """Run an action, Verlet with its time step, fine Verlet and a direct predictor from the same points.

    Parameters
    ----------
    action : Action
    context : openmm.Context
        Of the System; its positions are where canonical samples begin.
    stride, trajectories, num_dimensions, seed : int
        The first: fine steps in one of the action.
    temperature : float
        K.
    direct : DirectPredictor, optional
    duration : float, optional
        ps; default: 500 steps of the action.
    tolerance, max_evaluations
        As for :class:`~openmm_rare.action.integrator.LearnedActionIntegrator`.
    mode_names : list of str, optional
        Of the types of pairs, for features of pairs.
    known, on_row : optional
        What an earlier call has found, and what is told of each method as soon as it is known.
    progress : Progress, optional

    Raises
    ------
    ValueError
    """
    if trajectories < 2 or stride < 1 or temperature <= 0.0:
        raise InputError(
            f"trajectories = {trajectories} must be at least 2, stride = {stride} at least 1, temperature = {temperature} K "
            "positive"
        )
    space = _space(context, num_dimensions)
    potential, kt, h = ContextPotential(context, space), KB * temperature, action.timestep
    streams, platform = np.random.SeedSequence(seed).spawn(2), context.getPlatform().getName()
    numbers = zip((trajectories, _SINGLE * trajectories), streams, strict=True)
    starts, single = (
        canonical_starts(context.getSystem(), space, temperature, h / stride, n, stream, platform) for n, stream in numbers
    )
    features = getattr(action, "features", None)
    kinetics = PairModes(features, mode_names) if isinstance(features, PairFeatures) else NormalModes(space, potential)
    methods = methods_of(action, potential, stride, direct, tolerance * float(np.sqrt(kt)), max_evaluations)
    return compared(methods, potential, starts, single, duration or _STEPS * h, kt, kinetics, known, on_row, progress)


def _space(context: openmm.Context, num_dimensions: int) -> PhaseSpace:
    require_suitable(context.getSystem())
    places = context.getState(positions=True).getPositions(asNumpy=True)._value
    return PhaseSpace(masses_of(context.getSystem()), places, num_dimensions)


def methods_of(
    action: Action,
    potential: Potential,
    stride: int,
    direct: DirectPredictor | None = None,
    tolerance: float = _TOLERANCE,
    max_evaluations: int = 20,
) -> dict[str, Method]:
    """Fine steps, one Verlet step, a direct predictor if there is one, and the action, each for the time of its step."""
    h = action.timestep
    found = {
        "fine": Method(lambda q, p, pull: verlet_steps(potential, q, p, h / stride, stride, pull), h),
        "verlet": Method(lambda q, p, pull: verlet_steps(potential, q, p, h, 1, pull), h),
    }
    if direct is not None:
        found["direct"] = Method(lambda q, p, pull: _predicted(direct, potential, q, p), h)
    return found | {"action": Method(MidpointMap(action, potential, tolerance, max_evaluations).step, h, action)}


def compared(
    methods: Mapping[str, Method],
    potential: Potential,
    starts: tuple[np.ndarray, np.ndarray],
    single: tuple[np.ndarray, np.ndarray],
    duration: float,
    kt: float,
    kinetics: Kinetics,
    known: Mapping[str, MapRow] | None = None,
    on_row: Callable[[str, MapRow], None] | None = None,
    progress: Progress | None = None,
) -> MapCheck:
    """Every method from the same canonical points, mass-weighted; `single` are more of them, for a single step."""
    rows, progress = dict(known or {}), progress or Silent()
    for name, method in methods.items():
        if name in rows:
            continue
        steps = max(int(round(duration / method.timestep)), 2)
        progress.stage(f"check of {name}", float(steps))
        course = course_of(
            method.stepper,
            potential,
            *starts,
            timestep=method.timestep,
            steps=steps,
            kt=kt,
            kinetics=kinetics,
            progress=progress,
        )
        rows[name] = _row(method, course, potential, starts, single, kt)
        if on_row is not None:
            on_row(name, rows[name])
    timestep = max(method.timestep for method in methods.values())
    return MapCheck({name: rows[name] for name in methods}, timestep, duration)


def _row(
    method: Method,
    course: EnergyCourse,
    potential: Potential,
    starts: tuple[np.ndarray, np.ndarray],
    single: tuple[np.ndarray, np.ndarray],
    kt: float,
) -> MapRow:
    def step(q: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        made = method.stepper(q, p, potential(q))
        if not made.solved.all():
            raise DynamicsError("a step was not solved")
        return made.q, made.p

    q, p = (each[:_FEW] for each in starts)
    w = float(np.sqrt((p**2).mean() / ((q - q.mean(axis=0)) ** 2).mean())) if method.action is None else method.action.frequency
    try:
        back = float(np.median(irreversibility(step, q, p, _BACK_AND_FORTH, w)) / np.sqrt(kt))
        lack = lack_of_symplecticity(step, q[0], p[0], w, 1e-4 * float(np.sqrt(kt)))
    except DynamicsError:
        back = lack = float("nan")
    pull = potential(single[0])
    made = method.stepper(*single, pull)
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = np.exp(-(total_energy(made.p, made.pull) - total_energy(single[1], pull)) / kt)
    accepted = float(np.where(made.solved & np.isfinite(ratio), np.minimum(ratio, 1.0), 0.0).mean())
    radius = float("nan") if method.action is None else float(contraction(method.action, q, p).max())
    return MapRow(course, accepted, back, lack, radius)


def _predicted(direct: DirectPredictor, potential: Potential, q: np.ndarray, p: np.ndarray) -> Step:
    with np.errstate(over="ignore", invalid="ignore"):
        a, b = direct(q, p)
        pull = potential(a)
    fine = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1) & np.isfinite(pull.energy)
    return Step(a, b, pull, fine, np.zeros(len(a)), 0)
