"""A short stretch of a problem's own dynamics: what the time step does to energies, and how fast the states' variables move."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import openmm

from ...dynamics.copies.replication import fits_in_slots
from ...dynamics.unbiased import unbiased_integrator
from ...errors import DynamicsError
from ...flux.flux import FluxState, run_flux
from ...settings.rates import RateSettings
from ...structure.openmm_errors import our_error
from ...structure.particles import masses_of
from ...units import KB
from ...walkers.machine import Machine

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["Energies", "TrialDynamics", "one_two_five", "walker_steps_per_second"]

_SECONDS = 2.0  # of each part
_WARM_UP, _VERLET, _FRAMES = 100, 60, 600
_LONGEST = 50_000  # steps
_FIRST, _GROWTH = 60, 4  # steps of a first measurement of speed, and how much longer the next one is


@dataclass(frozen=True)
class Energies:
    """Of a configuration, and what a few dozen steps do to them.

    Attributes
    ----------
    potential : float
        kJ/mol.
    largest_force : float
        kJ/mol/nm.
    """

    potential: float
    largest_force: float


class TrialDynamics:
    """One walker, from the initial structure, in a Context of its own.

    Parameters
    ----------
    problem : RareEventSystem
    machine : Machine
    """

    def __init__(self, problem: RareEventSystem, machine: Machine) -> None:
        self.problem, self._machine = problem, machine.one_thread
        self._integrator = unbiased_integrator(problem)
        self._integrator.setRandomNumberSeed(1)
        self._context = self._machine.context(problem.system, self._integrator, problem.name)
        self._begin()

    def _begin(self) -> None:
        """At the initial structure, with velocities of the temperature that the constraints allow."""
        problem = self.problem
        self._context.setPositions(problem.positions)
        self._context.computeVirtualSites()
        if problem.inertial:
            self._context.setVelocitiesToTemperature(problem.temperature, 1)
            axes = np.arange(3) < problem.num_dimensions
            velocities = self._context.getState(velocities=True).getVelocities(asNumpy=True)._value
            self._context.setVelocities(velocities * axes)

    def energies(self) -> Energies:
        """Of the initial structure."""
        state = self._context.getState(energy=True, forces=True)
        forces = np.linalg.norm(state.getForces(asNumpy=True)._value, axis=1)
        moving = masses_of(self.problem.system) > 0.0
        return Energies(state.getPotentialEnergy()._value, float(forces[moving].max(initial=0.0)))

    @property
    def degrees_of_freedom(self) -> int:
        """That move, without what constraints hold."""
        moving = int((masses_of(self.problem.system) > 0.0).sum())
        return max(1, self.problem.num_dimensions * moving - self.problem.system.getNumConstraints())

    def warm_up(self) -> float:
        """Steps of the dynamics, and the rise of the potential energy in kT per degree of freedom.

        Raises
        ------
        FloatingPointError
            If it breaks down.
        """
        before = self._potential()
        self._step(_WARM_UP)
        return (self._potential() - before) / (self.problem.kt * self.degrees_of_freedom)

    def energy_error(self) -> tuple[float, float]:
        """What some dozen steps without friction and noise do, from where dynamics stands: velocity Verlet in the same code.

        Returns
        -------
        error : float
            Standard deviation of the total energy, in kT times the square root of the degrees of freedom.
        temperature : float
            Of the velocities, on average, K.

        Raises
        ------
        FloatingPointError
            If dynamics breaks down.
        """
        friction, n = self._integrator.getGlobalVariableByName("friction"), self.degrees_of_freedom
        self._integrator.setGlobalVariableByName("friction", 0.0)
        total, kinetic = [], []
        for _ in range(_VERLET):
            self._step(1)
            state = self._context.getState(energy=True)
            kinetic.append(state.getKineticEnergy()._value)
            total.append(kinetic[-1] + state.getPotentialEnergy()._value)
        self._integrator.setGlobalVariableByName("friction", friction)
        return float(np.std(total)) / (self.problem.kt * np.sqrt(n)), float(np.mean(kinetic)) * 2.0 / (n * KB)

    def stretches(self) -> list[tuple[int, np.ndarray]]:
        """Variables of the states along a short stretch, step by step, and a longer one.

        Returns
        -------
        list of (int, ndarray)
            Steps between two frames, and values, shape (n_frames, n_variables).

        Raises
        ------
        FloatingPointError
            If dynamics breaks down.
        """
        began = time.perf_counter()
        fine = self._values(_FIRST, 1)
        per_step = (time.perf_counter() - began) / _FIRST
        n_steps = int(np.clip(_SECONDS / per_step, 5 * _FIRST, _LONGEST))
        stride = max(each for each in one_two_five(_LONGEST) if each <= max(1, n_steps // _FRAMES))
        return [(1, fine), (stride, self._values(n_steps // stride, stride))]

    def _values(self, n_frames: int, stride: int) -> np.ndarray:
        positions = []
        for _ in range(n_frames):
            self._step(stride)
            positions.append(self._positions())
        return self.problem.states.variables(np.array(positions))

    def _positions(self) -> np.ndarray:
        return self._context.getState(positions=True).getPositions(asNumpy=True)._value

    def _potential(self) -> float:
        return self._context.getState(energy=True).getPotentialEnergy()._value

    def _step(self, n: int) -> None:
        try:
            self._integrator.step(n)
        except openmm.OpenMMException as error:
            if "nan" not in str(error).lower():
                raise our_error(error, self.problem.name, self._machine.platform, running=True) from error
            raise DynamicsError(f"positions became NaN within {n} steps") from error
        if not np.isfinite(self._positions()).all():
            raise DynamicsError(f"positions became NaN within {n} steps")


def one_two_five(most: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ..."""
    return [factor * 10**power for power in range(10) for factor in (1, 2, 5) if factor * 10**power <= most]


def walker_steps_per_second(problem: RareEventSystem, machine: Machine) -> tuple[float, int]:
    """Of unbiased dynamics as a rate runs it, the states tested as it does, and of how many walkers at a time.

    Many of a small System move in each Context, on all cores; of a large one one at a time, on one core.
    """
    n = RateSettings().flux_walkers if fits_in_slots(problem) else 1
    state, steps = FluxState.start(problem, n), max(_FIRST, problem.check_interval)
    while True:
        began = time.perf_counter()
        made = run_flux(problem, state, steps, machine, 1, None).walker_steps
        spent = time.perf_counter() - began
        if spent > 0.5 * _SECONDS or steps > 1e8:
            return made / spent, n
        steps = int(steps * np.clip(_SECONDS / max(spent, 1e-3), _GROWTH, 100))
