"""Periodic boxes of a path from a file: of the right shape, in OpenMM's reduced form, and those of the System."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm

from ..errors import InputError

__all__ = ["boxes_of_file", "image_counts", "in_box_of_system", "system_box"]

_ROUNDING = 1e-3, 2e-4  # nm, and of an edge: what .pdb leaves of angles moves a vector by 1e-4 of its length
_ROTATED = 1e-5  # of an edge
_BAROSTATS = (openmm.MonteCarloBarostat, openmm.MonteCarloAnisotropicBarostat, openmm.MonteCarloMembraneBarostat)
_BAROSTATS += (openmm.MonteCarloFlexibleBarostat,)


def system_box(system: openmm.System) -> np.ndarray:
    """The box vectors of a System, shape (3, 3), nm."""
    return np.array([vector._value for vector in system.getDefaultPeriodicBoxVectors()], dtype=np.float64)


def boxes_of_file(given: Any, n_frames: int, source: str, periodic: bool) -> np.ndarray | None:
    """Box vectors for each frame, in reduced form, of what a file has under that name.

    Parameters
    ----------
    given : array_like or None
        Box vectors or the edges of rectangular boxes, nm, for each frame or for all.
    n_frames : int
    source : str
        For the message.
    periodic : bool
        Whether the System has periodic boundaries; boxes of zero, which say that there is none, are refused only then.

    Returns
    -------
    ndarray, shape (n_frames, 3, 3), nm, or None where the file has no boxes

    Raises
    ------
    InputError
        If these are no boxes.
    """
    if given is None:
        return None
    try:
        boxes = _vectors(np.asarray(given, dtype=np.float64), n_frames)
    except (TypeError, ValueError):
        boxes = None
    if boxes is None:
        raise InputError(
            f"{source}: boxes must have the shape (n_frames, 3, 3), vectors in nm for each of its {n_frames} frames, not "
            f"{np.shape(given)}"
        )
    if not periodic and not boxes.any() and np.ndim(given) == 3:
        return None
    _require_boxes(boxes, source)
    return _reduced(boxes)


def _vectors(given: np.ndarray, n_frames: int) -> np.ndarray | None:
    """Box vectors for each frame of what holds vectors or edges, for each frame or for all; None for other shapes."""
    if given.shape == (n_frames, 3, 3):
        return given.copy()
    # three rows of three are edges of three frames only if none is zero: box vectors have zeros above the diagonal
    if given.shape == (n_frames, 3) and (n_frames != 3 or (given > 0).all()):
        return given[:, :, None] * np.eye(3)
    if given.shape in ((3,), (3, 3)):
        return np.repeat((np.diag(given) if given.ndim == 1 else given)[None], n_frames, axis=0)
    return None


def _require_boxes(boxes: np.ndarray, source: str) -> None:
    edges = np.diagonal(boxes, axis1=1, axis2=2)
    good = np.isfinite(boxes).all(axis=(1, 2)) & (edges > 0).all(axis=1)
    above = np.abs(boxes[:, [0, 0, 1], [1, 2, 2]]).max(axis=1)
    good &= above <= _ROTATED * edges.max(axis=1)
    if good.all():
        return
    frame = int(np.argmin(good))
    raise InputError(
        f"{source}: the box of frame {frame}, {boxes[frame].tolist()} nm, is no box of OpenMM, which has positive "
        "edges, its first vector along x and its second in the xy plane: write the boxes that the trajectory was made "
        "in, or leave them out"
    )


def _reduced(boxes: np.ndarray) -> np.ndarray:
    """OpenMM's reduced form, as ``reducePeriodicBoxVectors`` of OpenMM makes it, safe against its last digit."""
    boxes = np.tril(boxes)
    a, b, c = boxes[:, 0], boxes[:, 1], boxes[:, 2]
    c -= b * np.round(c[:, 1, None] / b[:, 1, None])
    c -= a * np.round(c[:, 0, None] / a[:, 0, None])
    b -= a * np.round(b[:, 0, None] / a[:, 0, None])
    # a quotient that rounds to one half leaves a tilt too long by its last digit, at which OpenMM stops
    for vector, axis, edge in ((b, 0, a[:, 0]), (c, 0, a[:, 0]), (c, 1, b[:, 1])):
        vector[:, axis] = np.clip(vector[:, axis], -0.5 * edge, 0.5 * edge)
    return boxes


def in_box_of_system(boxes: np.ndarray, system: openmm.System, source: str) -> np.ndarray:
    """The boxes of a path, with the exact one of the System where they agree with it within the digits of a file.

    Parameters
    ----------
    boxes : ndarray, shape (n_frames, 3, 3), nm
        In reduced form.
    system : openmm.System
        With periodic boundaries.
    source : str
        For the message.

    Raises
    ------
    InputError
        If a box is another one and the volume of the System never changes.
    """
    own = system_box(system)
    # equal lattices have many boxes: with tilts of half an edge, the last digit says which of them a file holds
    turned = np.round(boxes @ np.linalg.inv(own))
    apart = np.abs(boxes - turned @ own).max(axis=(1, 2))
    same = (apart <= max(_ROUNDING[0], _ROUNDING[1] * float(own.max()))) & (np.abs(np.linalg.det(turned)).round() == 1)
    if not same.all() and not any(isinstance(force, _BAROSTATS) for force in system.getForces()):
        raise InputError(_other_box(boxes, own, source))
    return np.where(same[:, None, None], own, boxes)


def _other_box(boxes: np.ndarray, own: np.ndarray, source: str) -> str:
    edges = np.linalg.norm(boxes, axis=2)
    low, high, mean = edges.min(axis=0), edges.max(axis=0), np.mean(boxes, axis=0)
    changing = bool((high - low > _ROUNDING[0]).any())
    shown = f"from {_shown(low)} to {_shown(high)}" if changing else _shown(mean, vectors=True)
    todo = f"{_shown(mean, vectors=True)} nm, with a start structure in it" + (", and find a path there" if changing else "")
    return (
        f"{source}: its boxes are {shown} nm, that of the System is {_shown(own, vectors=True)} nm, and no barostat "
        "changes it, so that each path would stay at the volume of the frame it began from: give a path made in the box of the "
        f"System, or set the System (setDefaultPeriodicBoxVectors) to {'the mean box, ' if changing else ''}{todo}"
    )


def _shown(box: np.ndarray, vectors: bool = False) -> str:
    """Edges, or vectors of a tilted box, in few digits."""
    if not vectors or not np.tril(box, -1).any():
        edges = np.diag(box) if vectors else box
        edges = edges[:1] if np.ptp(edges) < 1e-6 else edges
        return " x ".join(f"{edge:.4g}" for edge in edges)
    return str([[float(f"{each:.4g}") for each in vector] for vector in box])


def image_counts(vectors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """How many box vectors to take off vectors so that they become their nearest images.

    Parameters
    ----------
    vectors : ndarray, shape (n, 3), nm
    boxes : ndarray, shape (n, 3, 3), nm
        In reduced form; one for each vector.

    Returns
    -------
    ndarray, shape (n, 3)
    """
    rest, counts = vectors.copy(), np.zeros_like(vectors)
    for axis in (2, 1, 0):
        counts[:, axis] = np.round(rest[:, axis] / boxes[:, axis, axis])
        rest -= counts[:, axis, None] * boxes[:, axis]
    return counts
