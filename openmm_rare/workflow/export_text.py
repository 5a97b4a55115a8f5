"""What is in a folder of exported paths, in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..folders.shown_paths import FRAMES, PATHS, TOPOLOGY

__all__ = ["POINTS", "TRANSITION_STATES", "manifest", "of_points", "of_sampled_paths", "of_saved_paths"]

POINTS, TRANSITION_STATES = "shooting-points", "transition-states.pdb"

_UNITS = {
    "xtc": "`.xtc`: times in ps, positions in nm rounded to 0.001 nm, box vectors in nm (MDAnalysis shows Angstrom).",
    "dcd": (
        "`.dcd`: positions and box in Angstrom. The header has the time between frames, which MDAnalysis reads; mdtraj does "
        "not, and numbers frames: their times are in the tables."
    ),
    "pdb": (
        "`.pdb`: positions in Angstrom, the box in CRYST1, no times (they are in the tables); B-factors of paths and shooting "
        "points are 99.99 times the committor, where it is known."
    ),
}


def of_sampled_paths(kind: str, series: str) -> dict[str, str]:
    """What the files with paths of path sampling are, made by each chain or walker."""
    about = (
        "a row for each path: its weight in averages over transition paths, the same as a share of all, its "
        f"{series} and the trial that made it, frames, duration in ps"
    )
    return _of_paths(kind, about, "the committor that the run has learned")


def of_saved_paths(kind: str) -> dict[str, str]:
    """What the files with paths of a rate are."""
    about = (
        "a row for each path: its weight, with which sums over these paths estimate sums over all paths from A to B without "
        "bias; its share of the rate; root and exit that it comes from; frames; duration in ps. Of each reactive tree, all "
        "that came to B from one root, one arrival is kept, drawn in proportion to its weight, and stands for the tree; "
        "paths of one exit begin at the same place"
    )
    return _of_paths(kind, about, "ln_importance, the logarithm of the importance function, the committor of a model")


def _of_paths(kind: str, about: str, along: str) -> dict[str, str]:
    return {
        TOPOLOGY: "names of atoms and residues, bonds, the periodic box; the first frame of the first path",
        f"path-*.{kind}": "a path each, from A, its first frame at time 0, to B; one that went from B to A is read backwards",
        PATHS: about,
        FRAMES: f"a row for each frame: time in ps, variables of the states in nm, radians or plain, {along}",
    }


def of_points(kind: str, n_states: int) -> dict[str, str]:
    """What the files with shooting points are."""
    found = {
        f"{POINTS}.{kind}": "shooting points of all trials that ended: they follow no time, and are 1 ps apart in the file",
        f"{POINTS}.csv": (
            "a row for each of them: trial, shots that reached A and B, whether a path was accepted, probability of a "
            "transition path that the model of its time expected, committor by the model of now, variables"
        ),
    }
    if n_states:
        found[TRANSITION_STATES] = (
            f"the {n_states} shooting points nearest to a committor of 1/2; B-factors are contributions of atoms to the "
            "committor there, the largest 99.99"
        )
    return found


def manifest(folder: Path, kind: str, contents: Mapping[str, str]) -> str:
    """README.md of the folder.

    Parameters
    ----------
    folder : Path
        Of the run.
    kind : str
        Format of the trajectories.
    contents : mapping of str
        What each file is.
    """
    rows = "\n".join(f"| `{name}` | {what} |" for name, what in contents.items())
    some = next(name for name in contents if name.startswith("path-")).replace("*", "001")
    return f"""# Transition paths of the run {folder.name}

| file | what |
|---|---|
{rows}

{_UNITS[kind]}
Molecules are whole, around the one that the states are about: atoms may lie outside of the box.

    MDAnalysis.Universe("topology.pdb", "{some}")
    mdtraj.load("{some}", top="topology.pdb")
    vmd topology.pdb {some}
"""
