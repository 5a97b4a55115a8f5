r"""Which coordinates are admissible: whether :math:`G = J M^{-1} J^T` is the same for all positions of one Q.

Three tests. *Fibre*: positions move at random while Q stays, and G is compared. It is algebraic: zero to rounding, or not.
*Branches*, where that is zero: other positions with the same Q, which no walk may reach, such as those of 9 distances of 5
atoms. *Data*: G about a local linear fit over nearest neighbours in Q, for coordinates of which "nearly" is the question.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ..errors import InputError
from .embedding import Embedding
from .mean_force import independence

__all__ = ["MOST_NEIGHBOURS", "MetricReport", "data_residual", "metric_violation"]

MOST_NEIGHBOURS = 4
"""Coordinates up to which neighbours are near."""

_STEP, _MOVES, _PROJECTIONS = 0.01, 6, 8  # nm; of the walk on a fibre
_SAME, _WALKERS = 1e-9, 200
_ROUNDING = 1e-7  # of G; below that a fibre has one G
_AWAY, _ATTEMPTS = 0.5, 60  # of the extent of the sites; steps back to the fibre
_DEPENDENT, _FOLD = 1e-9, 1e-3
_FEWEST = 500  # frames for neighbours
_QUANTILES = (0.0, 0.01, 0.1, 0.5, 0.9)


@dataclass(frozen=True)
class MetricReport:
    """What is known of the metric condition.

    Attributes
    ----------
    fibre : float
        Root mean square relative change of G on fibres; NaN where no walk stayed on its fibre.
    branches : float
        The same of other positions with the same Q; NaN where `fibre` is not zero already.
    data : float
        Root mean square residual of G, relative to the local G; NaN for more than 4 coordinates or too few frames.
    spread : float
        The same about the mean of all frames: what the residual is to be compared with.
    worst_frame : int
        Where the change on a fibre was largest.
    det_quantiles : dict of float to float
        Of det G relative to its median.
    independence : float
        Median of the least eigenvalue of G scaled to a unit diagonal: 0 where coordinates follow from each other.
    violation : float
        What counts of these: of learned latents `data`, else the largest; 0 where G is the same to rounding.
    tolerance : float
        Violation up to which coordinates pass.
    """

    fibre: float
    branches: float
    data: float
    spread: float
    worst_frame: int
    det_quantiles: dict[float, float]
    independence: float
    violation: float
    tolerance: float

    @property
    def is_dependent(self) -> bool:
        """Whether one coordinate follows from the others."""
        return not self.independence > _DEPENDENT

    @property
    def has_fold(self) -> bool:
        """Whether the frames come near to where det G vanishes."""
        return not self.is_dependent and self.det_quantiles[0.01] < _FOLD

    @property
    def is_admissible(self) -> bool:
        """Whether velocities are right as well, within the tolerance."""
        return not self.is_dependent and self.violation <= self.tolerance

    @property
    def verdict(self) -> str:
        """The same in words."""
        if self.is_dependent:
            return "refused: one coordinate follows from the others, or sites are collinear; take fewer, or other sites"
        percent = "of more than 100 %" if self.violation > 1.0 else f"{100 * self.violation:.2g} %"
        if self.violation == 0.0:
            said = "admissible: Q and its velocities are exact"
        elif self.is_admissible:
            said = f"nearly admissible: Q exact, velocities within {percent}"
        else:
            said = f"not admissible: Q exact, velocities not (violation {percent})"
        return said + ("; frames come near a fold, where det G vanishes" if self.has_fold else "")

    def require(self, strict: bool) -> list[str]:
        """Refuse what cannot be used, and say what is beyond the tolerance, or near a fold.

        Raises
        ------
        ValueError
            For dependent coordinates, and with `strict` for coordinates that are not admissible, or folded.
        """
        if self.is_dependent or (strict and (not self.is_admissible or self.has_fold)):
            where = (
                "" if self.is_dependent else f" (worst in frame {self.worst_frame}); choose others, or leave out strict = true"
            )
            raise InputError(f"the latent coordinates are {self.verdict}{where}")
        return [] if self.is_admissible and not self.has_fold else [f"The latent coordinates are {self.verdict}."]


def metric_violation(embedding: Embedding, positions: np.ndarray, tolerance: float = 0.05, seed: int = 0) -> MetricReport:
    """Test the metric condition.

    Parameters
    ----------
    embedding : Embedding
    positions : ndarray, shape (n, n_atoms, 3), nm
        A sample of equilibrium; a few thousand frames for the test by neighbours.
    tolerance : float
        Relative violation up to which coordinates count as admissible.
    seed : int
        Of the walks, and of the choice of frames.
    """
    generator = torch.Generator().manual_seed(seed)
    sites = embedding.sites(positions)
    coordinates, matrices = embedding.inverse_mass(sites)
    least = independence(matrices).median().item()
    determinants = torch.linalg.det(matrices)
    middle = determinants.median().clamp(min=1e-300)
    quantiles = {q: (torch.quantile(determinants, q) / middle).item() for q in _QUANTILES}
    if not least > _DEPENDENT:
        return MetricReport(np.nan, np.nan, np.nan, np.nan, 0, quantiles, least, np.nan, tolerance)
    chosen = torch.linspace(0, len(sites) - 1, min(_WALKERS, len(sites))).long()
    change = _fibre_change(embedding, sites[chosen], generator)
    fibre, branches = _root_mean_square(change), np.nan
    if fibre < _ROUNDING:
        branches = _root_mean_square(_branch_change(embedding, sites[chosen], generator))
    worst = int(chosen[torch.where(torch.isfinite(change), change, -1.0).argmax()])
    data, spread = np.nan, np.nan
    if embedding.n_coordinates <= MOST_NEIGHBOURS and len(sites) >= _FEWEST:
        data, spread = data_residual(coordinates.numpy(), matrices.numpy(), np.random.default_rng(seed))
    violation = _violation(fibre, branches, data, bool(embedding.latents))
    return MetricReport(fibre, branches, data, spread, worst, quantiles, least, violation, tolerance)


def _violation(fibre: float, branches: float, data: float, is_learned: bool) -> float:
    if fibre < _ROUNDING and not branches >= _ROUNDING:
        return 0.0
    if is_learned and np.isfinite(data):
        return data
    known = [value for value in (fibre, branches, data) if np.isfinite(value)]
    return max(known) if known else np.nan


def _root_mean_square(change: Tensor) -> float:
    known = change[torch.isfinite(change)]
    return known.square().mean().sqrt().item() if len(known) else np.nan


def _fibre_change(embedding: Embedding, sites: Tensor, generator: torch.Generator) -> Tensor:
    """Relative change of G along a random walk at fixed Q, shape ``(n,)``; NaN where the walk left its fibre."""
    target, here = embedding.inverse_mass(sites)[0], sites
    for _ in range(_MOVES):
        _, jacobian = embedding.jacobian(here)
        weighted = jacobian * embedding.inverse_masses
        noise = torch.randn(jacobian[:, 0].shape, generator=generator, dtype=jacobian.dtype) * _STEP
        noise = noise * (embedding.inverse_masses > 0.0)
        solved = torch.linalg.solve(weighted @ jacobian.mT, torch.einsum("bin,bn->bi", jacobian, noise))
        here = here + (noise - torch.einsum("bin,bi->bn", weighted, solved)).unflatten(1, (-1, 3))
        here = _projected(embedding, here, target, _PROJECTIONS)
    return _change(embedding, sites, here)


def _branch_change(embedding: Embedding, sites: Tensor, generator: torch.Generator) -> Tensor:
    """The same of positions that were moved far away, and brought back to their Q; NaN where that failed."""
    extent = (sites - sites.mean(1, keepdim=True)).square().mean().sqrt()
    noise = torch.randn(sites.shape, generator=generator, dtype=sites.dtype) * (_AWAY * extent)
    moves = (embedding.inverse_masses > 0.0).unflatten(0, (-1, 3))
    target = embedding.inverse_mass(sites)[0]
    return _change(embedding, sites, _projected(embedding, sites + noise * moves, target, _ATTEMPTS))


def _projected(embedding: Embedding, sites: Tensor, target: Tensor, iterations: int) -> Tensor:
    """Positions with the coordinates `target`, by Newton's method along rows of the Jacobian."""
    for _ in range(iterations):
        now, jacobian = embedding.jacobian(sites)
        weighted = jacobian * embedding.inverse_masses
        product = weighted @ jacobian.mT
        product = product + 1e-14 * product.diagonal(dim1=1, dim2=2).amax(1)[:, None, None] * torch.eye(product.shape[1])
        solved = torch.linalg.solve_ex(product, now - target).result  # one that is lost is told by its coordinates
        sites = sites - torch.einsum("bin,bi->bn", weighted, solved).unflatten(1, (-1, 3))
    return sites


