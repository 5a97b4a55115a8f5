r"""The solvent around atoms as features: modified symmetry functions of Jung, Covino & Hummer (2019), eqs. 6 to 8.

.. math::
    G^2_i = \sum_j e^{-\eta(r_{ij}-r_s)^2} f(r_{ij}), \qquad
    G^5_i = \sum_{j<k} (1+\lambda\cos\theta_{jik})^\zeta e^{-\eta[(r_{ij}-r_s)^2+(r_{ik}-r_s)^2]} f(r_{ij}) f(r_{ik})

with :math:`f(r) = 1/(1+\exp[\alpha(r-r_c+1/\sqrt\alpha)])` up to the cutoff :math:`r_c`, and 0 beyond. The paper prints the
last term with the other sign, for which f would fall behind the cutoff only. Each is divided by its mean in an ideal gas of the
same density; a factor :math:`2^\zeta` is left out on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .base import Descriptor, box_of, labels_of, nearest_images, require_possible

__all__ = ["SymmetryFunctions"]

_MOST = 2e7
"""Pairs of neighbors of all atoms and frames that are looked at together."""
_MOST_DISTANCES = 2e8
"""From centers to atoms of a species, in all frames that are looked at together."""


def _power(base: Tensor, exponent: int) -> Tensor:
    """A whole power by repeated squaring, far cheaper than one of any exponent."""
    result = None
    while exponent:
        if exponent % 2:
            result = base if result is None else result * base
        base, exponent = base * base, exponent // 2
    return result


class SymmetryFunctions(Descriptor):
    """Radial and angular symmetry functions of one or more kinds of atoms around each of some atoms.

    For every center and kind, each shell has one radial function and angular ones for every zeta with lambda = 1 and -1.

    Parameters
    ----------
    n_atoms : int
        Of one walker.
    centers : sequence of int
        Atoms to look around.
    species : mapping from name to sequence of int
        Atoms to look for.
    box : array_like of shape (3,) or (3, 3)
        Edges or vectors of the periodic box, which does not change, nm; nearest images are used.
    shells : sequence of float
        Radii r_s, nm.
    cutoff : float
        r_c in nm, at most half the smallest of the box's extents along x, y and z.
    eta_radial, eta_angular : float
        1/nm^2.
    zetas : sequence of int
    alpha : float
        Steepness of the cutoff, 1/nm^2 under the square root and 1/nm in front, as in the paper.
    labels : sequence of str, optional
        A name for each center.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """

    lengths = ("shells", "cutoff", "box")
    atom_lists = ("centers", "species")

    def __init__(
        self,
        n_atoms: int,
        centers: Sequence[int],
        species: Mapping[str, Sequence[int]],
        box: Any,
        shells: Sequence[float],
        cutoff: float,
        eta_radial: float = 200.0,
        eta_angular: float = 120.0,
        zetas: Sequence[int] = (1, 2, 4, 16, 64),
        alpha: float = 150.0,
        labels: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.cutoff, self.alpha = float(cutoff), float(alpha)
        self.etas = float(eta_radial), float(eta_angular)
        self.zetas, self.species = tuple(int(zeta) for zeta in zetas), tuple(species)
        self.shells = tuple(float(shell) for shell in shells)
        vectors = box_of(box)
        self._check(centers, species, vectors, n_atoms)
        n_functions = len(self.shells) * (1 + 2 * len(self.zetas))
        require_possible("symmetry_functions", n_atoms, len(centers) * len(species) * n_functions)
        self.labels = labels_of(labels, [str(center) for center in centers], "center")
        self.register_buffer("centers", torch.as_tensor(list(centers)), persistent=False)
        self.register_buffer("box", vectors, persistent=False)
        self._is_rectangular = torch.equal(vectors, vectors.diagonal().diag())
        for index, atoms in enumerate(species.values()):
            self.register_buffer(f"atoms_{index}", torch.as_tensor(list(atoms)), persistent=False)
        volume = float(vectors.diagonal().prod())
        expected = [self._expected(len(atoms) / volume) for atoms in species.values()]
        self.register_buffer("expected", torch.tensor(np.array(expected), dtype=torch.float32), persistent=False)
        self.n_features = len(centers) * n_functions * len(species)

    def _check(self, centers: Sequence[int], species: Mapping, box: Tensor | None, n_atoms: int) -> None:
        for name, atoms in (("centers", centers), *species.items()):
            if not len(atoms) or len(set(atoms)) != len(atoms) or min(atoms) < 0 or max(atoms) >= n_atoms:
                raise InputError(f"{name} must list different atoms from 0 to {n_atoms - 1}, at least one")
            if name != "centers" and set(atoms) & set(centers):
                raise InputError(f"species {name!r} has atoms that are centers, too: an atom is no neighbor of itself")
        if not species:
            raise InputError("species must name at least one kind of atoms")
        if box is None:
            raise InputError("symmetry_functions need a box, whose volume is that of the gas that they are compared with")
        if not 0.0 < self.cutoff <= 0.5 * float(box.diagonal().min()):
            raise InputError(
                f"cutoff = {self.cutoff} nm must be at most half of each extent of the box, {box.diagonal().tolist()} nm"
            )
        if not self.shells or not all(0.0 <= shell < self.cutoff for shell in self.shells):
            raise InputError(f"shells must be radii from 0 to the cutoff, {self.cutoff} nm, not {list(self.shells)}")
        if min(*self.etas, self.alpha) <= 0.0 or any(zeta < 1 for zeta in self.zetas):
            given = f"{self.etas}, {self.alpha} and {self.zetas}"
            raise InputError(f"eta_radial, eta_angular and alpha must be positive and zetas at least 1, not {given}")

    @property
    def names(self) -> tuple[str, ...]:
        """Center by center, species by species, shell by shell: the radial function, then the angular ones."""
        return tuple(
            f"{function} of {kind} at {shell:g} nm around {label}"
            for label in self.labels
            for kind in self.species
            for shell in self.shells
            for function in ("G2", *(f"G5({zeta},{sign:+d})" for zeta in self.zetas for sign in (1, -1)))
        )

    def _fermi(self, distance: Tensor) -> Tensor:
        inside = torch.sigmoid(-self.alpha * (distance - self.cutoff + self.alpha**-0.5))
        return torch.where(distance <= self.cutoff, inside, torch.zeros_like(inside))

    def _expected(self, density: float) -> np.ndarray:
        """Means in an ideal gas of a density in 1/nm^3, shape ``(n_shells, 1 + 2 * n_zetas)``."""
        from scipy.integrate import quad  # 10 MB that processes without such a descriptor can do without

        def count(shell: float, eta: float) -> float:
            """Mean of a sum over neighbors."""

            def integrand(r: float) -> float:
                fall = 1.0 / (1.0 + np.exp(self.alpha * (r - self.cutoff + self.alpha**-0.5)))
                return 4.0 * np.pi * density * r**2 * np.exp(-eta * (r - shell) ** 2) * fall

            return quad(integrand, 0.0, self.cutoff, points=[shell], limit=200)[0]

        rows = []
        for shell in self.shells:
            pairs = 0.5 * count(shell, self.etas[1]) ** 2  # independent atoms; the mean of ((1 +- cos)/2)^zeta over all angles:
            means = [1.0 / (zeta + 1.0) for zeta in self.zetas for _ in (1, -1)]
            rows.append([count(shell, self.etas[0]), *(pairs * mean for mean in means)])
        return np.array(rows)

    def forward(self, positions: Tensor) -> Tensor:
        """Features ``(n_walkers, n_centers * n_species * n_shells * (1 + 2 * n_zetas))``."""
        most = max(len(getattr(self, f"atoms_{index}")) for index in range(len(self.species)))
        blocks = positions.split(max(1, int(_MOST_DISTANCES / (len(self.centers) * most))))
        parts = [torch.cat([self._around(block, index) for block in blocks]) for index in range(len(self.species))]
        return torch.stack(parts, 2).flatten(1)

    def _around(self, positions: Tensor, species: int) -> Tensor:
        """Of one kind of atoms, shape ``(n, n_centers, n_shells * (1 + 2 * n_zetas))``."""
        atoms = getattr(self, f"atoms_{species}")
        centers, others = positions[:, self.centers], positions[:, atoms]
        nearest = self._nearest(centers, others)
        block = max(1, int(_MOST / (len(self.centers) * nearest.shape[-1] ** 2)))
        pieces = []
        for c, o, n in zip(centers.split(block), others.split(block), nearest.split(block), strict=True):
            picked = torch.gather(o, 1, n.flatten(1)[:, :, None].expand(-1, -1, 3)).reshape(*n.shape, 3)
            pieces.append(self._functions(nearest_images(picked - c[:, :, None], self.box)))
        return (torch.cat(pieces) / self.expected[species].to(positions.dtype)).flatten(2)

    @torch.no_grad()
    def _nearest(self, centers: Tensor, others: Tensor) -> Tensor:
        """Which of the others lie within the cutoff of each center, shape ``(n, n_centers, k)``, the same k for all."""
        squared = self._squared(centers, others)
        most = int((squared <= self.cutoff**2).sum(-1).max().clamp(min=2)) if len(centers) else 2
        return torch.topk(squared, min(most, others.shape[1]), largest=False, sorted=False)[1]

    def _squared(self, centers: Tensor, others: Tensor) -> Tensor:
        """Squared distances ``(n, n_centers, n_others)``; in a rectangular box axis by axis, in a third of the memory."""
        box = self.box.to(centers.dtype)
        if not self._is_rectangular:
            return nearest_images(others[:, None] - centers[:, :, None], self.box).square().sum(-1)
        squared = 0.0
        for axis in range(3):
            away = others[:, None, :, axis] - centers[:, :, None, axis]
            squared = squared + (away - box[axis, axis] * torch.round(away / box[axis, axis])) ** 2
        return squared

    def _functions(self, away: Tensor) -> Tensor:
        """Functions, shape ``(n, n_centers, n_shells, 1 + 2 * n_zetas)``, of vectors to neighbors ``(n, n_centers, k, 3)``."""
        distance = torch.linalg.vector_norm(away, dim=-1)
        direction, fall = away / distance[..., None], self._fermi(distance)
        shells = torch.tensor(self.shells, dtype=away.dtype, device=away.device)[:, None]
        squared = (distance[:, :, None] - shells) ** 2
        radial, weight = (torch.exp(-eta * squared) * fall[:, :, None] for eta in self.etas)
        cosine = direction @ direction.transpose(-1, -2)
        alone = (weight**2).sum(-1)  # of an atom with itself, where the cosine is 1: not a pair
        angular = {}
        for sign in (1, -1):
            power = half = 0.5 * (1.0 + sign * cosine)
            for before, zeta in zip((1, *sorted(self.zetas)), sorted(self.zetas), strict=False):
                power = _power(power, zeta // before) if zeta % before == 0 else _power(half, zeta)
                both = ((weight @ power) * weight).sum(-1)
                angular[zeta, sign] = 0.5 * (both - alone if sign > 0 else both)
        columns = [angular[zeta, sign] for zeta in self.zetas for sign in (1, -1)]
        return torch.stack([radial.sum(-1), *columns], -1)
