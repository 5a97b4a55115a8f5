r"""The mean force of latent coordinates, frame by frame.

For coordinates :math:`Q = f(q)`, and A their potential of mean force, :math:`-\partial A/\partial Q_j = E[g_j | f(q) = Q]` with

.. math:: g = W F + kT\,\nabla\cdot W, \qquad W = S J K, \quad S = (J K J^T)^{-1},

.. math:: \nabla\cdot W = S\,\bigl[\Delta_K f - \sum_b D_{W_b} (J K J^T)_{\cdot b}\bigr],

for any constant K; see "Latent Langevin" in docs/theory.md. No linear solve is differentiated: S is differentiated by hand.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..units import KB
from .embedding import Embedding

__all__ = ["independence", "local_mean_force"]

_BLOCK = 4096  # frames at once
_DEPENDENT = 1e-9


def independence(matrices: Tensor) -> Tensor:
    """Least eigenvalue of G scaled to a unit diagonal, shape ``(n,)``: 0 where coordinates depend on each other."""
    diagonal = matrices.diagonal(dim1=1, dim2=2).clamp(min=1e-300).sqrt()
    return torch.linalg.eigvalsh(matrices / (diagonal[:, :, None] * diagonal[:, None, :]))[:, 0]


def local_mean_force(
    embedding: Embedding,
    positions: np.ndarray,
    forces: np.ndarray,
    temperature_k: float,
    weight: np.ndarray | None = None,
    probes: int = 0,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Mean force g of each frame, and its coordinates Q.

    Parameters
    ----------
    embedding : Embedding
    positions : ndarray, shape (n, n_atoms, 3), nm
    forces : ndarray, shape (n, n_atoms, 3), kJ/mol/nm
        Of the unbiased System, without those of constraints.
    temperature_k : float
    weight : ndarray, shape (n_sites,), optional
        K of each site; default its inverse mass. The mean does not depend on it.
    probes : int
        Random vectors for the Laplacian (Hutchinson's estimate); 0: all axes, exactly.
    seed : int
        Of these.

    Returns
    -------
    g, Q : Tensor of float64, shape (n, n_coordinates)

    Raises
    ------
    ValueError
        If coordinates depend on each other in a frame, as all distances of collinear sites do.
    """
    sites, site_forces = embedding.sites(positions), embedding.site_forces(forces).flatten(1)
    k = embedding.inverse_masses
    if weight is not None:
        k = torch.where(k > 0.0, torch.as_tensor(np.repeat(weight, 3), dtype=k.dtype), 0.0)
    generator = torch.Generator().manual_seed(seed)
    blocks = []
    for start in range(0, len(sites), _BLOCK):
        block = slice(start, start + _BLOCK)
        blocks.append(_block(embedding, sites[block], site_forces[block], KB * temperature_k, k, probes, generator, start))
    g, coordinates = (torch.cat(each) for each in zip(*blocks, strict=True))
    return g, coordinates


def _block(
    embedding: Embedding,
    sites: Tensor,
    forces: Tensor,
    kt: float,
    k: Tensor,
    probes: int,
    generator: torch.Generator,
    first: int,
) -> tuple[Tensor, Tensor]:
    sites = sites.detach().requires_grad_(True)
    coordinates, differentiable = embedding.jacobian(sites, differentiable=True)
    jacobian = differentiable.detach()
    product = (jacobian * k) @ jacobian.mT
    dependent = independence(product) < _DEPENDENT
    if not torch.isfinite(product).all() or dependent.any():
        frame = first + int(torch.argmax(dependent.double()))
        raise InputError(
            f"the latent coordinates depend on each other in frame {frame}: sites are collinear or coincide there, or one "
            "coordinate follows from the others; choose fewer coordinates, or other sites"
        )
    inverse = torch.linalg.inv(product)
    w = inverse @ (jacobian * k)
    turned = [[_second(differentiable[:, a], w[:, c], sites) for a in range(w.shape[1])] for c in range(w.shape[1])]
    hw = torch.stack([torch.stack(row, 1) for row in turned], 1)  # H_a W_c, at [:, c, a]
    laplacian = torch.stack([_laplacian(row, sites, k, probes, generator) for row in differentiable.unbind(1)], 1)
    along = torch.einsum("bcak,k,bck->ba", hw, k, jacobian) + torch.einsum("bak,k,bcck->ba", jacobian, k, hw)
    g = torch.einsum("bjk,bk->bj", w, forces) + kt * torch.einsum("bja,ba->bj", inverse, laplacian - along)
    return g, coordinates.detach()


def _second(row: Tensor, vector: Tensor, sites: Tensor) -> Tensor:
    """Hessian of the coordinate with this gradient, times a vector ``(n, 3 n_sites)``."""
    if not row.requires_grad:  # the coordinate is linear
        return torch.zeros_like(vector)
    return torch.autograd.grad((row * vector).sum(), sites, retain_graph=True)[0].flatten(1)


def _laplacian(row: Tensor, sites: Tensor, k: Tensor, probes: int, generator: torch.Generator) -> Tensor:
    r""":math:`\sum_k K_k \partial_{kk} f`, shape ``(n,)``."""
    total = torch.zeros(len(row), dtype=row.dtype)
    if probes:
        for _ in range(probes):
            signs = 2.0 * torch.randint(0, 2, row.shape, generator=generator).to(row) - 1.0
            vector = signs * k.sqrt()
            total += (_second(row, vector, sites) * vector).sum(1) / probes
        return total
    for axis in torch.nonzero(k).flatten().tolist():
        unit = torch.zeros_like(k)
        unit[axis] = 1.0
        total += k[axis] * _second(row, unit.expand_as(row), sites)[:, axis]
    return total
