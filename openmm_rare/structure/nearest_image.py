"""Periodic boxes and nearest images in them, for variables between atoms that a box may separate."""

from typing import Any

import numpy as np

from ..errors import InputError

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
    except (TypeError, ValueError, OverflowError):
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
    return reduced(vectors) if tilted.any() else vectors


def reduced(vectors: np.ndarray) -> np.ndarray:
    """Box vectors of shape (..., 3, 3) in OpenMM's reduced form, as its ``reducePeriodicBoxVectors`` makes it.

    What lies above the diagonal is dropped.
    """
    vectors = np.tril(vectors)
    a, b, c = vectors[..., 0, :], vectors[..., 1, :], vectors[..., 2, :]
    c -= b * np.round(c[..., 1, None] / b[..., 1, None])
    c -= a * np.round(c[..., 0, None] / a[..., 0, None])
    b -= a * np.round(b[..., 0, None] / a[..., 0, None])
    # a quotient that rounds to one half leaves a tilt too long by its last digit, at which OpenMM stops
    for vector, axis, edge in ((b, 0, a[..., 0]), (c, 0, a[..., 0]), (c, 1, b[..., 1])):
        vector[..., axis] = np.clip(vector[..., axis], -0.5 * edge, 0.5 * edge)
    return vectors


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


def same_box(boxes: np.ndarray, other: np.ndarray, tolerance: float | None = None) -> np.ndarray:
    """Which boxes of shape (..., 3, 3), nm, are the lattice of another, within a tolerance in nm or what files round.

    Lattices are compared, not vectors: rounding turns a tilt of half an edge into its opposite.
    """
    steps = np.round(boxes @ np.linalg.inv(other))
    if tolerance is None:
        tolerance = _ROUNDING + _ANGLES * float(np.diag(other).max())
    return (np.abs(np.linalg.det(steps)).round() == 1) & (np.abs(steps @ other - boxes).max(axis=(-1, -2)) <= tolerance)


def nearest_image(vectors: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """The nearest images of vectors, shape (..., 3), in a box; the vectors themselves without one.

    The rule is that of OpenMM's forces, which is exact for all that are shorter than half the smallest width of the box.

    Parameters
    ----------
    vectors : ndarray, shape (..., 3), nm
    box : ndarray, shape (3, 3) or (..., 3, 3), nm, or None
        In reduced form; one for all vectors or one for each.
    """
    if box is None:
        return vectors
    result = np.array(vectors, dtype=np.float64)
    for axis in (2, 1, 0):
        result -= np.round(result[..., axis, None] / box[..., axis, axis, None]) * box[..., axis, :]
    return result


def image_counts(vectors: np.ndarray, box: np.ndarray) -> np.ndarray:
    """How many box vectors :func:`nearest_image` takes off each, shape (..., 3)."""
    return np.round(np.einsum("...i,...ij->...j", vectors - nearest_image(vectors, box), np.linalg.inv(box)))
