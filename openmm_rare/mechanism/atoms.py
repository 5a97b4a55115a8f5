"""Which atoms matter: how far the committor's logit changes when each of them moves, in the transition state ensemble."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from openmm import app, unit

from ..committor.base import Committor
from ..errors import InputError
from ..io.files import write_text

if TYPE_CHECKING:
    from openmm.app import Topology

__all__ = ["AtomContributions", "atom_contributions", "plain_topology", "transition_states", "write_pdb"]

_BATCH = 64
_MOST_B_FACTOR = 99.99


@dataclass(frozen=True, eq=False)
class AtomContributions:
    """Contributions of the atoms (Jung, Covino & Hummer 2019, eq. 5), averaged over transition states.

    Attributes
    ----------
    share, stderr : ndarray, shape (n_atoms,)
        Mean of :math:`|\\nabla_n q| / \\sum_m |\\nabla_m q|`, and its standard error over the structures.
    representative : int
        The structure whose shares are nearest to the mean.
    n_structures : int
    """

    share: np.ndarray
    stderr: np.ndarray
    representative: int
    n_structures: int

    @property
    def relative(self) -> np.ndarray:
        """Share relative to the largest, shape ``(n_atoms,)``."""
        return self.share / self.share.max()


def transition_states(logits: np.ndarray, width: float, least: int = 10) -> np.ndarray:
    """Indices of the configurations with ``|q| < width``, nearest to 0 first; the `least` nearest if they are fewer."""
    order = np.argsort(np.abs(logits), kind="stable")
    return order[: max(int((np.abs(logits) < width).sum()), min(least, len(order)))]


def atom_contributions(model: Committor, positions: np.ndarray, weights: np.ndarray | None = None) -> AtomContributions:
    """Contribution of every atom to the logit, over structures of the transition state ensemble.

    Parameters
    ----------
    model : CommittorModel or CommittorEnsemble
    positions : ndarray, shape (n, n_atoms, 3), nm
    weights : ndarray, shape (n,), optional
        Of the structures, those of the paths that they are from.

    Raises
    ------
    ValueError
        If there is no structure, or the logit does not change with any atom.
    """
    if not len(positions):
        raise InputError("there are no transition states to average over")
    lengths = np.concatenate([_gradient_lengths(model, positions[i : i + _BATCH]) for i in range(0, len(positions), _BATCH)])
    total = lengths.sum(1, keepdims=True)
    if not (total > 0.0).all():
        raise InputError("the committor model does not change with the positions of any atom: train it first")
    shares = lengths / total
    n, part = len(shares), np.full(len(shares), 1.0 / len(shares)) if weights is None else weights / weights.sum()
    mean = part @ shares
    stderr = np.sqrt(n / (n - 1.0) * (part**2 @ (shares - mean) ** 2)) if n > 1 else np.full(len(mean), np.nan)
    nearest = int(np.argmin(((shares - mean) ** 2).sum(1)))
    return AtomContributions(mean, stderr, nearest, len(shares))


def _gradient_lengths(model: Committor, positions: np.ndarray) -> np.ndarray:
    """Length of the gradient of q for every atom, shape ``(n, n_atoms)``, 1/nm."""
    x = torch.tensor(positions, dtype=torch.float32, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.logit(x).sum(), x)
    return np.linalg.norm(gradient.numpy().astype(np.float64), axis=2)


def plain_topology(n_atoms: int) -> Topology:
    """A topology for a model without one: one residue of argon."""
    topology = app.Topology()
    chain = topology.addChain()
    residue = topology.addResidue("MOL", chain)
    for number in range(n_atoms):
        topology.addAtom(f"P{number + 1}", app.element.argon, residue)
    return topology


def write_pdb(path: str | Path, topology: Topology | None, positions: np.ndarray, relative: np.ndarray) -> Path:
    """Write a structure whose B-factors are the relative contributions of the atoms, from 0 to 99.99.

    Parameters
    ----------
    path : path
    topology : openmm.app.Topology or None
        None for a model system.
    positions : ndarray, shape (n_atoms, 3), nm
    relative : ndarray, shape (n_atoms,)
        From 0 to 1.

    Returns
    -------
    Path
    """
    topology = topology or plain_topology(len(positions))
    frame = unit.Quantity(np.asarray(positions, dtype=np.float64), unit.nanometer)
    stream = io.StringIO()
    app.PDBFile.writeFile(topology, frame, stream, keepIds=True)
    lines = _with_b_factors(stream.getvalue(), _MOST_B_FACTOR * np.asarray(relative))
    write_text(path, "\n".join(lines) + "\n")
    return Path(path)


def _with_b_factors(text: str, values: np.ndarray) -> list[str]:
    """Lines of a PDB file with these numbers in columns 61 to 66: OpenMM's writer leaves them at 0."""
    lines, atom = [], 0
    for line in text.splitlines():
        if line.startswith(("ATOM", "HETATM")):
            line, atom = f"{line[:60]}{values[atom]:6.2f}{line[66:]}", atom + 1
        lines.append(line)
    return lines
