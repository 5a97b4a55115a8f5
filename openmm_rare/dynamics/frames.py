"""Frames as arrays, in the precision of the dynamics, and tables with frames among their columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from ..errors import InputError

__all__ = ["Frames", "Rows"]

_Rows = TypeVar("_Rows", bound="Rows")

Which = slice | np.ndarray | list[int]
"""Rows to take: a stretch, indices, or a mask."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of one System: consecutive ones of a path, or one of each walker.

    Attributes
    ----------
    positions : ndarray, shape (n_frames, n_atoms, 3), nm
    velocities : ndarray, shape (n_frames, n_atoms, 3), nm/ps, or None
        None if the dynamics has none.
    boxes : ndarray, shape (n_frames, 3, 3), nm, or None
        Periodic box vectors; None if nothing is periodic, or the box is that of the System.
    """

    positions: np.ndarray
    velocities: np.ndarray | None = None
    boxes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, which: int | Which) -> Frames:
        """Frames by slice, indices (repeated ones are copied), or mask; a single index gives one frame, in an array still."""
        if isinstance(which, (int, np.integer)):
            which = [int(which)]
        velocities, boxes = (None if array is None else array[which] for array in (self.velocities, self.boxes))
        return Frames(self.positions[which], velocities, boxes)

    def __setitem__(self, which: Which, others: Frames) -> None:
        """Put other frames, with velocities and boxes if these have some, in the places of these."""
        _require_alike([self, others])
        for mine, other in zip(self._arrays(), others._arrays(), strict=True):
            if mine is not None:
                mine[which] = other

    @property
    def reversed(self) -> Frames:
        """The same frames backward in time."""
        backward = self[::-1]
        velocities = None if backward.velocities is None else -backward.velocities
        return Frames(np.ascontiguousarray(backward.positions), velocities, backward.boxes)  # torch knows no negative strides

    def astype(self, dtype: type) -> Frames:
        """Copies in this precision."""
        return Frames(*(None if array is None else array.astype(dtype) for array in self._arrays()))

    def n_finite(self) -> int:
        """Number of frames before the first with NaN or infinities."""
        fine = np.isfinite(self.positions).all(axis=(1, 2))
        if self.velocities is not None:
            fine &= np.isfinite(self.velocities).all(axis=(1, 2))
        return len(fine) if fine.all() else int(np.argmin(fine))

    @classmethod
    def join(cls, parts: Iterable[Frames]) -> Frames:
        """Several stretches, one after the other.

        Raises
        ------
        ValueError
            If only some have velocities, or boxes; none of them are made up.
        """
        parts = list(parts)
        _require_alike(parts)
        columns = zip(*(part._arrays() for part in parts), strict=True)
        return cls(*(None if column[0] is None else np.concatenate(column) for column in columns))

    def arrays(self, name: str = "positions") -> dict[str, np.ndarray]:
        """For a file: the positions by this name, and beside them, by names like it, velocities and boxes if there are some.

        Beside ``positions`` that is ``velocities``, beside ``pending_positions`` ``pending_velocities``, and beside ``exits``
        ``exits_velocities``.
        """
        given = zip(_names(name), self._arrays(), strict=True)
        return {each: array for each, array in given if array is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], name: str = "positions") -> Frames:
        """Inverse of :meth:`arrays`."""
        return cls(*(np.asarray(arrays[each]) if each in arrays or each == name else None for each in _names(name)))

    def _arrays(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        return self.positions, self.velocities, self.boxes


def _names(name: str) -> tuple[str, str, str]:
    """Names in a file of positions, velocities and boxes."""
    stem = name.removesuffix("positions") if name.endswith("positions") else f"{name}_"
    return name, f"{stem}velocities", f"{stem}boxes"


def _require_alike(parts: list[Frames]) -> None:
    for name in ("velocities", "boxes"):
        have = [getattr(part, name) is not None for part in parts]
        if any(have) != all(have):
            raise InputError(f"frames with {name} and without cannot be joined: give {name} to all of them, or to none")


class Rows:
    """Base of dataclasses that are tables: every field is a column, an array or :class:`Frames`, all of one length."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]

    def take(self: _Rows, which: Which) -> _Rows:
        """These rows, in this order: those that are repeated more than once, those that are left out not at all."""
        return type(self)(*(column[which] for column in self._columns()))

    def join(self: _Rows, *others: _Rows) -> _Rows:
        """These rows followed by others."""
        columns = zip(*(each._columns() for each in (self, *others)), strict=True)
        return type(self)(*(Frames.join(each) if isinstance(each[0], Frames) else np.concatenate(each) for each in columns))

    def record(self, prefix: str = "") -> dict[str, Any]:
        """All columns for a record, by name; a column ``frames`` is called ``positions`` there, see :meth:`Frames.arrays`."""
        found: dict[str, Any] = {}
        for field, column in zip(fields(self), self._columns(), strict=True):  # type: ignore[arg-type]
            name = prefix + _recorded(field.name)
            found |= column.arrays(name) if isinstance(column, Frames) else {name: column}
        return found

    @classmethod
    def of_record(cls: type[_Rows], record: Mapping[str, Any], prefix: str = "") -> _Rows:
        """Inverse of :meth:`record`."""
        found = []
        for field in fields(cls):  # type: ignore[arg-type]
            name, of_frames = prefix + _recorded(field.name), field.type == Frames.__name__
            found.append(Frames.from_arrays(record, name) if of_frames else np.asarray(record[name]))
        return cls(*found)

    def _columns(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]


def _recorded(name: str) -> str:
    return "positions" if name == "frames" else name
