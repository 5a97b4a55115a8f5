"""Alanine dipeptide in vacuum without constraints, and kinds of coordinates that check.toml compares."""

import numpy as np
import torch
from openmm import app
from torch import Tensor

from openmm_rare import Dihedral, Range, RareEventSystem
from openmm_rare.descriptors import Descriptor
from openmm_rare.systems import alanine_dipeptide as ala

MASSES = [atom.element.mass._value for atom in ala.topology(0).atoms()]
with np.load(ala.C7EQ) as archive:
    C7EQ = archive["positions"].astype(np.float64)
with np.load(ala.STRUCTURE) as archive:
    EXTENDED = archive["positions"][: ala.N_SOLUTE].astype(np.float64)


def build() -> RareEventSystem:
    """The molecule with all its bonds free, so that any atom may be a site."""
    molecule = ala.topology(0)
    system = ala.force_field().createSystem(molecule, nonbondedMethod=app.NoCutoff, constraints=None, removeCMMotion=False)
    regions = [Range({name: tuple(np.radians(pair)) for name, pair in ala.C7[state].items()}) for state in "AB"]
    return RareEventSystem.from_openmm(
        system,
        C7EQ,
        *regions,
        [Dihedral("phi", ala.PHI), Dihedral("psi", ala.PSI)],
        temperature=600.0,
        friction=5.0,
        timestep=0.001,
        inertial=True,
        topology=molecule,
        name="flexible alanine dipeptide",
    )


class RadiusOfGyration(Descriptor):
    """With masses, or with equal weights."""

    def __init__(self, n_atoms: int, equal: bool = False) -> None:
        super().__init__()
        self.n_features = 1
        weights = torch.ones(n_atoms, dtype=torch.float64) if equal else torch.tensor(MASSES, dtype=torch.float64)
        self.register_buffer("weights", weights / weights.sum(), persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        """Shape (n, 1), nm."""
        weights = self.weights.to(positions.dtype)
        off = positions - torch.einsum("a,bai->bi", weights, positions)[:, None]
        return torch.einsum("a,bai->b", weights, off**2).sqrt()[:, None]


class RootMeanSquareDeviation(Descriptor):
    """From one or two structures, after superposition, with masses or equal weights."""

    def __init__(self, n_atoms: int, structures: int = 1, equal: bool = False) -> None:
        super().__init__()
        self.n_features = structures
        weights = torch.ones(n_atoms, dtype=torch.float64) if equal else torch.tensor(MASSES, dtype=torch.float64)
        self.register_buffer("weights", weights / weights.sum(), persistent=False)
        given = torch.as_tensor(np.stack([C7EQ + 0.02, EXTENDED][:structures]))
        self.register_buffer("references", self._centred(given), persistent=False)

    def _centred(self, x: Tensor) -> Tensor:
        return x - torch.einsum("a,bai->bi", self.weights.to(x.dtype), x)[:, None]

    def forward(self, positions: Tensor) -> Tensor:
        """Shape (n, structures), nm."""
        off, weights, columns = self._centred(positions), self.weights.to(positions.dtype), []
        for reference in self.references.to(positions.dtype):
            covariance = torch.einsum("bai,aj,a->bij", off, reference, weights)
            values, sign = torch.linalg.svdvals(covariance), torch.sign(torch.linalg.det(covariance).detach())
            trace = values[:, 0] + values[:, 1] + sign * values[:, 2]
            squares = torch.einsum("a,bai->b", weights, off**2) + torch.einsum("a,ai->", weights, reference**2)
            columns.append((squares - 2.0 * trace).clamp(min=1e-12).sqrt())
        return torch.stack(columns, 1)


class Turns(Descriptor):
    """Dihedral angles themselves, radians."""

    atoms_in_rows = {"atoms": 4}  # noqa: RUF012

    def __init__(self, n_atoms: int, atoms: list[list[int]]) -> None:
        super().__init__()
        self.n_features = len(atoms)
        self.register_buffer("atoms", torch.as_tensor(atoms), persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        """Shape (n, n_dihedrals)."""
        a, b, c, d = (positions[:, column] for column in self.atoms.unbind(1))
        axis = torch.nn.functional.normalize(c - b, dim=-1)
        v, w = (each - (each * axis).sum(-1, keepdim=True) * axis for each in (a - b, d - c))
        return torch.atan2((torch.linalg.cross(axis, v) * w).sum(-1), (v * w).sum(-1))


class SomeDistances(Descriptor):
    """Distances of some pairs to a power, or combinations of them."""

    atoms_in_rows = {"pairs": 2}  # noqa: RUF012

    def __init__(
        self, n_atoms: int, pairs: list[list[int]], power: float = 1.0, matrix: list[list[float]] | None = None
    ) -> None:
        super().__init__()
        self.power, self.n_features = power, len(pairs) if matrix is None else len(matrix)
        self.register_buffer("pairs", torch.as_tensor(pairs), persistent=False)
        self.register_buffer("matrix", None if matrix is None else torch.tensor(matrix).double(), persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        """Shape (n, n_features)."""
        one, other = self.pairs.unbind(1)
        values = torch.linalg.vector_norm(positions[:, one] - positions[:, other], dim=-1) ** self.power
        return values if self.matrix is None else values @ self.matrix.T.to(values.dtype)
