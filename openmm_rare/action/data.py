"""Ends of short stretches of fine velocity-Verlet dynamics, and their actions: what an action is learned from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import unit

from ..dynamics.platforms import platform_by_name
from ..errors import DynamicsError, InputError
from ..io.files import read_npz, write_npz
from ..io.tasks import Progress, Silent
from ..structure.particles import masses_of
from ..units import in_md_units, lengths_in_nm, whole_number
from .labels import End, Labels, labels_of
from .phase_space import ContextPotential, PhaseSpace, Potential, Pull
from .refusals import require_suitable
from .sampling import SPACING, canonical_starts, system_hash

__all__ = ["ActionData"]

_FEWEST = 10
_CHUNKS = 2  # of each temperature, with dynamics of their own
_ADVICE = "remove it, and make it again with openmm-rare action train --resume"


@dataclass(frozen=True, eq=False)
class ActionData:
    """Stretches of fine dynamics without friction, mass-weighted; one row of each array is a sample.

    Attributes
    ----------
    q, p, force : ndarray, shape (n_samples, n)
        Where they begin, velocities belonging to the same time as positions.
    energy : ndarray, shape (n_samples,), kJ/mol
    q_next, p_next, force_next : ndarray, shape (n_strides, n_samples, n)
        Where they are after each number of fine steps.
    energy_next : ndarray, shape (n_strides, n_samples), kJ/mol
    action : ndarray, shape (n_strides, n_samples), kJ/mol ps
        The sum of the discrete Lagrangian of the fine steps: that of the composed Verlet map, exactly.
    strides : ndarray of int, shape (n_strides,)
    timestep : float
        The fine one, ps.
    temperature : float
        K, of half of the samples; the others are hotter.
    masses, reference, num_dimensions
        See :class:`~openmm_rare.action.phase_space.PhaseSpace`.
    system : str
        Hash of the System; empty for a potential without one.
    """

    q: np.ndarray
    p: np.ndarray
    force: np.ndarray
    energy: np.ndarray
    q_next: np.ndarray
    p_next: np.ndarray
    force_next: np.ndarray
    energy_next: np.ndarray
    action: np.ndarray
    strides: np.ndarray
    timestep: float
    temperature: float
    masses: np.ndarray
    reference: np.ndarray
    num_dimensions: int = 3
    system: str = ""

    def __len__(self) -> int:
        return len(self.q)

    @property
    def space(self) -> PhaseSpace:
        """What the rows mean."""
        return PhaseSpace(self.masses, self.reference, self.num_dimensions)

    def place_of(self, stride: int) -> int:
        """Where in the arrays those after so many fine steps are.

        Raises
        ------
        ValueError
            If there are none.
        """
        if stride not in self.strides:
            raise InputError(f"stride = {stride} is not in the data; there are {', '.join(map(str, self.strides))}")
        return int(np.flatnonzero(self.strides == stride)[0])

    def labels(self, stride: int, kernel: str = "verlet") -> Labels:
        """What an action for so many fine steps has to reproduce.

        Raises
        ------
        ValueError
            If there is nothing after so many.
        """
        at = self.place_of(stride)
        start = End(self.q, self.p, Pull(self.energy, self.force))
        end = End(self.q_next[at], self.p_next[at], Pull(self.energy_next[at], self.force_next[at]))
        return labels_of(start, end, self.action[at], stride * self.timestep, kernel)

    @classmethod
    def of_stretches(
        cls,
        potential: Potential,
        space: PhaseSpace,
        q: np.ndarray,
        p: np.ndarray,
        *,
        timestep: float,
        strides: Sequence[int],
        temperature: float,
        system: str = "",
    ) -> ActionData:
        """From rows where stretches begin, by velocity Verlet with a fine time step in ps.

        Raises
        ------
        FloatingPointError
            If one leaves all numbers.
        """
        wanted = sorted({whole_number(each, "stride", "fine time steps") for each in strides})
        pull, action, kept = potential(q), np.zeros(len(q)), []
        a, b, here = q, p, pull
        for step in range(1, wanted[-1] + 1):
            half = b + 0.5 * timestep * here.force
            a, before = a + timestep * half, here.energy
            here = potential(a)
            b = half + 0.5 * timestep * here.force
            action = action + timestep * (0.5 * (half**2).sum(axis=1) - 0.5 * (before + here.energy))
            if step in wanted:
                kept.append((a, b, here.force, here.energy, action))
        if not all(np.isfinite(each).all() for each in kept[-1]):
            raise DynamicsError(
                f"a stretch of fine dynamics diverged: a time step of {timestep:g} ps is too long for this System"
            )
        columns = [np.array(column) for column in zip(*kept, strict=True)]
        about = (np.array(wanted), timestep, temperature, space.masses, space.reference, space.num_dimensions, system)
        return cls(q, p, pull.force, pull.energy, *columns, *about)

    @classmethod
    def from_simulation(
        cls,
        system: openmm.System,
        positions: Any,
        *,
        temperature: Any,
        timestep: Any,
        strides: int | Sequence[int],
        samples: int = 400,
        hotter: float = 1.6,
        spacing: int = SPACING,
        num_dimensions: int = 3,
        platform: str = "Reference",
        seed: int = 1,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> ActionData:
        """Sample with Langevin dynamics, half at the temperature and half at a higher one, and go on from there without noise.

        Parameters
        ----------
        system : openmm.System
        positions, temperature, timestep : Quantity or array_like
            nm, K and ps without unit. The time step is the fine one: about a fiftieth of the fastest period.
        strides : int or sequence of int
            Fine steps in a learned one.
        hotter : float
            What to multiply the temperature with for half of the samples: a learned step errs where nothing was learned.
        spacing : int
            Fine steps between two samples: most of the work, where forces are dear.
        samples, num_dimensions, platform, seed
        folder : Path, optional
            Keeps what is finished: the same call goes on from there.
        progress : Progress, optional

        Raises
        ------
        ValueError
            For arguments out of range and Systems that no action can move; see
            :func:`~openmm_rare.action.refusals.require_suitable`.
        """
        require_suitable(system)
        kelvin = in_md_units(temperature, unit.kelvin, "temperature")
        fine = in_md_units(timestep, unit.picosecond, "timestep")
        if samples < _FEWEST or kelvin <= 0.0 or fine <= 0.0 or hotter < 1.0:
            raise InputError(
                f"samples = {samples} must be at least {_FEWEST}, temperature = {kelvin} K and timestep = {fine} ps positive, "
                f"hotter = {hotter} at least 1"
            )
        space = PhaseSpace(masses_of(system), lengths_in_nm(positions, "positions"), num_dimensions)
        steps = [strides] if isinstance(strides, int) else list(strides)
        about = {"timestep": fine, "strides": steps, "temperature": kelvin, "system": system_hash(system)}
        kelvins = [kelvin * factor for factor in (1.0, hotter) for _ in range(_CHUNKS)]
        progress, parts = progress or Silent(), []
        progress.stage("training data", float(len(kelvins)))
        for number, (hot, stream) in enumerate(zip(kelvins, np.random.SeedSequence(seed).spawn(len(kelvins)), strict=True)):
            path, n = None if folder is None else folder / f"data-{number}.npz", (samples + number) // len(kelvins)
            parts.append(cls._chunk(path, system, space, hot, n, stream, platform, spacing, about))
            progress.update(1.0)
        return cls.join(parts)

    @classmethod
    def _chunk(
        cls,
        path: Path | None,
        system: openmm.System,
        space: PhaseSpace,
        kelvin: float,
        samples: int,
        stream: np.random.SeedSequence,
        platform: str,
        spacing: int,
        about: dict[str, Any],
    ) -> ActionData:
        """Stretches from one simulation at one temperature: those of a file, or new ones, which it keeps then."""
        if path is not None and path.is_file():
            return cls.load(path).required_of(system)
        q, p = canonical_starts(system, space, kelvin, about["timestep"], samples, stream, platform, spacing)
        context = openmm.Context(system, openmm.VerletIntegrator(about["timestep"]), platform_by_name(platform))
        made = cls.of_stretches(ContextPotential(context, space), space, q, p, **about)
        if path is not None:
            made.save(path)
        return made

    @classmethod
    def join(cls, parts: Iterable[ActionData]) -> ActionData:
        """All samples of several, which must be of one System, in turn: so that any stretch of rows has some of each."""
        parts = list(parts)
        first, n_rows = parts[0], np.concatenate([np.arange(len(part)) / len(part) for part in parts])
        order, own = np.argsort(n_rows, kind="stable"), {}
        for field in fields(cls):
            value = getattr(first, field.name)
            if field.name in _PER_SAMPLE:
                own[field.name] = np.concatenate([getattr(part, field.name) for part in parts])[order]
            elif field.name in _PER_STRIDE:
                own[field.name] = np.concatenate([getattr(part, field.name) for part in parts], axis=1)[:, order]
            else:
                if any(not np.array_equal(getattr(part, field.name), value) for part in parts):
                    raise InputError(f"training data of different {field.name} cannot be joined")
                own[field.name] = value
        return cls(**own)

    def required_of(self, system: openmm.System) -> ActionData:
        """These data, unless they are of another System.

        Raises
        ------
        ValueError
        """
        if self.system != system_hash(system):
            raise InputError("these training data are of another System: make them again, or give the System that they are of")
        return self

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` file."""
        write_npz(path, {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)})

    @classmethod
    def load(cls, path: str | Path) -> ActionData:
        """Read what :meth:`save` wrote."""
        arrays = read_npz(path, _ADVICE)
        if set(arrays) != {field.name for field in fields(cls)}:
            raise InputError(f"{path} holds no training data of an action: {_ADVICE}")
        plain = {"timestep": float, "temperature": float, "num_dimensions": int, "system": str}
        return cls(**{name: plain[name](array) if name in plain else array for name, array in arrays.items()})


_PER_SAMPLE = ("q", "p", "force", "energy")
_PER_STRIDE = ("q_next", "p_next", "force_next", "energy_next", "action")
