"""Many walkers: independent copies of a small System in one Context, absorbed when they reach A or B."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import openmm

from .forces import BIAS_GROUP, ImportanceFunction, Observer, bias_force
from .integrators import BiasedOverdampedLangevinIntegrator, OverdampedLangevinIntegrator, check_system, log_weights
from .replication import replicate

if TYPE_CHECKING:
    from .systems.base import RareEventSystem

__all__ = ["Block", "Propagator", "SlotContext", "Walkers", "platform_by_name", "require_finite"]


_FEW = 64  # walkers


def platform_by_name(name: str) -> openmm.Platform:
    """The OpenMM platform of that name.

    Raises
    ------
    ValueError
        If it is unknown or not available on this machine; the message lists those that are.
    """
    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    if name not in names:
        raise ValueError(f"platform {name!r} is not available here; this machine has {', '.join(names)}")
    return openmm.Platform.getPlatformByName(name)


def require_finite(positions: np.ndarray, target: RareEventSystem) -> None:
    """Raise FloatingPointError if a position is not finite."""
    if not np.isfinite(positions).all():
        raise FloatingPointError(
            f"positions became NaN in {target.name} at a time step of {target.timestep:g} ps: "
            "use a smaller time step, or check the forces at the initial structure"
        )


@dataclass(frozen=True)
class Walkers:
    """A population of walkers, one row each.

    Attributes
    ----------
    positions : ndarray, shape (n, n_atoms, 3), nm
    log_weights : ndarray, shape (n,)
        ln of the path weight, unbiased over biased, with branching.
    clocks : ndarray of int64, shape (n,)
        Steps since the root.
    labels : ndarray of int64, shape (n,)
        Channel labels.
    roots : ndarray of int64, shape (n,)
        Which root each walker descends from.
    """

    positions: np.ndarray
    log_weights: np.ndarray
    clocks: np.ndarray
    labels: np.ndarray
    roots: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    @classmethod
    def start(cls, positions: np.ndarray, roots: np.ndarray, log_weights: np.ndarray | None = None) -> Walkers:
        """New walkers at the positions of their roots, with weight 1 unless given."""
        n = len(positions)
        zeros = np.zeros(n, dtype=np.int64)
        weights = np.zeros(n) if log_weights is None else np.asarray(log_weights, dtype=np.float64)
        return cls(np.array(positions, dtype=np.float64), weights, zeros, zeros.copy(), np.asarray(roots, dtype=np.int64))

    def take(self, parents: np.ndarray) -> Walkers:
        """Copies of the walkers ``parents`` (repeated to clone, left out to kill); the others are untouched."""
        return Walkers(*(getattr(self, field.name)[parents] for field in fields(self)))

    def join(self, others: Walkers) -> Walkers:
        """This population followed by another."""
        pairs = ((getattr(self, field.name), getattr(others, field.name)) for field in fields(self))
        return Walkers(*(np.concatenate(pair) for pair in pairs))


class SlotContext:
    """One Context that holds ``n_slots`` independent copies of a system, with an optional bias.

    Parameters
    ----------
    target : RareEventSystem
    n_slots : int
    platform : str
    seed : int
        For the noise; 31 bits.
    importance : ImportanceFunction, optional
        Biases the dynamics; without it the dynamics is unbiased.
    strength : float
        Factor on the bias, 0 to 1.
    observer : callable, optional
        Sees the positions ``(n_slots, n_atoms, 3)`` before every step; see :class:`openmm_rare.forces.PythonBias`.
    bias_interval : int
        Steps for which a gradient of ln I is kept.
    """

    def __init__(
        self,
        target: RareEventSystem,
        n_slots: int,
        platform: str,
        seed: int,
        importance: ImportanceFunction | None = None,
        strength: float = 1.0,
        observer: Observer | None = None,
        bias_interval: int = 1,
    ) -> None:
        self.n_slots, self.n_atoms = n_slots, target.system.getNumParticles()
        self.biased = importance is not None and strength > 0.0
        check_system(target.system)
        system = replicate(target.system, n_slots)
        self._observer, self._failure, self._refresh = observer, None, None
        if self.biased or observer is not None:
            watch = None if observer is None else self._watch
            force, self._refresh = bias_force(
                importance if self.biased else None, target.kt, n_slots, watch, bias_interval
            )
            if not self.biased:  # unbiased dynamics evaluates group 0 only, and the observer must be called
                force.setForceGroup(0)
            system.addForce(force)
        dynamics = (target.temperature, target.friction, target.timestep, target.num_dimensions)
        if self.biased:
            self.integrator = BiasedOverdampedLangevinIntegrator(*dynamics, bias_group=BIAS_GROUP, strength=strength)
        else:
            self.integrator = OverdampedLangevinIntegrator(*dynamics)
        self.integrator.setRandomNumberSeed(int(seed))
        self.context = openmm.Context(system, self.integrator, platform_by_name(platform))
        self._zeros = np.zeros((n_slots * self.n_atoms, 3))
        self._slots = np.repeat(target.positions[None], n_slots, axis=0)
        self.set_positions(self._slots)

    def set_positions(self, positions: np.ndarray) -> None:
        """Put positions ``(m, n_atoms, 3)``, m <= n_slots, into the first m slots, with weight 1."""
        self._slots[: len(positions)] = positions
        self.context.setPositions(self._slots.reshape(-1, 3))
        if self._refresh is not None:
            self._refresh()
        if self.biased:
            self.context.setVelocities(self._zeros)

    def step(self, n_steps: int) -> None:
        """Advance all slots; what the observer raises is raised here as it was."""
        try:
            self.integrator.step(n_steps)
        except openmm.OpenMMException:
            if self._failure is not None:
                raise self._failure from None
            raise

    def _watch(self, positions: np.ndarray) -> np.ndarray:
        try:
            return self._observer(positions)
        except Exception as error:  # OpenMM would hand on its text only
            self._failure = error
            raise

    def positions(self) -> np.ndarray:
        """Positions of all slots, ``(n_slots, n_atoms, 3)`` in nm."""
        state = self.context.getState(positions=True)
        self._slots = state.getPositions(asNumpy=True)._value.reshape(self.n_slots, self.n_atoms, 3)
        return self._slots

    def forces(self) -> np.ndarray:
        """Physical forces on all slots, ``(n_slots, n_atoms, 3)`` in kJ/mol/nm."""
        state = self.context.getState(forces=True, groups={0})
        return state.getForces(asNumpy=True)._value.reshape(self.n_slots, self.n_atoms, 3)

    def log_weights(self) -> np.ndarray:
        """ln w accumulated since :meth:`set_positions`, shape ``(n_slots,)``; zeros without a bias."""
        return log_weights(self.context, self.n_slots) if self.biased else np.zeros(self.n_slots)


class _AbsorbingSlots:
    """Slots whose walkers are tested for A and B at every tested frame and stop where they arrive.

    The test sits in the callback of the bias force: it sees every frame before the walkers move on. An arrived walker
    feels no bias from then on, so its weight is final although its slot moves on.
    """

    def __init__(
        self,
        target: RareEventSystem,
        n_slots: int,
        platform: str,
        seed: int,
        importance: ImportanceFunction | None,
        strength: float,
        bias_interval: int,
    ) -> None:
        self.target = target
        self.slots = SlotContext(
            target, n_slots, platform, seed, importance, strength, self._observe, bias_interval
        )
        self._frame = 0
        self._running = np.zeros(n_slots, dtype=bool)

    def advance(self, positions: np.ndarray, labels: np.ndarray, n_steps: int) -> tuple[np.ndarray, ...]:
        """Move walkers until they arrive, at most ``n_steps``; returns end, log_weight, status, labels, steps."""
        n = len(positions)
        self._running[:] = False
        self._running[:n] = True
        self._labels = np.zeros(len(self._running), dtype=np.int64)
        self._labels[:n] = labels
        self._status = np.zeros(len(self._running), dtype=np.int8)
        self._steps = np.full(len(self._running), n_steps, dtype=np.int64)
        self._arrivals = np.zeros((len(self._running), self.slots.n_atoms, 3))
        self._frame = 0
        self.slots.set_positions(positions)
        self.slots.step(n_steps)
        end = self.slots.positions()
        self._frame = n_steps
        self._test(end)
        end = np.where(self._status[:n, None, None] > 0, self._arrivals[:n], end[:n])
        return end, self.slots.log_weights()[:n], self._status[:n], self._labels[:n], self._steps[:n]

    def _observe(self, positions: np.ndarray) -> np.ndarray:
        if self._frame > 0 and self._frame % self.target.check_interval == 0:
            self._test(positions)
        self._frame += 1
        return np.flatnonzero(self._running)

    def _test(self, positions: np.ndarray) -> None:
        running = np.flatnonzero(self._running)
        frames = positions if len(running) == len(positions) else positions[running]
        require_finite(frames, self.target)
        status, self._labels[running] = self.target.states.observe(frames, self._labels[running])
        arrived = status > 0
        if arrived.any():
            where = running[arrived]
            self._status[where] = status[arrived]
            self._steps[where] = self._frame
            self._arrivals[where] = frames[arrived]
            self._running[where] = False


@dataclass(frozen=True)
class Block:
    """What one block of steps did to each walker.

    Attributes
    ----------
    walkers : Walkers
        The same walkers after the block (arrived ones at the frame of arrival).
    status : ndarray of int8
        0 still between the states, 1 in A, 2 in B.
    log_weights : ndarray
        ln w gained in this block.
    walker_steps : int
        Force evaluations spent, summed over walkers until arrival.
    """

    walkers: Walkers
    status: np.ndarray
    log_weights: np.ndarray
    walker_steps: int


class Propagator:
    """Advances populations of any size in Contexts of the fitting size.

    Parameters
    ----------
    target : RareEventSystem
    importance : ImportanceFunction, optional
        Biases the dynamics with strength ``strength``.
    strength : float
    n_slots : int
        Size of the largest Context.
    platform : str
    seed : numpy.random.SeedSequence
        The same seed gives the same trajectories on the Reference platform.
    bias_interval : int
        Steps for which a gradient of ln I is kept.
    """

    def __init__(
        self,
        target: RareEventSystem,
        importance: ImportanceFunction | None,
        strength: float,
        n_slots: int,
        platform: str,
        seed: np.random.SeedSequence,
        bias_interval: int = 1,
    ) -> None:
        self.bias_interval = bias_interval
        self.target, self.importance, self.strength = target, importance, strength
        self.n_slots, self.platform, self._seed = n_slots, platform, seed
        self._contexts: dict[int, _AbsorbingSlots] = {}

    def advance(self, walkers: Walkers, n_steps: int) -> Block:
        """Move all walkers ``n_steps`` steps, or to the frame where they arrive in A or B."""
        parts = [
            self._fitting(min(self.n_slots, len(walkers) - first)).advance(
                walkers.positions[first : first + self.n_slots], walkers.labels[first : first + self.n_slots], n_steps
            )
            for first in range(0, len(walkers), self.n_slots)
        ]
        end, gained, status, labels, steps = (np.concatenate(column) for column in zip(*parts, strict=True))
        moved = replace(
            walkers,
            positions=end,
            log_weights=walkers.log_weights + gained,
            clocks=walkers.clocks + steps,
            labels=labels,
        )
        return Block(moved, status, gained, int(steps.sum()))

    def _fitting(self, n: int) -> _AbsorbingSlots:
        # making a Context takes as long as some hundred steps: few sizes, so that idle slots cost about as much as new ones
        size = self.n_slots
        while size > 20 and 2 * size // 5 >= n:
            size = 2 * size // 5
        if size not in self._contexts:
            (seed,) = self._seed.spawn(1)
            self._contexts[size] = _AbsorbingSlots(
                self.target,
                size,
                self.platform,
                int(seed.generate_state(1)[0] >> 1),
                self.importance,
                self.strength,
                # for a handful of walkers a step costs its Python calls alone: the last, slow ones keep gradients longer
                self.bias_interval if size > _FEW else 5 * self.bias_interval,
            )
        return self._contexts[size]
