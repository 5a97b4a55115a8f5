"""Motion that nothing ends: axes along which no force acts, and particles that none acts on, in a System without a box."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..structure.obstacles import Findings, Obstacle
from ..structure.particles import masses_of
from .stability import Probe

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["unbound_motion"]

_LENGTHS = (0.0, 0.01, 0.1, 1.0, 10.0, 100.0)
"""nm; how far particles are moved, each on its own, to find the walls of a potential that is flat in between."""

_NAMED = 10


def unbound_motion(problem: RareEventSystem) -> Findings:
    """Axes and particles without any force, on which a walker diffuses away: A has no equilibrium along them.

    The last axes can be left out, which changes no rate: that is asked for. Others are only named.
    """
    if problem.system.usesPeriodicBoundaryConditions():
        return Findings([], [])
    axes, mobile = np.arange(3) < problem.num_dimensions, masses_of(problem.system) > 0.0
    acts = _acts(problem, mobile[:, None] & axes)
    free = np.flatnonzero(mobile & ~acts[:, axes].any(axis=1))
    if len(free) == mobile.sum():  # no force at all, or nothing that moves: there is no direction to name
        return Findings([], [])
    flat = axes & ~acts[mobile].any(axis=0)
    bound = int(np.flatnonzero(~flat & axes).max()) + 1
    if bound < problem.num_dimensions:
        return Findings([_superfluous(problem, bound)], _notes([], free))
    return Findings([], _notes(["xyz"[axis] for axis in np.flatnonzero(flat)], free))


def _acts(problem: RareEventSystem, moves: np.ndarray) -> np.ndarray:
    """Where a force acts at any of some places, or is not finite, of what moves, (n_atoms, 3)."""
    probe, draw = Probe(problem.system, problem.positions, moves), np.random.default_rng(0)
    acts = np.zeros(moves.shape, bool)
    for length in _LENGTHS:
        try:
            forces = probe.forces(length * draw.standard_normal(moves.shape) * moves)
        except Exception:  # a force of the user's that cannot be asked there may act there
            if length == 0.0:
                raise
            return np.ones(moves.shape, bool)
        acts |= ~np.isfinite(forces) | (forces != 0.0)
        if acts[moves].all():
            break
    return acts


def _superfluous(problem: RareEventSystem, bound: int) -> Obstacle:
    lost = " and ".join("xyz"[bound : problem.num_dimensions])
    fact = f"no force acts along {lost}, where walkers diffuse away without end, and num_dimensions = {problem.num_dimensions}"
    return Obstacle(fact, f"set it to {bound} in [system], which leaves the rate as it is, or add a force that keeps them")


def _notes(axes: list[str], particles: np.ndarray) -> list[str]:
    notes = [f"No force acts along {axis}: walkers diffuse away along it without end." for axis in axes]
    if len(particles):
        more = f" and {len(particles) - _NAMED} more" if len(particles) > _NAMED else ""
        named = ", ".join(map(str, particles[:_NAMED]))
        notes.append(f"No force acts on atoms {named}{more}: they diffuse away; give them no mass if they are not needed.")
    return notes
