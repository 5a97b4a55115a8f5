"""Metrics, which coordinates are admissible, and which power of the metric is in the density."""

import numpy as np
import openmm
import pytest
import torch

import trimer
from openmm_rare.descriptors.base import Descriptor
from openmm_rare.errors import InputError
from openmm_rare.latent.embedding import Embedding
from openmm_rare.latent.metric import ConstantMetric, LearnedMetric, PairDistanceMetric, metric_of
from openmm_rare.latent.orbits import is_shape, log_inertia, pairs_of
from openmm_rare.latent.violation import metric_violation
from openmm_rare.systems import alanine_dipeptide
from stats import assert_within


def frames(n=300, seed=0):
    """Alanine dipeptide with every atom moved: for algebraic tests any positions serve."""
    problem = alanine_dipeptide.build(solvent="none", transition="phi")
    noise = np.random.default_rng(seed).normal(scale=0.03, size=(n, len(problem.positions), 3))
    return problem, problem.positions + noise


PROBLEM, FRAMES = frames()
with np.load(alanine_dipeptide.STRUCTURE) as archive:
    REFERENCES = {"bent": FRAMES[0], "extended": archive["positions"][:22]}
MASSES = np.array([PROBLEM.system.getParticleMass(i)._value for i in range(22)])


class Gyration(Descriptor):
    """Radius of gyration with masses, or with equal weights."""

    def __init__(self, n_atoms, equal=False):
        super().__init__()
        self.n_features = 1
        self.weights = torch.ones(n_atoms, dtype=torch.float64) if equal else torch.as_tensor(MASSES)
        self.weights = self.weights / self.weights.sum()

    def forward(self, positions):
        off = positions - torch.einsum("a,bai->bi", self.weights, positions)[:, None]
        return torch.einsum("a,bai->b", self.weights, off**2).sqrt()[:, None]


class Deviation(Descriptor):
    """Root mean square deviation from frames, after superposition."""

    def __init__(self, n_atoms, references, equal=False):
        super().__init__()
        self.n_features = len(references)
        self.references = torch.as_tensor(np.stack([REFERENCES[each] for each in references]))
        self.weights = torch.ones(n_atoms, dtype=torch.float64) if equal else torch.as_tensor(MASSES)
        self.weights = self.weights / self.weights.sum()

    def centred(self, x):
        return x - torch.einsum("a,...ai->...i", self.weights, x)[..., None, :]

    def forward(self, positions):
        off, columns = self.centred(positions), []
        for reference in self.centred(self.references):
            covariance = torch.einsum("bai,aj,a->bij", off, reference, self.weights)
            values = torch.linalg.svdvals(covariance)
            sign = torch.sign(torch.linalg.det(covariance).detach())
            trace = values[:, 0] + values[:, 1] + sign * values[:, 2]
            squares = torch.einsum("a,bai->b", self.weights, off**2) + torch.einsum("a,ai->", self.weights, reference**2)
            columns.append((squares - 2.0 * trace).sqrt())
        return torch.stack(columns, 1)


class Turns(Descriptor):
    """Dihedral angles themselves."""

    def __init__(self, n_atoms, atoms):
        super().__init__()
        self.atoms, self.n_features = torch.as_tensor(atoms), len(atoms)

    def forward(self, positions):
        a, b, c, d = (positions[:, column] for column in self.atoms.unbind(1))
        axis = torch.nn.functional.normalize(c - b, dim=-1)
        v, w = (each - (each * axis).sum(-1, keepdim=True) * axis for each in (a - b, d - c))
        return torch.atan2((torch.linalg.cross(axis, v) * w).sum(-1), (v * w).sum(-1))


class Distances3(Descriptor):
    """Some distances, or powers of them, or combinations."""

    def __init__(self, n_atoms, pairs, power=1.0, matrix=None):
        super().__init__()
        self.pairs, self.power = torch.as_tensor(pairs), power
        self.matrix = None if matrix is None else torch.as_tensor(matrix, dtype=torch.float64)
        self.n_features = len(pairs) if matrix is None else len(matrix)

    def forward(self, positions):
        one, other = self.pairs.unbind(1)
        values = torch.linalg.vector_norm(positions[:, one] - positions[:, other], dim=-1) ** self.power
        return values if self.matrix is None else values @ self.matrix.T


def some(pairs, **more):
    return {"kind": "distances3", "pairs": pairs, **more}


def among(atoms):
    return [[atoms[i], atoms[j]] for i, j in pairs_of(len(atoms))]


