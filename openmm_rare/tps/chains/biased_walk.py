"""Dynamics that samples equilibrium times a bias b exactly, made of pieces of the unbiased dynamics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import openpathsampling as paths
import torch

from ...committor.base import Committor
from ...dynamics.frames import Frames
from ...dynamics.langevin import moving_axes
from ...dynamics.time_reversal import temperature_of
from ...ops.engine import RareEventEngine
from ...ops.snapshots import trajectory_of
from ...ops.volumes import which_state
from ...structure.particles import masses_of
from ...units import KB
from .barrier_bias import log_bias

__all__ = ["BiasedWalk"]

_CONSTRAINED = 1e-6
_HARDEST = 1.0  # kick, in thermal units of all coordinates together


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a walker is, with ln b there, and how the bias changes velocities in half a move."""

    frame: Frames
    log_b: float
    kick: np.ndarray | None


class BiasedWalk:
    r"""A walker that samples equilibrium times b of a learned logit, and never a state.

    A move is half a kick along :math:`kT \nabla \ln b`, a piece of the unbiased dynamics, and half a kick. It is kept
    with the probability :math:`\min(1, e^{\Delta \ln b - \beta \Delta K})`, where :math:`\Delta K` is what both kicks changed
    the kinetic energy by, and never if it ends in a state. Otherwise the walker stays where it was, with its velocities turned
    round. The piece leaves equilibrium as it is and may be run backward, so that the moves leave b times equilibrium as it is,
    whatever the kicks and however long the piece. Overdamped dynamics has no kicks.

    Parameters
    ----------
    engine : RareEventEngine
    states : list of openpathsampling.Volume
    model : CommittorModel or CommittorEnsemble
    reach : float
        Of the bias; see :func:`~openmm_rare.tps.chains.barrier_bias.log_bias`.
    stride : int
        Frames of a move.
    rng : numpy.random.Generator
        Decides what is kept.
    """

    def __init__(
        self,
        engine: RareEventEngine,
        states: list[paths.Volume],
        model: Committor,
        reach: float,
        stride: int,
        rng: np.random.Generator,
    ) -> None:
        self._engine, self._model, self._reach, self._stride, self._rng = engine, model, reach, stride, rng
        self._in_state: Callable[[Frames], bool] = lambda frame: bool(which_state(states, frame, engine)[0] >= 0)
        if engine.overdamped:
            return
        self._masses = masses_of(engine.system)[:, None]
        self._kt = KB * temperature_of(engine.integrator, None)
        time = 0.5 * stride * engine.snapshot_timestep._value
        with np.errstate(divide="ignore"):
            self._push = np.where(self._masses > 0.0, time * self._kt / self._masses, 0.0) * moving_axes(engine.integrator)

    def go(self, frame: Frames, n_moves: int) -> tuple[Frames, int]:
        """The frame after so many moves, and how many of them were kept."""
        engine, place, kept = self._engine, self._place(frame), 0
        engine.current_snapshot = start = trajectory_of(frame, engine)[0]
        for _ in range(n_moves):
            before = place.frame.velocities
            kicked = self._kicked(before, place.kick)
            made = engine.block(self._stride, start, [place.frame])[-1:]
            new = None if self._in_state(made) else self._place(made)
            if new is not None:
                after = self._kicked(made.velocities, new.kick)
                log_odds = new.log_b - place.log_b - self._gained(before, kicked) - self._gained(made.velocities, after)
            if new is not None and np.log(self._rng.random()) < log_odds:
                place, kept = _Place(Frames(made.positions, after, made.boxes), new.log_b, new.kick), kept + 1
            else:
                place = _Place(_turned(place.frame), place.log_b, place.kick)
                engine.current_snapshot = trajectory_of(place.frame, engine)[0]
        return place.frame, kept

    def _place(self, frame: Frames) -> _Place:
        if self._engine.overdamped:
            return _Place(frame, float(log_bias(self._model.logit(frame.positions), self._reach)[0]), None)
        x = torch.tensor(frame.positions, dtype=torch.float32, requires_grad=True)
        logit = self._model.logit(x)
        (gradient,) = torch.autograd.grad(logit.sum(), x)
        q = logit.detach().numpy().astype(np.float64)
        # as if nothing ended at the reach: a kick by that wall would be too hard for a whole move
        kick = self._push * -np.tanh(0.5 * q[0]) * gradient[0].numpy().astype(np.float64)
        kick /= max(1.0, np.sqrt((self._masses * kick**2).sum() / self._kt) / _HARDEST)
        return _Place(frame, float(log_bias(q, self._reach)[0]), kick)

    def _kicked(self, velocities: np.ndarray | None, kick: np.ndarray | None) -> np.ndarray | None:
        """Velocities after half a kick, which the Context has from then on."""
        if kick is None or velocities is None:
            return None
        context = self._engine.simulation.context
        context.setVelocities(velocities[0] + kick)
        if not self._engine.system.getNumConstraints():
            return velocities + kick
        context.applyVelocityConstraints(_CONSTRAINED)
        return context.getState(velocities=True).getVelocities(asNumpy=True)._value[None]

    def _gained(self, before: np.ndarray | None, after: np.ndarray | None) -> float:
        """Kinetic energy gained, kT."""
        if before is None or after is None:
            return 0.0
        return float((self._masses * (after**2 - before**2)).sum()) / (2.0 * self._kt)


def _turned(frame: Frames) -> Frames:
    """The same frame with its velocities turned round."""
    return Frames(frame.positions, None if frame.velocities is None else -frame.velocities, frame.boxes)
