"""How large a time step can be: the steepest direction at a structure, and where dynamics begins to overshoot in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openmm

from ..errors import InputError
from ..structure.openmm_errors import our_error
from ..structure.particles import masses_of, sites_of

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["Probe", "largest_curvature", "relaxed", "steepest", "step_limit"]

_SMALL = 200
"""Atoms up to which the exact Reference platform is fast."""

_EXACT, _ROUNDED = 1e-6, 2e-4
"""nm; displacements of the finite difference of forces, which platforms other than Reference have in single precision."""

_ITERATIONS, _FIRST_ITERATIONS, _SETTLED = 30, 6, 1e-3
_MINIMIZATION = 200


class Probe:
    """Forces and constraints of a System around one structure."""

    def __init__(self, system: openmm.System, positions: np.ndarray, axes: np.ndarray) -> None:
        self.positions, self._sites = positions, bool(sites_of(system))
        self.context, platform = _context(system)
        self.exact = platform == "Reference"
        masses = masses_of(system)
        self.roots = np.sqrt(np.where(masses > 0, masses, 1.0))[:, None]
        self._moves = (masses > 0)[:, None] * axes

    def forces(self, displacement: np.ndarray | float = 0.0) -> np.ndarray:
        """Forces at a place nearby, (n_atoms, 3) in kJ/mol/nm."""
        self.context.setPositions(self.positions + displacement)
        if self._sites:
            self.context.computeVirtualSites()
        return self.context.getState(forces=True).getForces(asNumpy=True)._value

    def allowed(self, direction: np.ndarray) -> np.ndarray:
        """What of a mass-weighted direction can move, and keeps the constraints."""
        self.context.setPositions(self.positions)
        self.context.setVelocities(direction * self._moves / self.roots)
        self.context.applyVelocityConstraints(1e-8 if self.exact else 1e-6)
        return self.context.getState(velocities=True).getVelocities(asNumpy=True)._value * self.roots * self._moves

    def product(self, direction: np.ndarray) -> np.ndarray:
        """The mass-weighted Hessian times a direction."""
        shift = direction / self.roots
        shift *= (_EXACT if self.exact else _ROUNDED) / np.abs(shift).max()
        length = np.linalg.norm(shift * self.roots)
        return (self.forces(-shift) - self.forces(shift)) / (2.0 * length * self.roots)


def _context(system: openmm.System) -> tuple[openmm.Context, str]:
    """A Context on the platform that is exact, or fast for many atoms; on another if a force knows of no such platform."""
    known = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    first = ("Reference",) if system.getNumParticles() <= _SMALL else ("CPU", "Reference")
    failure = None
    for name in dict.fromkeys((*first, *known)):
        try:
            platform = openmm.Platform.getPlatformByName(name)
            properties = {"Threads": "1"} if name == "CPU" else {}
            return openmm.Context(system, openmm.VerletIntegrator(0.0), platform, properties), name
        except openmm.OpenMMException as error:
            failure = failure or our_error(error, "the System", name, running=False)
    raise failure


def steepest(system: openmm.System, positions: np.ndarray, axes: np.ndarray, name: str) -> float:
    r"""Largest eigenvalue of the mass-weighted Hessian at a structure, from below.

    By power iteration on finite differences of forces, along directions that keep the constraints: the Rayleigh quotient is
    never above the largest eigenvalue.

    Parameters
    ----------
    system : openmm.System
    positions : ndarray, shape (n_atoms, 3), nm
    axes : ndarray of bool, shape (3,)
        Along which particles move.
    name : str
        For the message.

    Returns
    -------
    float
        :math:`\lambda`, in 1/ps^2.

    Raises
    ------
    ValueError
        If the forces there are not finite.
    """
    probe, bad = Probe(system, positions, axes), "minimize its energy, or check the forces"
    if not np.isfinite(probe.forces()).all():
        raise InputError(f"the forces on the initial structure of {name} are not finite: {bad}")
    direction, largest = np.random.default_rng(0).standard_normal(positions.shape), 0.0
    for iteration in range(_ITERATIONS):
        direction = probe.allowed(direction)
        norm = np.linalg.norm(direction)
        if norm == 0.0:  # nothing curves, or nothing moves
            break
        if not np.isfinite(norm):
            raise InputError(f"the forces near the initial structure of {name} grow beyond all numbers: {bad}")
        direction /= norm
        product = probe.product(direction)
        before, largest = largest, max(largest, float((direction * product).sum()))
        settled = iteration >= _FIRST_ITERATIONS and largest - before < _SETTLED * largest
        if settled and len(positions) > _SMALL:
            break
        direction = product
    return largest


def largest_curvature(problem: RareEventSystem) -> float:
    """:func:`steepest` at the initial structure of a problem."""
    return steepest(problem.system, problem.positions, np.arange(3) < problem.num_dimensions, problem.name)


def step_limit(curvature: float, friction: float | None) -> float:
    r"""The time step from which dynamics cannot stay near a minimum of that curvature.

    The drift of overdamped dynamics multiplies a displacement along an eigenvector of the mass-weighted Hessian by
    :math:`1 - \lambda \Delta t / \gamma` per step: beyond :math:`2 \gamma / \lambda` it grows. Velocity Verlet, also with
    friction and noise in the middle of a step, is stable up to :math:`2 / \sqrt\lambda`.

    Parameters
    ----------
    curvature : float
        :math:`\lambda`, in 1/ps^2.
    friction : float or None
        1/ps, of overdamped dynamics; None for dynamics with momenta.

    Returns
    -------
    float
        In ps; infinite where nothing curves.
    """
    if curvature <= 0.0:
        return float("inf")
    return 2.0 / np.sqrt(curvature) if friction is None else 2.0 * friction / curvature


def relaxed(system: openmm.System, positions: np.ndarray) -> np.ndarray:
    """The structure after a short minimization of its energy, nm."""
    context, _ = _context(system)
    context.setPositions(positions)
    context.computeVirtualSites()
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, _MINIMIZATION)
    return context.getState(positions=True).getPositions(asNumpy=True)._value