GROUPS = [[0, 1, 2, 3, 4, 5], [16, 17, 18, 19, 20, 21], [10, 11, 12, 13]]
CENTERS = {"kind": "group_centers", "groups": GROUPS, "masses": [MASSES[group].tolist() for group in GROUPS]}
QUADRUPLE = among((1, 10, 15, 18))
ADMISSIBLE = {
    "center of a group": {
        **CENTERS,
        "part": {"kind": "coordinates", "columns": [0, 1, 2]},
    },
    "combinations of coordinates": {"kind": "coordinates", "columns": [0, 4, 9], "matrix": [[1, 0.5, -2], [0, 2, 1]]},
    "distance of two groups": {
        **CENTERS,
        "groups": GROUPS[:2],
        "masses": CENTERS["masses"][:2],
        "part": {"kind": "pair_distances"},
    },
    "distances of three groups": {**CENTERS, "part": {"kind": "pair_distances"}},
    "one distance": some([[1, 18]]),
    "two disjoint distances": some([[1, 18], [10, 15]]),
    "all of a triple": some(among((1, 10, 18))),
    "their inverses": some(among((1, 10, 18)), power=-1.0),
    "all of a quadruple": some(QUADRUPLE),
    "Rg with masses": {"kind": "gyration"},
    "RMSD with masses": {"kind": "deviation", "references": ["bent"]},
}
INADMISSIBLE = {
    "two that share an atom": some([[1, 18], [1, 10]]),
    "five of six": some(QUADRUPLE[:5]),
    "an angle": {"kind": "internal_coordinates", "angles": [[4, 8, 14]]},
    "phi": {"kind": "turns", "atoms": [[4, 6, 8, 14]]},
    "phi and psi": {"kind": "turns", "atoms": [[4, 6, 8, 14], [6, 8, 14, 16]]},
    "Rg with equal weights": {"kind": "gyration", "equal": True},
    "RMSD with equal weights": {"kind": "deviation", "references": ["bent"], "equal": True},
    "two RMSDs": {"kind": "deviation", "references": ["bent", "extended"]},
    "a coordination number": some([[1, 18], [10, 18], [1, 10]], power=-8.0, matrix=[[1e-4, 1e-4, 1e-4]]),
    "combinations of distances": some(QUADRUPLE, matrix=[[1, 1, 0, 0, 0, 1], [0, 1, -1, 0.5, 0, 0]]),
}


def violation(spec):
    x = FRAMES[1:] if spec["kind"] == "deviation" else FRAMES
    return metric_violation(Embedding(spec, MASSES), x)


@pytest.mark.parametrize("name", ADMISSIBLE)
def test_admissible_coordinates_have_one_g_on_a_fibre(name):
    report = violation(ADMISSIBLE[name])
    assert report.fibre < 1e-10 and report.violation == 0.0 and report.is_admissible
    assert report.verdict.startswith("admissible: Q and its velocities are exact") and report.require(strict=True) == []


@pytest.mark.parametrize("name", INADMISSIBLE)
def test_others_do_not(name):
    report = violation(INADMISSIBLE[name])
    assert report.fibre > 5e-3 and not report.verdict.startswith("admissible")
    assert "Q exact" in report.verdict and bool(report.require(strict=False)) == (report.violation > report.tolerance)


def test_nine_distances_of_five_atoms_have_branches_that_no_walk_reaches():
    report = violation(some(among((1, 10, 15, 18, 5))[:9]))
    assert report.fibre < 1e-7 and report.branches > 5e-3
    with pytest.raises(InputError, match=r"not admissible.*worst in frame"):
        report.require(strict=True)
    assert not violation(ADMISSIBLE["all of a quadruple"]).branches > 1e-7  # negative control: mirror images have one G


def test_all_ten_of_five_atoms_depend_on_each_other():
    report = violation(some(among((1, 10, 15, 18, 5))))
    assert abs(report.independence) < 1e-12 and report.is_dependent
    with pytest.raises(InputError, match="follows from the others"):
        report.require(strict=False)
    assert violation(ADMISSIBLE["all of a triple"]).independence > 1e-3  # negative control


@pytest.mark.parametrize("n_sites", [2, 3, 4])
def test_the_law_of_cosines_gives_g_and_its_derivatives(n_sites):
    masses = [16.0, 12.0, 14.0, 1.0][:n_sites]
    embedding = Embedding({"kind": "pair_distances"}, masses)
    sites = torch.as_tensor(np.random.default_rng(1).normal(scale=0.2, size=(50, n_sites, 3)))
    q, g = embedding.inverse_mass(sites)
    metric = metric_of(embedding, "exact", g)
    assert isinstance(metric, PairDistanceMetric) and torch.allclose(metric.inverse_mass(q), g, rtol=1e-9, atol=1e-12)
    assert metric.inside(q).all() and not metric.inside(q * torch.tensor([5.0, *[1.0] * (q.shape[1] - 1)]))[: n_sites > 2].any()
    step = 1e-6 * torch.as_tensor(np.random.default_rng(2).normal(size=q.shape))
    ahead, behind = metric.inverse_mass(q + step), metric.inverse_mass(q - step)
    slope = torch.einsum("bijl,bl->bij", metric.gradient(q), step)
    assert torch.allclose(0.5 * (ahead - behind), slope, rtol=1e-4, atol=1e-10)


