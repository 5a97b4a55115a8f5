"""Good paths of the chain in files, which tests spoil."""

import mdtraj
import numpy as np

import chain4
from openmm_rare.settings.paths import PathSettings
from openmm_rare.tps.chains.task import PathProblem


def turned(n=9, first=2.65, last=1.5):
    """The chain with its torsion turned from A to B, bonds and angles kept, shape (n, 4, 3); of 9 frames 7 lie between."""
    start = chain4.positions()
    axis = (start[2] - start[1]) / np.linalg.norm(start[2] - start[1])
    arm = start[3] - start[2]
    frames = np.repeat(start[None], n, axis=0)
    for frame, angle in zip(frames, np.pi - np.linspace(first, last, n), strict=True):
        along = axis * (axis @ arm)
        frame[3] = start[2] + along + np.cos(angle) * (arm - along) + np.sin(-angle) * np.cross(axis, arm)
    return frames


def paths_of(system, **settings):
    return PathProblem(system, PathSettings(**settings), "Reference")


def saved(folder, positions, name="path.npz", **arrays):
    np.savez(folder / name, positions=positions, **arrays)
    return str(folder / name)


def in_trajectory(folder, positions, name, box=None, topology=None):
    made = mdtraj.Trajectory(positions, mdtraj.Topology.from_openmm(topology or chain4.topology()))
    if box is not None:
        made.unitcell_vectors = np.repeat(box[None], len(positions), axis=0)
    made.save(str(folder / name))
    return str(folder / name)
