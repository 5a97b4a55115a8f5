r"""One step of the latent dynamics of :math:`\tfrac12 P^T G P + V(Q)`: reversible and volume preserving, to be accepted or not.

With a constant mass matrix the potential is A and the scheme is that of Verlet: explicit, and exact for Q whatever the matrix.
With the metric itself it is the generalized leapfrog, implicit in both halves; walkers that do not converge are told, one by
one, for leaving them where they are biases what is near a wall (arXiv:2303.15918).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .metric import Metric

__all__ = ["FreeEnergy", "GeneralizedLeapfrog", "LatentState", "Propagator", "VerletStep"]


class FreeEnergy(Protocol):
    """What latent dynamics asks of a free energy; :class:`~openmm_rare.latent.potential.LatentPotential` is one."""

    metric: Metric
    kt: float

    def potential(self, coordinates: Tensor) -> Tensor:
        """V, kJ/mol."""

    def free_energy(self, coordinates: Tensor) -> Tensor:
        """A, kJ/mol."""

    def inside(self, coordinates: Tensor) -> Tensor:
        """Where it is known."""

    def require_temperature(self, temperature_k: float) -> None:
        """Refuse another temperature."""


@dataclass(frozen=True, eq=False)
class LatentState:
    """Walkers, with what was evaluated where they are.

    Attributes
    ----------
    q, p : Tensor, shape (n_walkers, n_coordinates)
    energy : Tensor, shape (n_walkers,)
        Potential energy, kJ/mol.
    slope : Tensor, shape (n_walkers, n_coordinates)
    inverse_mass : Tensor, shape (n_walkers, n_coordinates, n_coordinates)
    inverse_mass_slope : Tensor or None
        Derivatives of that; None where it is constant.
    """

    q: Tensor
    p: Tensor
    energy: Tensor
    slope: Tensor
    inverse_mass: Tensor
    inverse_mass_slope: Tensor | None

    def kinetic(self) -> Tensor:
        """Kinetic energy, kJ/mol."""
        return 0.5 * torch.einsum("bi,bij,bj->b", self.p, self.inverse_mass, self.p)

    def with_momenta(self, p: Tensor) -> LatentState:
        """The same place."""
        return LatentState(self.q, p, self.energy, self.slope, self.inverse_mass, self.inverse_mass_slope)

    def chosen(self, mine: Tensor, other: LatentState) -> LatentState:
        """These walkers where `mine` is true, and others elsewhere."""

        def pick(one: Tensor | None, two: Tensor | None) -> Tensor | None:
            return None if one is None or two is None else torch.where(mine.reshape(-1, *[1] * (one.dim() - 1)), one, two)

        names = ("q", "p", "energy", "slope", "inverse_mass", "inverse_mass_slope")
        return LatentState(*(pick(getattr(self, name), getattr(other, name)) for name in names))


class Propagator(ABC):
    """A step of walkers that does not look at what was drawn at random.

    Parameters
    ----------
    model : FreeEnergy
    timestep : float
        ps; only its product with frequencies matters.
    """

    is_explicit: bool

    def __init__(self, model: FreeEnergy, timestep: float) -> None:
        self.model, self.timestep = model, float(timestep)

    @abstractmethod
    def at(self, q: Tensor, p: Tensor) -> LatentState:
        """Walkers at these places."""

    @abstractmethod
    def step(self, state: LatentState) -> tuple[LatentState, Tensor, Tensor]:
        """Walkers after a step; which of them converged, and which are inside; others are where nothing is to be relied on."""

    def _moved(self, state: LatentState, q: Tensor, p: Tensor) -> tuple[LatentState, Tensor]:
        """Walkers at new places; those outside stay for arithmetic to remain finite, and are told."""
        inside = self.model.inside(q) & torch.isfinite(p).all(1)
        return self.at(torch.where(inside[:, None], q, state.q), p), inside


class VerletStep(Propagator):
    """Velocity Verlet with a constant mass matrix: dynamics of A."""

    is_explicit = True

    def __init__(self, model: FreeEnergy, timestep: float, inverse_mass: Tensor) -> None:
        super().__init__(model, timestep)
        self.inverse_mass = inverse_mass

    def at(self, q: Tensor, p: Tensor) -> LatentState:
        """Walkers at these places."""
        return LatentState(q, p, *_value_and_slope(self.model.free_energy, q), self.inverse_mass.expand(len(q), -1, -1), None)

    def step(self, state: LatentState) -> tuple[LatentState, Tensor, Tensor]:
        """Half a kick, a drift, half a kick."""
        half = state.p - 0.5 * self.timestep * state.slope
        moved, inside = self._moved(state, state.q + self.timestep * half @ self.inverse_mass, half)
        return moved.with_momenta(half - 0.5 * self.timestep * moved.slope), torch.ones_like(inside), inside


class GeneralizedLeapfrog(Propagator):
    """The step for masses that depend on Q, by fixed-point iterations in both implicit halves.

    Parameters
    ----------
    model, timestep
        As for :class:`Propagator`.
    iterations : int
        At most, in each half.
    tolerance : float
        Relative change of the last iteration.
    """

    is_explicit = False

    def __init__(self, model: FreeEnergy, timestep: float, iterations: int = 30, tolerance: float = 1e-8) -> None:
        super().__init__(model, timestep)
        self.iterations, self.tolerance = iterations, tolerance

    def at(self, q: Tensor, p: Tensor) -> LatentState:
        """Walkers at these places."""
        metric = self.model.metric
        with torch.no_grad():
            matrices = metric.inverse_mass(q)
        return LatentState(q, p, *_value_and_slope(self.model.potential, q), matrices, metric.gradient(q))

    def step(self, state: LatentState) -> tuple[LatentState, Tensor, Tensor]:
        """Half a kick (implicit), a drift (implicit), half a kick."""
        h = self.timestep

        def kicked(p: Tensor, who: Tensor) -> Tensor:
            return state.p[who] - 0.5 * h * (state.slope[who] + _quadratic(state.inverse_mass_slope[who], p))

        half, kick_converged = self._solve(kicked, state.p)
        speed = torch.einsum("bij,bj->bi", state.inverse_mass, half)

        def drifted(q: Tensor, who: Tensor) -> Tensor:
            with torch.no_grad():
                there = torch.einsum("bij,bj->bi", self.model.metric.inverse_mass(q), half[who])
            return state.q[who] + 0.5 * h * (speed[who] + there)

        q, drift_converged = self._solve(drifted, state.q + h * speed)
        moved, inside = self._moved(state, q, half)
        p = half - 0.5 * h * (moved.slope + _quadratic(moved.inverse_mass_slope, half))
        return moved.with_momenta(p), kick_converged & drift_converged, inside

    def _solve(self, function: Callable[[Tensor, Tensor], Tensor], start: Tensor) -> tuple[Tensor, Tensor]:
        """Fixed point of each walker, which is left alone once it has converged: no walker depends on the others."""
        here, left = start.clone(), torch.arange(len(start))
        for _ in range(self.iterations):
            old = here[left]
            here[left] = new = function(old, left)
            change = (new - old).abs().amax(1) / (1e-12 + new.abs().amax(1))
            left = left[~(change < self.tolerance)]
            if not len(left):
                break
        converged = torch.ones(len(start), dtype=torch.bool)
        converged[left] = False
        return here, converged


def _value_and_slope(function: Callable[[Tensor], Tensor], q: Tensor) -> tuple[Tensor, Tensor]:
    at = q.detach().requires_grad_(True)
    value = function(at)
    return value.detach(), torch.autograd.grad(value.sum(), at)[0]


def _quadratic(slope: Tensor, p: Tensor) -> Tensor:
    """Gradient of the kinetic energy at constant momenta."""
    return 0.5 * torch.einsum("bi,bijl,bj->bl", p, slope, p)
