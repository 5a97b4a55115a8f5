"""The check of a configuration: one look at everything, and what to do about it, within seconds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...committor.base import Committor
from ...config.run import RunConfig, build_system
from ...descriptors.build import build_descriptor
from ...dynamics.checks import examine
from ...dynamics.stability import largest_curvature, step_limit
from ...errors import InputError, RareError
from ...folders.path_folder import path_settings
from ...io.progress import duration, shows_progress
from ...io.tasks import Progress
from ...io.text import format_count
from ...states.disjoint import gaps, widths
from ...states.region_text import region_text, values_text
from ...states.variable_units import value_text
from ...structure.box import periodic_box
from ...structure.nearest_image import box_in_words
from ...walkers.machine import Machine
from .methods import METHODS, check_methods
from .rows import Checked
from .trial import TrialDynamics, one_two_five, walker_steps_per_second

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["check_config"]

_LARGE_FORCE = 3e4  # kJ/mol/nm: ten times the largest that liquid water has at rest
_ENERGY_ERROR, _WARM = 0.1, 2.0  # kT per root of the degrees of freedom, and kT of each
_OFF = 5.0  # standard deviations of a temperature
_PART = 0.1  # of the gap between A and B, that a frame may go
_MANY, _FEW = 3.0, 30.0  # how much longer and shorter than recommended a frame may be without a word
_LARGE, _PER_NUMBER = 2e9, 4.0  # bytes


@shows_progress
def check_config(
    config: RunConfig,
    source: str,
    methods: Sequence[str] = METHODS,
    model: Committor | None = None,
    n_steps: float = 1e8,
    progress: Progress | None = None,
) -> Checked:
    """Look at states, start, time step, descriptor, frames, cost, and at what each method would refuse.

    A few thousand steps of dynamics run at most; nothing is written.

    Parameters
    ----------
    config : RunConfig
    source : str
        Its name.
    methods : sequence of str
        Some of :data:`~openmm_rare.workflow.checking.methods.METHODS`.
    model : Committor, optional
        As for ``--model``.
    n_steps : float
        What so many steps take is said.
    progress : Progress, optional
        Default: on the terminal (standard error); :class:`openmm_rare.Silent` shows nothing.
    """
    checked = Checked(source)
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise InputError(f"{unknown[0]!r} is no method: choose among {', '.join(METHODS)}")
    progress.stage("states and start")
    try:
        problem = build_system(config)
        machine = Machine(config.sampling.platform, config.sampling.settings.backend)
    except RareError as error:
        checked.add("system, states, start", str(error), "refused")
        return checked
    _system(checked, problem, machine)
    _states(checked, problem)
    _structure(checked, problem)
    progress.stage("a short stretch of dynamics")
    if _dynamics(checked, problem, machine, config):
        _cost(checked, problem, machine, n_steps)
    _descriptor(checked, problem, config)
    progress.stage("what each method would refuse")
    check_methods(checked, methods, config, problem, machine, model)
    return checked


def _system(checked: Checked, problem: RareEventSystem, machine: Machine) -> None:
    box, n_atoms = periodic_box(problem.system), len(problem.positions)
    kind = "with momenta" if problem.inertial else "overdamped"
    room = "no box" if box is None else f"box {box_in_words(box)}"
    checked.add(
        "system",
        f"{n_atoms} {'atom' if n_atoms == 1 else 'atoms'}, {room}; {problem.temperature:g} K, {kind}, "
        f"friction {problem.friction:g} 1/ps, steps of {1e3 * problem.timestep:g} fs; platform {machine.platform}",
    )
    checked.numbers |= {"atoms": n_atoms, "timestep_ps": problem.timestep, "platform": machine.platform}


def _states(checked: Checked, problem: RareEventSystem) -> None:
    """Where the start lies, which is in A and not in B, or there would be no problem; and what is between the states."""
    states, variables = problem.states, problem.states.variables
    values = variables(problem.positions[None])[0]
    checked.add("start", f"lies in A, not in B: {values_text(variables, values)}")
    apart = gaps(variables, states.a, states.b)
    both = f"A is {region_text(states.a, variables)}; B is {region_text(states.b, variables)}"
    if apart is None:
        checked.add("A and B", f"{both}: whether they are apart cannot be seen beforehand; a frame in both ends a run")
    elif apart:
        between = ", ".join(
            f"{value_text(gap, variables.variables[variables.index(name)].unit)} in {name}" for name, gap in apart.items()
        )
        checked.add("A and B", f"{both}: {between} between them")
    else:
        checked.add(
            "A and B",
            f"{both}: they touch, or differ in no variable that limits both; leave a gap for the transition",
            "warning",
        )
    checked.numbers["gaps"] = apart


def _structure(checked: Checked, problem: RareEventSystem) -> None:
    """What the gate of every command says of System and structure, but for what only a method refuses."""
    found = examine(problem, "paths")
    checked.add_all("structure, time step", [str(each) for each in found.obstacles], "refused")
    checked.add_all("structure", problem.repairs, "ok")
    checked.add_all("structure", [note for note in found.notes + found.doubts if note not in problem.repairs], "warning")


def _dynamics(checked: Checked, problem: RareEventSystem, machine: Machine, config: RunConfig) -> bool:
    """Energies, the time step, and how fast variables move; whether dynamics runs at all."""
    try:
        trial = TrialDynamics(problem, machine)
        energies = trial.energies()
        if not np.isfinite([energies.potential, energies.largest_force]).all():
            checked.add(
                "energy", "energy or forces at the start are not finite: minimize its energy, or check forces", "refused"
            )
            return False
        text = f"{energies.potential:.6g} kJ/mol at the start; largest force {energies.largest_force:.3g} kJ/mol/nm"
        hard = energies.largest_force > _LARGE_FORCE
        checked.add("energy", f"{text}{': minimize the energy of the start' if hard else ''}", "warning" if hard else "ok")
        checked.numbers |= {"potential_kj_mol": energies.potential, "largest_force_kj_mol_nm": energies.largest_force}
        rise = trial.warm_up()
        _time_step(checked, problem, trial, rise)
        _frames(checked, problem, trial.stretches(), config)
    except RareError as error:
        checked.add("time step", f"dynamics breaks down: {error}; use a shorter time step, or minimize the energy", "refused")
        return False
    return True


def _time_step(checked: Checked, problem: RareEventSystem, trial: TrialDynamics, rise: float) -> None:
    friction = None if problem.inertial else problem.friction
    limit = step_limit(largest_curvature(problem), friction)
    share = problem.timestep / limit
    text = f"{1e3 * problem.timestep:g} fs, {100 * share:.2g} % of the stability limit at the start"
    checked.numbers |= {"step_limit_ps": limit, "rise_kt_per_degree": rise}
    doubts = []
    if problem.inertial:
        error, temperature = trial.energy_error()
        spread = problem.temperature * np.sqrt(2.0 / trial.degrees_of_freedom)
        text += f"; without friction the total energy scatters by {error:.2g} kT per root of the degrees of freedom"
        text += f"; {temperature:.0f} K"
        checked.numbers |= {"energy_error_kt": error, "temperature_k": temperature}
        if error > _ENERGY_ERROR:
            doubts.append(f"that is more than {_ENERGY_ERROR:g}: halve the time step")
        if abs(temperature - problem.temperature) > _OFF * spread + 0.1 * problem.temperature:
            doubts.append("the temperature is not that of the problem: the start is not relaxed, or the time step too long")
    if rise > _WARM:
        doubts.append(f"the potential energy rose by {rise:.2g} kT per degree of freedom: halve the time step, or minimize")
    checked.add("time step", "; ".join([text, *doubts]), "warning" if doubts else "ok")


def _frames(checked: Checked, problem: RareEventSystem, stretches: Sequence[tuple[int, np.ndarray]], config: RunConfig) -> None:
    """How many steps between two frames of paths, by how fast the variables move beside the sizes of states."""
    settings = path_settings(config).for_system(problem)
    best, enough = recommended_steps(problem, stretches)
    frame = f"{settings.steps_per_frame} steps between frames of paths, {settings.steps_per_frame * problem.timestep:g} ps"
    tested = (
        f"rates test the states every {problem.check_interval} steps" if problem.check_interval > 1 else "rates at every step"
    )
    if best is None:
        checked.add("frames", f"{frame}; {tested}; sizes of states given by functions say nothing of how many are right")
        return
    checked.numbers |= {"steps_per_frame": settings.steps_per_frame, "recommended_steps_per_frame": best if enough else None}
    if not enough:  # bound motion: that between the states may be faster
        advice = f"in A no variable goes a tenth of the way to B within {best} steps, which sets no limit"
        checked.add("frames", f"{frame}; {tested}; {advice}")
        return
    advice, ratio = f"recommended {best}: a tenth of the way between A and B, in A", settings.steps_per_frame / best
    if ratio > _MANY:
        advice += f"; frames so far apart may jump over a state: set steps_per_frame = {best} in [path_sampling]"
    elif ratio < 1.0 / _FEW:
        advice += f"; paths will have very many frames: set steps_per_frame = {best} in [path_sampling]"
    checked.add("frames", f"{frame}; {tested}; {advice}", "ok" if 1.0 / _FEW <= ratio <= _MANY else "warning")


def recommended_steps(problem: RareEventSystem, stretches: Sequence[tuple[int, np.ndarray]]) -> tuple[int | None, bool]:
    """Steps in which no variable moves, as a root mean square, more than a tenth of the gap between A and B, nor half a state.

    Parameters
    ----------
    problem : RareEventSystem
    stretches : sequence of (int, ndarray)
        Steps between two frames, and values, shape (n_frames, n_variables), along unbiased dynamics in A; the finest first.

    Returns
    -------
    steps : int or None
        None where neither gap nor size is known.
    enough : bool
        Whether the stretch was long enough to see more steps move the variables too far.
    """
    states, variables = problem.states, problem.states.variables
    most = {name: _PART * gap for name, gap in (gaps(variables, states.a, states.b) or {}).items()}
    if not most:
        return None, False
    for region in (states.a, states.b):
        for name, width in widths(variables, region).items():
            most[name] = min(most.get(name, np.inf), 0.5 * width)
    best = 1
    for stride, values in stretches:
        for lag in one_two_five(len(values) // 3):
            if lag * stride < best:
                continue
            if any(_moved(problem, values, name, lag) > limit for name, limit in most.items()):
                return best, True
            best = lag * stride
    return best, False


def _moved(problem: RareEventSystem, values: np.ndarray, name: str, lag: int) -> float:
    """Root mean square of how far a variable goes in so many frames."""
    variables = problem.states.variables
    column, period = variables.index(name), variables.variables[variables.index(name)].period
    moved = values[lag:, column] - values[:-lag, column]
    moved = moved if period is None else moved - period * np.round(moved / period)
    return float(np.sqrt(np.mean(moved**2)))


def _cost(checked: Checked, problem: RareEventSystem, machine: Machine, n_steps: float) -> None:
    speed, together = walker_steps_per_second(problem, machine)
    how = "one walker on one core" if together == 1 else f"{together} walkers at a time, on all cores"
    per_day = speed * 86400 * problem.timestep * 1e-3
    checked.add(
        "cost",
        f"{format_count(speed)} steps/s here, {how} ({per_day:.3g} ns a day); {format_count(n_steps)} steps take "
        f"{duration(n_steps / speed)}",
    )
    checked.numbers |= {"steps_per_second": speed, "walkers_at_a_time": together, "hours": n_steps / speed / 3600}


def _descriptor(checked: Checked, problem: RareEventSystem, config: RunConfig) -> None:
    """What the network sees, and what the shots of a run take in memory."""
    try:
        spec = problem.descriptor_spec()
        n_inputs = build_descriptor(spec, len(problem.positions)).n_features
    except RareError as error:
        checked.add("descriptor", str(error), "refused")
        return
    settings = path_settings(config)
    trials = settings.trials * settings.series
    shots = trials * (24 * len(problem.positions) + 2 * _PER_NUMBER * n_inputs * (1 + 2 * settings.passages))
    weights = 5 * _PER_NUMBER * n_inputs * settings.hidden[0] * settings.members
    memory, there = shots + weights, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    checked.numbers |= {"inputs": n_inputs, "memory_bytes": memory}
    chosen = f" {problem.descriptor_note}" if problem.descriptor_note else ""
    inputs = f"{format_count(n_inputs)} {'input' if n_inputs == 1 else 'inputs'}"
    text = f"{spec['kind']}: {inputs}; about {memory / 1e6:.3g} MB for the {trials} trials of tps.{chosen}"
    if memory > min(_LARGE, 0.5 * there):
        checked.add("descriptor", f'{text} Give one of fewer atoms, such as kind = "subset", in [system.descriptor]', "warning")
        return
    checked.add("descriptor", text)
