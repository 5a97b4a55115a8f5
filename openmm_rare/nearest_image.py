"""Periodic boxes and nearest images in them, for variables between atoms that a box may separate."""

from typing import Any

import numpy as np

from .errors import InputError

_ROUNDING = 1e-3
"""Of box vectors in structure files, nm: three decimals of an angstrom, and less in compressed trajectories."""
_ANGLES = 2e-4
"""Of their angles: two decimals of a degree, in radians."""


def box_vectors(box: Any, argument: str) -> np.ndarray:
    """The three vectors of a box in OpenMM's reduced form, shape (3, 3), nm: a along x, b in the plane of x and y.

    Parameters
    ----------
    box : array_like of shape (3,) or (3, 3)
        Edges of a rectangular box or box vectors, nm; or a Quantity, as ``System.getDefaultPeriodicBoxVectors()`` returns.
        Vectors tilted by more than half an edge are replaced by the shorter ones of the same lattice.
    argument : str
        What it is, for the message.

    Raises
    ------
    ValueError
        If the box has another shape, is not finite, or has another orientation than OpenMM wants.
    """
    try:
        vectors = np.array(_in_nm(box), dtype=np.float64)
    except (TypeError, ValueError):
        vectors = np.zeros(0)
    if vectors.shape == (3,):
        vectors = np.diag(vectors)
    if vectors.shape != (3, 3) or not np.isfinite(vectors).all():
        raise InputError(f"{argument} must be three finite edges or three box vectors in nm, not {box!r}")
    if not (np.diag(vectors) > 0).all() or np.triu(vectors, 1).any():
        raise InputError(
            f"{argument} must be box vectors as OpenMM wants them (a along x, b in the xy plane, positive edges), not "
            f"{vectors.tolist()}"
        )
    tilted = np.abs([vectors[1, 0], vectors[2, 0], vectors[2, 1]]) > 0.5 * np.diag(vectors)[[0, 0, 1]] * (1 + 1e-6)
    return _reduced(vectors) if tilted.any() else vectors


def _reduced(vectors: np.ndarray) -> np.ndarray:
    from openmm import unit
    from openmm.app.internal.unitcell import reducePeriodicBoxVectors

    return np.array(reducePeriodicBoxVectors(vectors.tolist()).value_in_unit(unit.nanometer), dtype=np.float64)


def _in_nm(value: Any) -> Any:
    """Numbers of a Quantity, or of a sequence of Quantities; anything else as it is."""
    if hasattr(value, "value_in_unit"):
        from openmm import unit

        return value.value_in_unit(unit.nanometer)
    return [_in_nm(each) for each in value] if isinstance(value, (list, tuple)) else value


def box_in_words(box: np.ndarray) -> str:
    """Edges of a rectangular box, vectors of any other, with their unit."""
    if np.count_nonzero(box) == 3:
        return " x ".join(f"{edge:.5g}" for edge in np.diag(box)) + " nm"
    return "[" + ", ".join("[" + ", ".join(f"{x:.5g}" for x in vector) + "]" for vector in box) + "] nm"


def same_box(one: np.ndarray, other: np.ndarray, tolerance: float | None = None) -> bool:
    """Whether two boxes of shape (3, 3), nm, are the same lattice, within a tolerance in nm or what structure files round.

    Lattices are compared, not vectors: rounding turns a tilt of half an edge into its opposite.
    """
    steps = np.round(one @ np.linalg.inv(other))
    if tolerance is None:
        tolerance = _ROUNDING + _ANGLES * float(np.diag(other).max())
    return bool(round(abs(np.linalg.det(steps))) == 1 and np.abs(steps @ other - one).max() <= tolerance)


def nearest_image(vectors: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """The nearest images of vectors, shape (..., 3), in a box of shape (3, 3), nm; the vectors themselves without a box.

    The rule is that of OpenMM's forces, which is exact for all that are shorter than half the smallest width of the box.
    """
    if box is None:
        return vectors
    result = np.array(vectors, dtype=np.float64)
    for axis in (2, 1, 0):
        result -= np.round(result[..., axis, None] / box[axis, axis]) * box[axis]
    return result
