"""Nearest images in a periodic box, for variables between atoms that the box may separate."""

from typing import Any

import numpy as np

from .errors import InputError


def box_vectors(box: Any, argument: str) -> np.ndarray:
    """The three vectors of a box, shape (3, 3), nm, as OpenMM wants them: a along x, b in the plane of x and y.

    Parameters
    ----------
    box : array_like of shape (3,) or (3, 3)
        Edges of a rectangular box or box vectors, nm; or a Quantity, as ``System.getDefaultPeriodicBoxVectors()`` returns.
    argument : str
        What it is, for the message.

    Raises
    ------
    ValueError
        If the box has another shape, is not finite, or is not in OpenMM's reduced form.
    """
    try:
        vectors = np.array(_in_nm(box), dtype=np.float64)
    except (TypeError, ValueError):
        vectors = np.zeros(0)
    if vectors.shape == (3,):
        vectors = np.diag(vectors)
    if vectors.shape != (3, 3) or not np.isfinite(vectors).all():
        raise InputError(f"{argument} must be three finite edges or three box vectors in nm, not {box!r}")
    edges = np.diag(vectors)
    tilted = np.abs([vectors[1, 0], vectors[2, 0], vectors[2, 1]]) > 0.5 * edges[[0, 0, 1]] * (1 + 1e-6)
    if not (edges > 0).all() or np.triu(vectors, 1).any() or tilted.any():
        raise InputError(
            f"{argument} must be in reduced form, as OpenMM wants it (a along x, b in the xy plane, positive edges, tilts of "
            f"at most half an edge), not {vectors.tolist()}; openmm.app.internal.unitcell.reducePeriodicBoxVectors makes it so"
        )
    return vectors


def _in_nm(value: Any) -> Any:
    """Numbers of a Quantity, or of a sequence of Quantities; anything else as it is."""
    if hasattr(value, "value_in_unit"):
        from openmm import unit

        return value.value_in_unit(unit.nanometer)
    return [_in_nm(each) for each in value] if isinstance(value, (list, tuple)) else value


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
