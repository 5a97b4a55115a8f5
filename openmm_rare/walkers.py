"""Many walkers: independent copies of a small System in one Context, absorbed when they reach A or B."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import openmm

from .biased_dynamics import Bias, biased_dynamics
from .forces import Observer, PythonBias
from .integrators import OverdampedLangevinIntegrator, check_system
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

    def total_weight(self) -> float:
        """Sum of the path weights."""
        return float(np.exp(self.log_weights).sum())

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


class _Watch:
    """Calls an observer from inside OpenMM, which hands on nothing but the text of what it raises.

    What OpenMM calls must not refer to the Context: Python cannot see, and so never frees, a circle through OpenMM.
    """

    def __init__(self, observer: Observer) -> None:
        self.observer, self.failure = observer, None

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        try:
            return self.observer(positions)
        except Exception as error:
            self.failure = error
            raise


class SlotContext:
    """One Context that holds ``n_slots`` independent copies of a system, with an optional bias.

    Parameters
    ----------
    target : RareEventSystem
    n_slots : int
    platform : str
    seed : int
        For the noise; 31 bits.
    bias : Bias, optional
        Without it the dynamics is unbiased.
    observer : callable, optional
        Sees the positions ``(n_slots, n_atoms, 3)`` before every step; see :class:`openmm_rare.forces.PythonBias`.
    """

    def __init__(
        self,
        target: RareEventSystem,
        n_slots: int,
        platform: str,
        seed: int,
        bias: Bias | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.n_slots, self.n_atoms = n_slots, target.system.getNumParticles()
        self.biased = bias is not None and bias.strength > 0.0
        check_system(target.system)
        system = replicate(target.system, n_slots)
        self._watch = watch = None if observer is None else _Watch(observer)
        if self.biased:
            self._dynamics = biased_dynamics(target, n_slots, int(seed), bias, watch)
            self.integrator = self._dynamics.integrator
            system.addForce(self._dynamics.force)
        else:
            self.integrator = OverdampedLangevinIntegrator(
                target.temperature, target.friction, target.timestep, target.num_dimensions
            )
            self.integrator.setRandomNumberSeed(int(seed))
            if watch is not None:
                look = PythonBias(None, target.kt, n_slots, watch)
                system.addForce(openmm.PythonForce(look))
        self.context = openmm.Context(system, self.integrator, platform_by_name(platform))
        self._slots = np.repeat(target.positions[None], n_slots, axis=0)
        self.set_positions(self._slots)

    def set_positions(self, positions: np.ndarray) -> None:
        """Put positions ``(m, n_atoms, 3)``, m <= n_slots, into the first m slots, with weight 1."""
        self._slots[: len(positions)] = positions
        self.context.setPositions(self._slots.reshape(-1, 3))
        if self.biased:
            self._dynamics.restart(self.context)

    def step(self, n_steps: int) -> None:
        """Advance all slots; what the observer raises is raised here as it was."""
        try:
            self.integrator.step(n_steps)
        except openmm.OpenMMException:
            if self._watch is not None and self._watch.failure is not None:
                raise self._watch.failure from None
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
        return self._dynamics.log_weights(self.context) if self.biased else np.zeros(self.n_slots)


class _ArrivalTest:
    """Tests walkers for A and B at every tested frame, and tells which of them still run.

    It is called back with every frame before the walkers move on. A walker that has arrived feels no bias from then on, so
    its weight is final although its slot moves on.

    Attributes
    ----------
    running : ndarray of bool, shape (n_slots,)
    labels, status, steps : ndarray, shape (n_slots,)
        Channel label, state (0 while running) and steps until the arrival.
    arrivals : ndarray, shape (n_slots, n_atoms, 3), nm
        Frames of arrival.
    """

    def __init__(self, target: RareEventSystem, n_slots: int) -> None:
        self._target, self._n_slots = target, n_slots
        self.restart(np.zeros(0, dtype=np.int64), 0)

    def restart(self, labels: np.ndarray, n_steps: int) -> None:
        """Begin a stretch of ``n_steps`` with as many walkers as there are labels."""
        n, self._frame = len(labels), 0
        self.running = np.arange(self._n_slots) < n
        self.labels = np.zeros(self._n_slots, dtype=np.int64)
        self.labels[:n] = labels
        self.status = np.zeros(self._n_slots, dtype=np.int8)
        self.steps = np.full(self._n_slots, n_steps, dtype=np.int64)
        self.arrivals = np.zeros((self._n_slots, *self._target.positions.shape))

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        if self._frame > 0 and self._frame % self._target.check_interval == 0:
            self.test(positions)
        self._frame += 1
        return np.flatnonzero(self.running)

    def test(self, positions: np.ndarray) -> None:
        """Look at a frame of all slots."""
        running = np.flatnonzero(self.running)
        frames = positions if len(running) == len(positions) else positions[running]
        require_finite(frames, self._target)
        status, self.labels[running] = self._target.states.observe(frames, self.labels[running])
        arrived = status > 0
        if arrived.any():
            where = running[arrived]
            self.status[where] = status[arrived]
            self.steps[where] = self._frame
            self.arrivals[where] = frames[arrived]
            self.running[where] = False


class _AbsorbingSlots:
    """Slots whose walkers stop where they arrive in A or B."""

    def __init__(self, target: RareEventSystem, n_slots: int, platform: str, seed: int, bias: Bias | None) -> None:
        self._test = _ArrivalTest(target, n_slots)
        self._slots = SlotContext(target, n_slots, platform, seed, bias, self._test)

    def advance(self, positions: np.ndarray, labels: np.ndarray, n_steps: int) -> tuple[np.ndarray, ...]:
        """Move walkers until they arrive, at most ``n_steps``; returns end, log_weight, status, labels, steps."""
        n, test = len(positions), self._test
        test.restart(labels, n_steps)
        self._slots.set_positions(positions)
        self._slots.step(n_steps)
        end = self._slots.positions()
        test.test(end)
        end = np.where(test.status[:n, None, None] > 0, test.arrivals[:n], end[:n])
        return end, self._slots.log_weights()[:n], test.status[:n], test.labels[:n], test.steps[:n]


@dataclass(frozen=True)
class Block:
    """What one block of steps did to each walker.

    Attributes
    ----------
    walkers : Walkers
        The same walkers after the block (arrived ones at the frame of arrival).
    status : ndarray of int8
        0 still between the states, 1 in A, 2 in B.
    walker_steps : int
        Force evaluations spent, summed over walkers until arrival.
    """

    walkers: Walkers
    status: np.ndarray
    walker_steps: int


class Propagator:
    """Advances populations of any size in Contexts of the fitting size.

    Parameters
    ----------
    target : RareEventSystem
    bias : Bias, optional
        Without it the dynamics is unbiased.
    n_slots : int
        Size of the largest Context.
    platform : str
    seed : numpy.random.SeedSequence
        The same seed gives the same trajectories on the Reference platform.
    """

    def __init__(
        self, target: RareEventSystem, bias: Bias | None, n_slots: int, platform: str, seed: np.random.SeedSequence
    ) -> None:
        self.target, self.bias = target, bias
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
        return Block(moved, status, int(steps.sum()))

    def _fitting(self, n: int) -> _AbsorbingSlots:
        # making a Context takes as long as some hundred steps: few sizes, so that idle slots cost about as much as new ones
        size = self.n_slots
        while size > 20 and 2 * size // 5 >= n:
            size = 2 * size // 5
        if size not in self._contexts:
            bias = self.bias
            if bias is not None and size <= _FEW:
                # for a handful of walkers a step costs its Python calls alone: the last, slow ones keep gradients longer
                bias = replace(bias, interval=5 * bias.interval)
            (seed,) = self._seed.spawn(1)
            number = int(seed.generate_state(1)[0] >> 1)
            self._contexts[size] = _AbsorbingSlots(self.target, size, self.platform, number, bias)
        return self._contexts[size]
