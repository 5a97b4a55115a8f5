"""Which atoms matter: how far the committor's logit changes when each of them moves, in the transition state ensemble."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..committor.base import Committor
from ..errors import InputError

__all__ = ["AtomContributions", "atom_contributions", "transition_states"]

_BATCH = 64


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
