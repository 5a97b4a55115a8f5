"""Latent coordinates: a map from positions to a few numbers Q, its Jacobian, and the inverse mass that Q has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import openmm
import torch
from torch import Tensor, nn

from ..committor.networks import MLP, build_network
from ..descriptors.base import DESCRIPTOR_KINDS
from ..descriptors.build import build_descriptor
from ..descriptors.group_centers import center_weights
from ..errors import InputError
from ..structure.constraints import constraints_of

__all__ = ["Embedding"]


class Embedding(nn.Module):
    r"""Coordinates :math:`Q = f(q)` of a descriptor, or of a network of its features, in double precision.

    A descriptor sees atoms or centers of mass of groups: its *sites*. Groups move as one, so that all that follows needs the
    masses and total forces of sites only: :math:`G = J M^{-1} J^T`, the inverse mass of Q (arXiv:2510.25773), is that of all
    atoms.

    Parameters
    ----------
    spec : mapping
        Of the descriptor, complete. ``group_centers`` and ``subset`` at its top say what the sites are; kinds that list atoms
        in rows, such as dihedrals, have these; others all atoms.
    masses : sequence of float, shape (n_atoms,)
        Da.
    dimensions : int
        1, 2 or 3: along how many axes atoms move.
    latents : int
        Outputs of the network of features; 0: the features are the coordinates.
    hidden : sequence of int
        Widths of that network.

    Attributes
    ----------
    n_coordinates : int
    groups : list of list of int
        Atoms of each site.
    site_masses : Tensor, shape (n_sites,), Da
    inverse_masses : Tensor, shape (3 n_sites,), 1/Da
        0 along axes on which nothing moves.
    feature_mean, feature_scale : Tensor, shape (n_features,)
        By which networks standardize features.

    Raises
    ------
    ValueError
        If the descriptor is not possible, or a site has no mass.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        masses: Sequence[float],
        dimensions: int = 3,
        latents: int = 0,
        hidden: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.spec, self.masses = dict(spec), [float(mass) for mass in masses]
        self.dimensions, self.latents, self.hidden = int(dimensions), int(latents), tuple(int(width) for width in hidden)
        self._feature_names = build_descriptor(spec, len(self.masses)).names  # and says what is wrong with it
        self.groups, self.part = _sites(spec, len(self.masses))
        own = [[self.masses[atom] for atom in group] for group in self.groups]
        without = [group for group, each in zip(self.groups, own, strict=True) if not min(each) > 0.0]
        if without:
            raise InputError(
                f"atoms {without[0]} of the latent coordinates have no mass: leave out virtual sites and fixed particles"
            )
        self._atoms = sorted(atom for group in self.groups for atom in group)
        place = {atom: column for column, atom in enumerate(self._atoms)}
        weights = center_weights([[place[atom] for atom in group] for group in self.groups], own, len(self._atoms))
        self._weights, self._members = weights, (weights > 0.0).astype(np.float64)
        self.descriptor = build_descriptor(self.part, len(self.groups)).double()
        self.site_masses = torch.tensor([sum(each) for each in own], dtype=torch.float64)
        moves = torch.arange(3) < self.dimensions
        self.inverse_masses = (moves / self.site_masses[:, None]).reshape(-1)
        n_features = self.descriptor.n_features
        if not n_features:
            raise InputError(
                f"the descriptor {self.part.get('kind')!r} of {len(self.groups)} sites has no coordinates: give more"
            )
        self.register_buffer("feature_mean", torch.zeros(n_features, dtype=torch.float64))
        self.register_buffer("feature_scale", torch.ones(n_features, dtype=torch.float64))
        self.n_coordinates = self.latents or n_features
        self.encoder = build_network(MLP, n_features, self.hidden, self.latents).double() if self.latents else None
        self.requires_grad_(False)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the coordinates."""
        if self.latents:
            return tuple(f"latent {number + 1}" for number in range(self.latents))
        return self._feature_names

    @property
    def sees_all_distances(self) -> bool:
        """Whether the coordinates are all pair distances of so few sites that nothing else than their shape matters."""
        is_plain = self.part.get("kind") == "pair_distances" and not self.latents
        within_reach = len(self.groups) == 2 or self.part.get("box") in (None, "none")  # images need not close a triangle
        return is_plain and within_reach and 2 <= len(self.groups) <= self.dimensions + 1

    def sites(self, positions: np.ndarray) -> Tensor:
        """Centers of mass of the sites ``(n, n_sites, 3)``, nm, of positions ``(n, n_atoms, 3)``."""
        return torch.as_tensor(self._weights @ np.asarray(positions[:, self._atoms], dtype=np.float64))

    def site_forces(self, forces: np.ndarray) -> Tensor:
        """Total force on each site ``(n, n_sites, 3)``, kJ/mol/nm, of forces ``(n, n_atoms, 3)``."""
        return torch.as_tensor(self._members @ np.asarray(forces[:, self._atoms], dtype=np.float64))

    def features_of_sites(self, sites: Tensor) -> Tensor:
        """What the descriptor gives, ``(n, n_features)``."""
        return self.descriptor(sites)

    def of_sites(self, sites: Tensor) -> Tensor:
        """Coordinates ``(n, n_coordinates)`` of centers of sites ``(n, n_sites, 3)``."""
        features = self.features_of_sites(sites)
        return features if self.encoder is None else self.encoder((features - self.feature_mean) / self.feature_scale)

    def coordinates(self, positions: np.ndarray) -> np.ndarray:
        """Coordinates ``(n, n_coordinates)`` of positions ``(n, n_atoms, 3)``, nm."""
        with torch.no_grad():
            return self.of_sites(self.sites(positions)).numpy()

    def standardized(self, coordinates: Tensor) -> Tensor:
        """Coordinates with mean 0 and standard deviation 1 over a typical sample; latents are made like that."""
        return coordinates if self.latents else (coordinates - self.feature_mean) / self.feature_scale

    def scale(self) -> Tensor:
        """What one unit of :meth:`standardized` is, shape ``(n_coordinates,)``."""
        return torch.ones(self.latents, dtype=torch.float64) if self.latents else self.feature_scale

    def standardize(self, features: Tensor) -> None:
        """Set the scaling from features ``(n, n_features)`` of a sample."""
        self.feature_mean.copy_(features.mean(0))
        self.feature_scale.copy_(features.std(0).clamp(min=1e-12))

    def jacobian(self, sites: Tensor, differentiable: bool = False) -> tuple[Tensor, Tensor]:
        """Coordinates ``(n, n_coordinates)`` and their derivatives ``(n, n_coordinates, 3 n_sites)``.

        Row by row: no tangent of a batched solve is taken anywhere (torch 2.13 returns wrong ones).
        """
        sites = sites if differentiable else sites.detach().requires_grad_(True)
        coordinates = self.of_sites(sites)
        rows = [
            torch.autograd.grad(column.sum(), sites, retain_graph=True, create_graph=differentiable)[0].flatten(1)
            for column in coordinates.unbind(1)
        ]
        jacobian = torch.stack(rows, 1)
        return (coordinates, jacobian) if differentiable else (coordinates.detach(), jacobian)

    def inverse_mass(self, sites: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates, and :math:`G = J M^{-1} J^T` of shape ``(n, n_coordinates, n_coordinates)``."""
        coordinates, jacobian = self.jacobian(sites)
        return coordinates, (jacobian * self.inverse_masses) @ jacobian.mT

    def require_free_sites(self, system: openmm.System) -> None:
        """Refuse constraints that sites cannot move without changing.

        Inside a group they are harmless: the group moves as a rigid body. So are those of atoms that no coordinate sees.

        Raises
        ------
        ValueError
            If a constraint joins a site with something else.
        """
        site = {atom: number for number, group in enumerate(self.groups) for atom in group}
        for one, other in constraints_of(system)[0].tolist():
            if site.get(one) != site.get(other):
                raise InputError(
                    f"the constraint between atoms {one} and {other} crosses the boundary of a group of the coordinates: "
                    "put both into one group (group_centers), or build the System without constraints there"
                )

    def metadata(self) -> dict[str, Any]:
        """What the constructor needs, JSON-able."""
        return {
            "descriptor": self.spec,
            "n_atoms": len(self.masses),
            "masses": self.masses,
            "dimensions": self.dimensions,
            "latents": self.latents,
            "encoder_hidden": list(self.hidden),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Embedding:
        """Inverse of :meth:`metadata`."""
        names = ("descriptor", "masses", "dimensions", "latents", "encoder_hidden")
        return cls(*(metadata[name] for name in names))


def _sites(spec: Mapping[str, Any], n_atoms: int) -> tuple[list[list[int]], dict[str, Any]]:
    """Atoms of each site, and what is to be described of them."""
    if spec.get("kind") == "group_centers":
        return [list(group) for group in spec["groups"]], dict(spec["part"])
    if spec.get("kind") == "subset":
        return [[atom] for atom in spec["atoms"]], dict(spec["part"])
    kind = DESCRIPTOR_KINDS[spec["kind"]]
    if kind.atoms_in_rows and not kind.atom_lists:
        rows = {key: spec[key] for key in kind.atoms_in_rows if key in spec}
        atoms = sorted({atom for each in rows.values() for row in each for atom in row})
        place = {atom: number for number, atom in enumerate(atoms)}
        moved = {key: [[place[atom] for atom in row] for row in each] for key, each in rows.items()}
        return [[atom] for atom in atoms], {**spec, **moved}
    return [[atom] for atom in range(n_atoms)], dict(spec)
