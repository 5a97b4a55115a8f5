"""Internal coordinates of molecules as features: bonds, angles and dihedrals of some of the atoms (Jung et al., SI)."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .base import Descriptor, atom_rows, box_of, labels_of, nearest_images

__all__ = ["Dihedrals", "InternalCoordinates"]


def _difference(positions: Tensor, first: Tensor, second: Tensor, box: Tensor | None) -> Tensor:
    return nearest_images(positions[:, second] - positions[:, first], box)


def _normalized(vectors: Tensor) -> Tensor:
    return vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)


def _joined(atoms: Sequence[int]) -> str:
    return "-".join(str(atom) for atom in atoms)


class Dihedrals(Descriptor):
    r"""Sine and cosine pairs :math:`\tfrac12(\sin\phi+1), \tfrac12(\cos\phi+1)` of dihedral angles.

    Parameters
    ----------
    n_atoms : int
        Of one walker.
    atoms : sequence of four indices each
    labels : sequence of str, optional
        A name for each angle.
    box : array_like of shape (3,) or (3, 3), or "none", optional
        Edges or vectors of a periodic box, nm, whose nearest images count.
    """

    lengths = ("box",)
    atoms_in_rows = MappingProxyType({"atoms": 4})

    def __init__(
        self, n_atoms: int, atoms: Sequence[Sequence[int]], labels: Sequence[str] | None = None, box: Any = None
    ) -> None:
        super().__init__()
        self.register_buffer("box", box_of(box), persistent=False)
        rows = atom_rows("dihedrals", atoms, 4, n_atoms)
        self.register_buffer("atoms", torch.as_tensor(rows), persistent=False)
        self.labels = labels_of(labels, [_joined(row) for row in rows], "dihedral")
        self.n_features = 2 * len(self.atoms)

    @property
    def names(self) -> tuple[str, ...]:
        """All sines, then all cosines."""
        return tuple(f"{part} {label}" for part in ("sin", "cos") for label in self.labels)

    def forward(self, positions: Tensor) -> Tensor:
        """Features ``(n_walkers, 2 * n_dihedrals)``: all sines, then all cosines."""
        a, b, c, d = self.atoms.unbind(1)
        b0, b2 = _difference(positions, b, a, self.box), _difference(positions, c, d, self.box)
        axis = _normalized(_difference(positions, b, c, self.box))
        v = b0 - (b0 * axis).sum(-1, keepdim=True) * axis
        w = b2 - (b2 * axis).sum(-1, keepdim=True) * axis
        cosine, sine = (v * w).sum(-1), (torch.linalg.cross(axis, v) * w).sum(-1)
        norm = torch.sqrt(cosine**2 + sine**2)
        return torch.cat([0.5 * (sine / norm + 1.0), 0.5 * (cosine / norm + 1.0)], 1)


class InternalCoordinates(Descriptor):
    r"""Bonds r in nm, angles as :math:`\tfrac12(\cos\theta+1)`, dihedrals as :class:`Dihedrals`; no other atom is looked at.

    Without a box a molecule must be whole, as OpenMM keeps it.

    Parameters
    ----------
    n_atoms : int
        Of one walker.
    bonds, angles, dihedrals : sequence of two, three and four indices each
        :func:`openmm_rare.structure.internal_coordinates.internal_coordinates` finds those of a molecule.
    labels : sequence of str, optional
        A name for each of them in that order.
    box : array_like, optional
        As for :class:`Dihedrals`.
    """

    lengths = ("box",)
    atoms_in_rows = MappingProxyType({"bonds": 2, "angles": 3, "dihedrals": 4})

    def __init__(
        self,
        n_atoms: int,
        bonds: Sequence[Sequence[int]] = (),
        angles: Sequence[Sequence[int]] = (),
        dihedrals: Sequence[Sequence[int]] = (),
        labels: Sequence[str] | None = None,
        box: Any = None,
    ) -> None:
        super().__init__()
        self.register_buffer("box", box_of(box), persistent=False)
        self._count = {}
        for name, given in (("bonds", bonds), ("angles", angles), ("dihedrals", dihedrals)):
            rows = atom_rows(name, given, self.atoms_in_rows[name], n_atoms)
            self._count[name] = len(rows)
            self.register_buffer(name, torch.as_tensor(rows), persistent=False)
        if not sum(self._count.values()):
            raise InputError("internal_coordinates needs at least one of bonds, angles and dihedrals")
        default = [_joined(row) for name in self._count for row in getattr(self, name).tolist()]
        self.labels = labels_of(labels, default, "bond, angle and dihedral")
        of_dihedrals = self.labels[len(default) - self._count["dihedrals"] :]
        self._dihedrals = Dihedrals(n_atoms, dihedrals, of_dihedrals, box)
        self.n_features = self._count["bonds"] + self._count["angles"] + self._dihedrals.n_features

    @property
    def names(self) -> tuple[str, ...]:
        """Bonds, cosines of angles, sines and then cosines of dihedrals."""
        n_bonds, n_angles = self._count["bonds"], self._count["angles"]
        bonds, angles = self.labels[:n_bonds], self.labels[n_bonds : n_bonds + n_angles]
        return (*(f"r {label}" for label in bonds), *(f"cos {label}" for label in angles), *self._dihedrals.names)

    def forward(self, positions: Tensor) -> Tensor:
        """Features ``(n_walkers, n_bonds + n_angles + 2 * n_dihedrals)``."""
        lengths = torch.linalg.vector_norm(_difference(positions, *self.bonds.unbind(1), self.box), dim=-1)
        one, center, other = self.angles.unbind(1)
        sides = (_normalized(_difference(positions, center, end, self.box)) for end in (one, other))
        cosines = torch.stack(tuple(sides)).prod(0).sum(-1)
        return torch.cat([lengths, 0.5 * (cosines + 1.0), self._dihedrals(positions)], 1)
