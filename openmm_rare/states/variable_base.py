"""What every collective variable has: a name, values of positions, and a description of itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ..errors import InputError

__all__ = ["CollectiveVariable", "require_atoms"]


def require_atoms(atoms: Sequence[int], count: int, name: str) -> None:
    """Refuse anything but so many different atoms."""
    if len(atoms) != count or len(set(atoms)) != count or min(atoms) < 0:
        raise InputError(f"variable {name!r}: atoms must be {count} different indices >= 0, not {tuple(atoms)}")


@dataclass(frozen=True, eq=False)
class CollectiveVariable:
    """One scalar function of the positions.

    Parameters
    ----------
    name : str
        Name under which regions refer to it.

    Attributes
    ----------
    period : float or None
        Period of a periodic variable (the unit of the variable).
    """

    name: str
    period: float | None = field(default=None, init=False, repr=False)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Values, shape (n,), of positions of shape (n, n_atoms, 3) in nm."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """JSON-able parameters, the same in every process."""
        parameters = {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.init}
        return {"kind": type(self).__name__, **{key: value for key, value in parameters.items() if value is not None}}


def _plain(value: Any) -> Any:
    """Numbers of NumPy as those of Python, which JSON knows."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return tuple(map(_plain, value)) if isinstance(value, (tuple, list)) else value