def _change(embedding: Embedding, before: Tensor, after: Tensor) -> Tensor:
    """Relative change of G, shape ``(n,)``; NaN where coordinates changed as well."""
    target, start = embedding.inverse_mass(before)
    end, matrices = embedding.inverse_mass(after)
    lower = torch.linalg.cholesky(start)
    half = torch.linalg.solve_triangular(lower, matrices - start, upper=False)
    relative = torch.linalg.solve_triangular(lower, half.mT, upper=False)
    change = (relative.square().sum((1, 2)) / embedding.n_coordinates).sqrt()
    off = ((end - target) / target.std(0).clamp(min=1e-12)).abs().amax(1)
    return torch.where(off < _SAME, change, torch.nan)


def data_residual(coordinates: np.ndarray, matrices: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Residual of G about a linear fit over neighbours, and about the mean of all, each relative."""
    n = coordinates.shape[1]
    count = 12 * (n + 1)
    whitening = np.linalg.inv(np.linalg.cholesky(np.cov(coordinates.T).reshape(n, n)))
    white = (coordinates - coordinates.mean(0)) @ whitening.T
    tested = rng.choice(len(white), min(1500, len(white) // 3), replace=False)
    _, neighbours = cKDTree(white).query(white[tested], count + 1)
    neighbours = neighbours[:, 1:]
    design = np.concatenate([np.ones((*neighbours.shape, 1)), white[neighbours] - white[tested][:, None]], 2)
    weights = np.linalg.pinv(design)[:, 0]  # of the neighbours, in what the fit says at the frame itself
    local = np.einsum("tk,tkij->tij", weights, matrices[neighbours])
    mean = matrices.mean(0)
    values, vectors = np.linalg.eigh(0.5 * (local + local.transpose(0, 2, 1)))
    values = np.maximum(values, 1e-6 * np.trace(mean) / n)
    roots = (vectors / np.sqrt(values)[:, None, :]).transpose(0, 2, 1)
    noise = 1.0 + (weights**2).sum(1)  # the fit has an error of its own
    residual = _squares(roots, matrices[tested] - local) / noise
    whole = _squares(np.linalg.inv(np.linalg.cholesky(mean))[None], matrices[tested] - mean)
    return float(np.sqrt(residual.mean() / n)), float(np.sqrt(whole.mean() / n))


def _squares(roots: np.ndarray, differences: np.ndarray) -> np.ndarray:
    return ((roots @ differences @ roots.transpose(0, 2, 1)) ** 2).sum((1, 2))
