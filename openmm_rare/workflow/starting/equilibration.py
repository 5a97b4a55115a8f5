"""From a structure that was just put together to one that dynamics may start from: minimized, heated, in its mean box."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import openmm
from openmm import app, unit

from ...dynamics.langevin import BAOABLangevinIntegrator
from ...dynamics.platforms import platform_by_name
from ...dynamics.unbiased import CONSTRAINT_TOLERANCE
from ...errors import DynamicsError
from ...io.tasks import Progress
from ...structure.box import periodic_box
from ...structure.molecules import members_of, molecules_of
from ...structure.openmm_errors import naming_system
from ...structure.particles import masses_of, sites_of
from .candidates import Candidates
from .request import Request
from .states_given import StatesGiven, held

__all__ = ["Equilibrated", "equilibrate", "fastest_platform", "minimized"]

_GPUS = ("CUDA", "HIP")
_SMALL = 200
"""Atoms up to which the platform Reference is the fastest without a GPU."""
_ROUNDS, _ITERATIONS, _SETTLED = 10, 100, 0.005
"""Of minimization: how often so many iterations are repeated, unless the energy falls by less than this part of it."""
_BETWEEN_LOOKS = 0.5
"""ps between two looks at the box, or at the variables; fewer where the time is short."""
_LOOKS = 20
_SECONDS = 0.5
"""Between two answers to Ctrl-C."""
_EVERY = 25
"""Steps between two changes of the box."""
_DALTON_PER_NM3 = 1.66053907e-3


@dataclass(frozen=True, eq=False)
class Equilibrated:
    """What is left of equilibration.

    Attributes
    ----------
    positions : ndarray, shape (n_atoms, 3), nm
        Of the last frame that lies in A, where A is known and there was one.
    box : ndarray, shape (3, 3), nm, or None
    seen : ndarray, shape (n_frames, n_variables)
        Values of the variables at constant volume, in nm and radians.
    in_a : bool or None
        Whether the positions lie in A; None where A is not known.
    drift : float
        Part of the volume by which it still changed while the mean box was taken.
    """

    positions: np.ndarray
    box: np.ndarray | None
    seen: np.ndarray
    in_a: bool | None
    drift: float = 0.0


def fastest_platform(n_atoms: int) -> str:
    """A platform on a GPU that works here, else the one that is fastest for so many atoms without."""
    for name in _GPUS:
        try:
            trial = openmm.System()
            trial.addParticle(1.0)
            openmm.Context(trial, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(name))
        except openmm.OpenMMException:
            continue
        return name
    return "Reference" if n_atoms <= _SMALL else "CPU"


def minimized(
    system: openmm.System, positions: np.ndarray, platform: str, name: str, progress: Progress, rounds: int = _ROUNDS
) -> np.ndarray:
    """Positions at lower energy, nm, after at most so many rounds of 100 iterations.

    Raises
    ------
    FloatingPointError
        If the energy stays beyond all numbers.
    """
    progress.stage("minimization", rounds)
    with naming_system(name, platform, running=True):
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform_by_name(platform))
        context.setPositions(positions)
        context.computeVirtualSites()
        before = np.inf
        for _ in range(rounds):
            openmm.LocalEnergyMinimizer.minimize(context, 10.0, _ITERATIONS)
            energy = context.getState(energy=True).getPotentialEnergy()._value
            progress.update(energy=f"{energy:.6g} kJ/mol")
            if not np.isfinite(energy):
                raise DynamicsError(
                    f"the energy of {name} is not finite after minimization: look for atoms on top of each other"
                )
            if before - energy < _SETTLED * abs(energy):
                break
            before = energy
        return _positions(context)


def equilibrate(
    system: openmm.System,
    topology: app.Topology,
    positions: np.ndarray,
    request: Request,
    candidates: Candidates,
    states: StatesGiven | None,
    progress: Progress,
) -> Equilibrated:
    """Half of the time at constant pressure, where there is a box, then in the mean box at constant volume.

    The System is given that box.

    Raises
    ------
    RareError
        If OpenMM cannot run it, or positions become NaN.
    """
    periodic, name, drift = system.usesPeriodicBoundaryConditions(), request.structure.stem, 0.0
    n_steps = round(request.equilibrate / request.timestep)
    with naming_system(name, request.platform or "", running=True):
        if periodic and n_steps:
            pressed = held(system, states, candidates)
            positions, drift = _at_pressure(system, pressed, topology, positions, request, n_steps // 2, progress)
            n_steps -= n_steps // 2
            in_its_box = held(system, states, candidates)
            positions = minimized(in_its_box, positions, request.platform, name, progress, rounds=1)
        box = periodic_box(system)
        candidates = candidates.in_box(box)
        seen, best = [candidates.values(positions[None])[0]], None
        if n_steps:
            run = _Run(held(system, states, candidates), positions, request, 2, progress)
            every = _spacing(n_steps, request)
            progress.stage("constant volume", n_steps * request.timestep)
            seen = []
            for _ in range(0, n_steps, every):
                run.advance(every)
                positions = run.positions(wrapped=periodic)
                seen.append(candidates.values(positions[None])[0])
                if states is not None and states.is_in_a(candidates, positions):
                    best = positions
        elif states is not None and states.is_in_a(candidates, positions):
            best = positions
    in_a = None if states is None else best is not None
    return Equilibrated(positions if best is None else best, box, np.array(seen), in_a, drift)


def _spacing(n_steps: int, request: Request) -> int:
    """Steps between two looks."""
    return max(1, min(round(_BETWEEN_LOOKS / request.timestep), n_steps // _LOOKS))


def _at_pressure(
    system: openmm.System,
    pressed: openmm.System,
    topology: app.Topology,
    positions: np.ndarray,
    request: Request,
    n_steps: int,
    progress: Progress,
) -> tuple[np.ndarray, float]:
    """Positions in the mean box of the second half, which the System is given, and how much the volume changed in it.

    What moves is `pressed`, a copy of it with what else acts meanwhile.
    """
    barostat = openmm.MonteCarloBarostat(request.pressure * unit.bar, request.temperature * unit.kelvin, _EVERY)
    barostat.setRandomNumberSeed(request.seed)
    pressed.addForce(barostat)
    run, every, volumes = _Run(pressed, positions, request, 1, progress), _spacing(n_steps, request), []
    mass = float(masses_of(system).sum())
    progress.stage("constant pressure", n_steps * request.timestep)
    for _ in range(0, n_steps, every):
        volumes.append(run.volume())
        run.advance(every, density=f"{mass * _DALTON_PER_NM3 / volumes[-1]:.3f} g/ml")
    volumes.append(run.volume())
    half = np.array(volumes[len(volumes) // 2 :])
    mean, parts = float(half.mean()), np.array_split(half, 2)
    factor = (mean / volumes[-1]) ** (1.0 / 3.0)
    box = run.box() * factor
    system.setDefaultPeriodicBoxVectors(*(box * unit.nanometer))
    topology.setPeriodicBoxVectors(box * unit.nanometer)
    moved = _moved_apart(run.positions(wrapped=True), members_of(molecules_of(system, topology)), factor)
    return moved, abs(parts[1].mean() - parts[0].mean()) / mean


def _moved_apart(positions: np.ndarray, molecules: list[list[int]], factor: float) -> np.ndarray:
    """Molecules moved with the box, none deformed."""
    moved = positions.copy()
    for each in molecules:
        moved[each] += (factor - 1.0) * positions[each].mean(axis=0)
    return moved


class _Run:
    """Dynamics that answers to Ctrl-C, and tells how far it is."""

    def __init__(self, system: openmm.System, positions: np.ndarray, request: Request, stream: int, progress: Progress) -> None:
        self._integrator = BAOABLangevinIntegrator(
            request.temperature, request.friction, request.timestep, virtual_sites=bool(sites_of(system))
        )
        self._integrator.setConstraintTolerance(CONSTRAINT_TOLERANCE)
        seeds = np.random.SeedSequence([request.seed, stream]).generate_state(2) >> 2
        self._integrator.setRandomNumberSeed(int(seeds[0]))
        self.context = openmm.Context(system, self._integrator, platform_by_name(request.platform))
        self.context.setPositions(positions)
        self.context.applyConstraints(CONSTRAINT_TOLERANCE)
        self.context.computeVirtualSites()
        self.context.setVelocitiesToTemperature(request.temperature, int(seeds[1]))
        self._progress, self._timestep, self._chunk = progress, request.timestep, 10

    def advance(self, n_steps: int, **shown: str) -> None:
        """So many steps, in pieces that take about as long as somebody waits."""
        while n_steps > 0:
            piece = min(n_steps, self._chunk)
            begun = time.monotonic()
            self._integrator.step(piece)
            self._progress.update(piece * self._timestep, **shown)
            n_steps -= piece
            taken = max(time.monotonic() - begun, 1e-6)
            self._chunk = int(np.clip(piece * _SECONDS / taken, 1, 1000))

    def positions(self, wrapped: bool) -> np.ndarray:
        """nm, with whole molecules.

        Raises
        ------
        FloatingPointError
            If they are not finite.
        """
        return _positions(self.context, wrapped)

    def box(self) -> np.ndarray:
        """Vectors, shape (3, 3), nm."""
        vectors = self.context.getState().getPeriodicBoxVectors(asNumpy=True)
        return np.array(vectors.value_in_unit(unit.nanometer), dtype=np.float64)

    def volume(self) -> float:
        """nm^3."""
        return abs(float(np.linalg.det(self.box())))


def _positions(context: openmm.Context, wrapped: bool = False) -> np.ndarray:
    state = context.getState(positions=True, enforcePeriodicBox=wrapped)
    found = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    if not np.isfinite(found).all():
        raise DynamicsError(
            "positions became NaN during equilibration: look for atoms on top of each other, or give a smaller --timestep"
        )
    return np.array(found, dtype=np.float64)
