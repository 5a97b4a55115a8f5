"""Langevin dynamics in latent coordinates, which samples their free energy exactly, at any time step.

Friction and time are inventions of the model: what comes out are distributions, never rates or times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..io.tasks import Progress
from ..settings.latent import PROPAGATORS
from .propagators import FreeEnergy, GeneralizedLeapfrog, LatentState, Propagator, VerletStep

__all__ = ["LatentLangevin", "LatentReport", "suitable_timestep"]

_SHARE_OF_PERIOD = 0.4  # time step times the fastest frequency
_RETURNED_Q, _RETURNED_P = 1e-6, 1e-5  # relative: how near the way back must end
_REASONS = ("energy", "unconverged", "irreversible", "outside")


@dataclass(frozen=True)
class LatentReport:
    """What became of the proposed steps.

    Attributes
    ----------
    acceptance : float
    rejected : dict of str to float
        Share of steps that were rejected because of the "energy", as "unconverged", "irreversible", or "outside" of where the
        free energy is known; the first that applies of the last three, before the energy.
    mean_energy_error : float
        Mean of the change of the Hamiltonian in a step, in magnitude and kT; infinite if no step could be made.
    n_steps, n_walkers : int
    """

    acceptance: float
    rejected: dict[str, float]
    mean_energy_error: float
    n_steps: int
    n_walkers: int


class LatentLangevin:
    r"""Half a step of friction and noise, a reversible step that is accepted or turned round, and half of friction again.

    Parameters
    ----------
    model : FreeEnergy
        V, A and their metric; :class:`~openmm_rare.latent.potential.LatentPotential`.
    start : Tensor, shape (n, n_coordinates)
        Frames to take the constant mass matrix from, which is the inverse of their mean G.
    propagator : "constant" or "exact"
        The constant matrix with A and Verlet's step, or the metric with V and the generalized leapfrog. Both are exact for Q;
        the second also for velocities, where coordinates are admissible.
    timestep : float, optional
        ps; default: :func:`suitable_timestep`.
    friction : float
        1/ps.
    temperature_k : float, optional
        To be sure that it is that of the model.
    metropolis : bool
        False leaves the error of the time step in, for tests.
    seed : int

    Raises
    ------
    ValueError
        For another temperature than that of the model, or numbers out of range.
    """

    def __init__(
        self,
        model: FreeEnergy,
        start: Tensor,
        propagator: str = "constant",
        timestep: float | None = None,
        friction: float = 5.0,
        temperature_k: float | None = None,
        metropolis: bool = True,
        seed: int = 1,
    ) -> None:
        if temperature_k is not None:
            model.require_temperature(temperature_k)
        if propagator not in PROPAGATORS:
            raise InputError(f"propagator = {propagator!r} must be one of {', '.join(PROPAGATORS)}")
        self.timestep = suitable_timestep(model, start) if timestep is None else float(timestep)
        if not (0.0 < self.timestep < math.inf and 0.0 < friction < math.inf):
            raise InputError(f"time step {self.timestep:g} ps and friction {friction}/ps of latent dynamics must be positive")
        self.model, self.metropolis = model, metropolis
        self.propagator: Propagator
        if propagator == "constant":
            with torch.no_grad():
                mean = model.metric.inverse_mass(start).mean(0)
            self.propagator = VerletStep(model, self.timestep, mean)
        else:
            self.propagator = GeneralizedLeapfrog(model, self.timestep)
        self._kept = math.exp(-0.5 * friction * self.timestep)
        self._generator = torch.Generator().manual_seed(seed)

    def run(self, start: Tensor, n_steps: int, every: int = 1, progress: Progress | None = None) -> tuple[Tensor, LatentReport]:
        """Move walkers.

        Parameters
        ----------
        start : Tensor, shape (n_walkers, n_coordinates)
            Inside of where the free energy is known.
        n_steps : int
        every : int
            Steps between frames that are returned.
        progress : Progress, optional

        Returns
        -------
        frames : Tensor, shape (n_steps // every, n_walkers, n_coordinates)
        report : LatentReport
        """
        if not self.model.inside(start).all():
            raise InputError("latent dynamics starts outside of where the free energy is known: take frames of its data")
        state = self.propagator.at(start, torch.zeros_like(start))
        state = self._refreshed(state, kept=0.0)
        counts, accepted, error, n_moved = dict.fromkeys(_REASONS, 0), 0, 0.0, 0
        frames = []
        for step in range(n_steps):
            state = self._refreshed(state, self._kept)
            new, fine, change = self._proposed(state, counts)
            error, n_moved = error + change[fine].abs().sum().item(), n_moved + int(fine.sum())
            by_energy = fine
            if self.metropolis:
                draw = torch.rand(len(start), generator=self._generator, dtype=start.dtype)
                by_energy = fine & (draw < torch.exp((-change).clamp(max=0.0)))
                counts["energy"] += int((fine & ~by_energy).sum())
            accepted += int(by_energy.sum())
            state = new.chosen(by_energy, state.with_momenta(-state.p))
            state = self._refreshed(state, self._kept)
            if (step + 1) % every == 0:
                frames.append(state.q)
            if progress is not None:
                progress.update(1.0)
        total = n_steps * len(start)
        rejected = {reason: count / total for reason, count in counts.items()}
        mean_error = error / n_moved if n_moved else math.inf
        return torch.stack(frames), LatentReport(accepted / total, rejected, mean_error, n_steps, len(start))

    def _proposed(self, state: LatentState, counts: dict[str, int]) -> tuple[LatentState, Tensor, Tensor]:
        """Walkers after a step, which of them may be accepted, and the change of the Hamiltonian in kT."""
        new, converged, inside = self.propagator.step(state)
        change = (new.energy + new.kinetic() - state.energy - state.kinetic()) / self.model.kt
        fine = converged & inside & torch.isfinite(change)
        counts["outside"] += int((~inside).sum())
        counts["unconverged"] += int((inside & ~fine).sum())
        if self.metropolis and not self.propagator.is_explicit:
            back, back_converged, back_inside = self.propagator.step(new.with_momenta(-new.p))
            returns = back_converged & back_inside & _near(back.q, state.q, _RETURNED_Q) & _near(-back.p, state.p, _RETURNED_P)
            counts["irreversible"] += int((fine & ~returns).sum())
            fine = fine & returns
        return new, fine, change

    def _refreshed(self, state: LatentState, kept: float) -> LatentState:
        """Friction and noise, which leave the Maxwell distribution at each Q as it is."""
        lower = torch.linalg.cholesky(state.inverse_mass)
        noise = torch.randn(state.p.shape, generator=self._generator, dtype=state.p.dtype)
        thermal = torch.linalg.solve_triangular(lower.mT, noise[..., None], upper=True)[..., 0]
        return state.with_momenta(kept * state.p + math.sqrt((1.0 - kept**2) * self.model.kt) * thermal)


def suitable_timestep(model: FreeEnergy, sample: Tensor) -> float:
    """A time step (ps) that is a fixed part of the fastest period, as the spread of a sample gives it."""
    with torch.no_grad():
        inverse_mass = model.metric.inverse_mass(sample).mean(0)
    covariance = torch.cov(sample.T).reshape(len(inverse_mass), -1)
    lower = torch.linalg.cholesky(inverse_mass)
    squares = model.kt * lower.T @ torch.linalg.inv(covariance) @ lower
    return _SHARE_OF_PERIOD / math.sqrt(torch.linalg.eigvalsh(squares)[-1].item())


def _near(one: Tensor, other: Tensor, tolerance: float) -> Tensor:
    return (one - other).abs().amax(1) < tolerance * (1e-9 + other.abs().amax(1))
