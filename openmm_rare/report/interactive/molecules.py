"""Molecules for 3Dmol.js as plain data: atoms, bonds, and frames in whole picometers."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from ...dynamics.whole_frames import to_look_at
from ...structure.molecules import WATER_NAMES

if TYPE_CHECKING:
    from openmm import app

    from ...paths.ensemble import PathEnsemble
    from ...problem import RareEventSystem
    from ...states.states import States

__all__ = ["MOLECULE_CAPTION", "Track", "drawn_atoms", "explored_molecule", "movie", "solute_atoms", "tracks_of_paths"]

_MOST_WATER, _LEAST_OF_WATER = 12, 0.1  # molecules that are drawn, and the contribution of one, relative to the largest
_MOST_ATOMS, _MOST_PLACES = 2000, 40_000  # atoms, and atoms times frames, that a page carries
_LARGEST_PM = 32_767
_PATHS_SHOWN = 5

MOLECULE_CAPTION = (
    "The paths of the largest weights from A to B, without water, each frame laid onto the first: choose one, play it or drag "
    "the slider, turn the molecule with the pointer. openmm-rare export writes whole paths."
)


@dataclass(frozen=True)
class Track:
    """Frames that are shown one after the other.

    Attributes
    ----------
    label : str
    frames : ndarray, shape (n, n_atoms, 3), nm
    notes : sequence of str
        What is said about each frame.
    """

    label: str
    frames: np.ndarray
    notes: Sequence[str]

    def thinned(self, most: int) -> Track:
        """With at most so many frames, evenly spread, the first and the last among them."""
        if len(self.frames) <= most:
            return self
        kept = np.unique(np.linspace(0, len(self.frames) - 1, max(most, 2)).round().astype(int))
        return Track(self.label, self.frames[kept], [self.notes[index] for index in kept])


def drawn_atoms(problem: RareEventSystem, relative: np.ndarray | None = None) -> np.ndarray:
    """Indices of the atoms that are not water, and of the molecules of water that contribute; all without a topology."""
    return np.arange(len(problem.positions)) if problem.topology is None else solute_atoms(problem.topology, relative)


def solute_atoms(topology: app.Topology, relative: np.ndarray | None = None) -> np.ndarray:
    """The same of a topology alone."""
    residues = [[atom.index for atom in residue.atoms()] for residue in topology.residues()]
    is_water = np.array([residue.name in WATER_NAMES for residue in topology.residues()])
    seen: list[int] = []
    if relative is not None:
        most = np.where(is_water, [relative[atoms].max() for atoms in residues], 0.0)
        seen = [number for number in np.argsort(-most)[:_MOST_WATER] if most[number] >= _LEAST_OF_WATER]
    chosen = [residues[number] for number in [*np.flatnonzero(~is_water), *seen]]
    return np.sort(np.concatenate([np.array([], dtype=np.int64), *chosen]).astype(np.int64))


def tracks_of_paths(paths: PathEnsemble, logits: Sequence[np.ndarray], states: States) -> list[Track]:
    """The paths that count most, from A to B, frame by frame, with the time and the committor that a model gives."""
    tracks, forward = [], paths.from_a_to_b(states)
    for index in sorted(np.argsort(-paths.weights, kind="stable")[:_PATHS_SHOWN]):
        along = logits[index] if forward.paths[index] is paths.paths[index] else logits[index][::-1]
        committor = 1.0 / (1.0 + np.exp(-np.asarray(along, dtype=np.float64)))
        n = len(paths.paths[index])
        notes = [
            f"frame {frame + 1} of {n}, {frame * paths.frame_time:.4g} ps, predicted committor {value:.2f}"
            for frame, value in enumerate(committor)
        ]
        tracks.append(Track(f"path {index + 1} of {len(paths.paths)}", forward.paths[index], notes))
    return tracks


def explored_molecule(
    problem: RareEventSystem, atoms: np.ndarray, tracks: Sequence[Track], colors: Sequence[str] | None = None
) -> Mapping[str, Any] | None:
    """A molecule to turn around, and to see move.

    Parameters
    ----------
    problem : RareEventSystem
    atoms : ndarray of int
        Those that are shown.
    tracks : sequence of Track
        Each frame is laid onto the first.
    colors : sequence of str, optional
        Of the atoms, in place of those of the elements.

    Returns
    -------
    mapping or None
        None without a topology, without atoms or frames, or with more than a page should carry.
    """
    if problem.topology is None:
        return None
    tracks = [track.thinned(_most_frames(atoms, tracks)) for track in tracks]
    shown = [replace(track, frames=to_look_at(track.frames.astype(np.float64), problem)[:, atoms]) for track in tracks]
    return movie(problem.topology, atoms, shown, colors)


def _most_frames(atoms: np.ndarray, tracks: Sequence[Track]) -> int:
    """Of each track, that a page carries."""
    return max(_MOST_PLACES // max(len(atoms) * len(tracks), 1), 1)


def movie(
    topology: app.Topology, atoms: np.ndarray, tracks: Sequence[Track], colors: Sequence[str] | None = None
) -> Mapping[str, Any] | None:
    """The same of frames that are whole, and of these atoms alone."""
    if not 0 < len(atoms) <= _MOST_ATOMS or not tracks:
        return None
    tracks = [track.thinned(_most_frames(atoms, tracks)) for track in tracks]
    places = np.rint(1e3 * _laid_on_the_first(np.concatenate([track.frames for track in tracks])))
    if np.abs(places).max() > _LARGEST_PM:
        return None
    known = list(topology.atoms())
    order = {int(atom): place for place, atom in enumerate(atoms)}
    bonds: list[list[int]] = [[] for _ in atoms]
    for one, other in topology.bonds():
        if one.index in order and other.index in order:
            bonds[order[one.index]].append(order[other.index])
            bonds[order[other.index]].append(order[one.index])
    return {
        "elements": [known[atom].element.symbol if known[atom].element else "X" for atom in atoms],
        "names": [known[atom].name for atom in atoms],
        "bonds": bonds,
        "colors": None if colors is None else list(colors),
        "tracks": [{"label": track.label, "notes": list(track.notes)} for track in tracks],
        "picometers": base64.b64encode(places.astype("<i2").tobytes()).decode("ascii"),
    }


def _laid_on_the_first(frames: np.ndarray) -> np.ndarray:
    """Frames, shape (n, n_atoms, 3), moved and turned so that each lies on the first as well as it can."""
    centered = frames - frames.mean(1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # atoms on a line may turn about it as they like
        turns = [Rotation.align_vectors(centered[0], frame)[0] for frame in centered]
    return np.stack([turn.apply(frame) for turn, frame in zip(turns, centered, strict=True)])
