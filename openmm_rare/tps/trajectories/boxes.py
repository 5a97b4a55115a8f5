"""Periodic boxes of a path from a file: of the right shape, in OpenMM's reduced form, and those of the System."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm

from ...errors import InputError
from ...structure.box import default_box
from ...structure.nearest_image import box_in_words, reduced, same_box
from ...structure.special_forces import barostats

__all__ = ["boxes_of_file", "in_box_of_system"]

_CHANGING = 1e-3  # nm
_ROTATED = 1e-5  # of an edge


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
    except (TypeError, ValueError, OverflowError):
        boxes = None
    if boxes is None:
        raise InputError(
            f"{source}: boxes must have the shape (n_frames, 3, 3), vectors in nm for each of its {n_frames} frames, not "
            f"{np.shape(given)}"
        )
    if not periodic and not boxes.any() and np.ndim(given) == 3:
        return None
    _require_boxes(boxes, source)
    return reduced(boxes)


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
    own = default_box(system)
    same = same_box(boxes, own)
    if not same.all() and not barostats(system):
        raise InputError(_other_box(boxes, own, source))
    return np.where(same[:, None, None], own, boxes)


def _other_box(boxes: np.ndarray, own: np.ndarray, source: str) -> str:
    edges = np.linalg.norm(boxes, axis=2)
    changing = bool((np.ptp(edges, axis=0) > _CHANGING).any())
    low, high = (box_in_words(np.diag(edge)) for edge in (edges.min(axis=0), edges.max(axis=0)))
    mean = box_in_words(boxes.mean(axis=0))
    todo = f"{mean}, with a start structure in it" + (", and find a path there" if changing else "")
    return (
        f"{source}: its boxes are {f'from {low} to {high}' if changing else mean}, that of the System is {box_in_words(own)}, "
        "and no barostat changes it, so that each path would stay at the volume of the frame it began from: give a path made "
        "in the box of the System, or set the System (setDefaultPeriodicBoxVectors) to "
        f"{'the mean box, ' if changing else ''}{todo}"
    )