def test_volume_of_the_orbit_of_rotations():
    """det G (r01 r02 r12)^2 / det I is a constant for three sites; four against the tensor itself."""
    rng = np.random.default_rng(4)
    masses = torch.tensor([16.0, 12.0, 14.0, 2.0], dtype=torch.float64)
    for n_sites in (3, 4):
        x = torch.as_tensor(rng.normal(scale=0.2, size=(40, n_sites, 3)))
        own = masses[:n_sites]
        off = x - torch.einsum("a,bai->bi", own, x)[:, None] / own.sum()
        second = torch.einsum("a,bai,baj->bij", own, off, off)
        tensor = second.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] * torch.eye(3) - second
        q = Embedding({"kind": "pair_distances"}, own.tolist()).of_sites(x)
        assert torch.allclose(log_inertia(q, own, 3), torch.logdet(tensor), rtol=1e-8, atol=1e-8)
        assert is_shape(q, n_sites).all()
    g = PairDistanceMetric(own[:3].tolist()).inverse_mass(q[:, [0, 1, 3]])
    ratio = torch.logdet(g) + 2.0 * q[:, [0, 1, 3]].log().sum(1) - log_inertia(q[:, [0, 1, 3]], own[:3], 3)
    assert ratio.std() < 1e-9


def test_a_learned_metric_is_positive_and_its_gradient_is_its_own():
    metric, q = LearnedMetric(2), torch.randn(20, 2, dtype=torch.float64)
    metric.outer.copy_(torch.tensor([[0.3, 0.0], [0.1, 0.2]]))
    g, gradient, step = metric.inverse_mass(q), metric.gradient(q), 1e-6
    assert (torch.linalg.eigvalsh(g) > 0).all() and torch.allclose(metric.log_det(q), torch.logdet(g))
    ahead = metric.inverse_mass(q + torch.tensor([step, 0.0]))
    assert torch.allclose((ahead - g) / step, gradient[..., 0], rtol=1e-3, atol=1e-7)


def test_a_metric_without_closed_form_is_refused_and_a_constant_one_offered():
    embedding = Embedding(some([[1, 18], [1, 10]]), MASSES)
    g = embedding.inverse_mass(embedding.sites(FRAMES))[1]
    with pytest.raises(InputError, match='take "constant"'):
        metric_of(embedding, "exact", g)
    assert isinstance(metric_of(embedding, "auto", g), ConstantMetric)


def test_constraints_within_groups_are_allowed_and_others_are_not():
    groups = [[0, 1, 2, 3], [10, 11, 12, 13], [18, 19, 20, 21]]
    spec = {"kind": "group_centers", "groups": groups, "masses": [MASSES[group].tolist() for group in groups]}
    Embedding(spec | {"part": {"kind": "pair_distances"}}, MASSES).require_free_sites(PROBLEM.system)
    with pytest.raises(InputError, match="constraint between atoms 1 and 0 crosses"):
        Embedding({"kind": "subset", "atoms": [1, 10, 18], "part": {"kind": "pair_distances"}}, MASSES).require_free_sites(
            PROBLEM.system
        )
    free = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(PROBLEM.system))
    for index in reversed(range(free.getNumConstraints())):
        free.removeConstraint(index)
    Embedding(some([[1, 18]]), MASSES).require_free_sites(free)


def fitted_slope(label, log_r, y, width):
    """Slope of ln(marginal / joint at y = 0) against ln det R, with its error."""
    edges = np.quantile(label, np.linspace(0.02, 0.98, 31))
    kernel, rows = np.exp(-0.5 * (y / width) ** 2), []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (label >= low) & (label < high)
        mean = kernel[inside].mean()
        rows.append((log_r[inside].mean(), -np.log(mean), kernel[inside].std() / np.sqrt(inside.sum()) / mean))
    x, value, error = np.array(rows).T
    weight = error**-2
    x, value = x - np.average(x, weights=weight), value - np.average(value, weights=weight)
    square = (weight * x**2).sum()
    return (weight * x * value).sum() / square, square**-0.5


def test_which_power_of_the_metric_the_density_has():
    """No formula of ours: positions and momenta are sampled, and Q = r^2 and P = R dQ/dt formed of them."""
    rng, n, mass, stiffness, kt = np.random.default_rng(1), 1_000_000, 5.0, 400.0, trimer.KT
    x, p = rng.normal(0, np.sqrt(kt / stiffness), (n, 3)), rng.normal(0, np.sqrt(mass * kt), (n, 3))
    q, speed = (x**2).sum(1), 2.0 * (x * p).sum(1) / mass
    r = mass / (4.0 * q)
    with_p = fitted_slope(q, np.log(r), r * speed, 0.05 * np.sqrt(kt * np.quantile(r, 0.02)))
    with_speed = fitted_slope(q, np.log(r), speed, 0.05 * np.sqrt(kt / np.quantile(r, 0.98)))
    assert_within(with_p[0], 0.5, with_p[1], 4)
    assert_within(with_speed[0], -0.5, with_speed[1], 4)  # the delta of velocities: the other sign
    with pytest.raises(AssertionError):  # negative control
        assert_within(with_speed[0], 0.5, with_speed[1], 4)
