"""The mean force against exact answers, and the trap of torch that it walks around."""

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from torch.func import jacfwd, jacrev, vmap

import trimer
from openmm_rare.descriptors.base import Descriptor
from openmm_rare.errors import InputError
from openmm_rare.latent.embedding import Embedding
from openmm_rare.latent.mean_force import local_mean_force
from openmm_rare.latent.metric import PairDistanceMetric
from openmm_rare.units import KB
from stats import assert_within

CENTER = (0.15, 0.15, 0.15)
KT = trimer.KT


def anharmonic(distances, center):
    return trimer.energy(distances, center) + 2e4 * (distances[:, 0] - 0.1) ** 3


def triangles(n=400, seed=0):
    x = np.random.default_rng(seed).normal(scale=0.08, size=(n, 3, 3))
    sides = np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0])
    return x[np.linalg.norm(sides, axis=1) > 2e-3]


@pytest.mark.parametrize("weight", [None, np.ones(3), np.array([1.0, 3.0, 0.5])], ids=["1/M", "1", "any"])
def test_a_shape_has_the_exact_mean_force_frame_by_frame(weight):
    """U depends on distances alone: g is -dA/dQ in every frame, whatever K is, and with the determinant -dV/dQ."""
    embedding, x = trimer.embedding(), triangles()
    g, q = local_mean_force(embedding, x, trimer.forces(x, CENTER, anharmonic), trimer.TEMPERATURE, weight)
    metric = PairDistanceMetric(trimer.MASSES)
    half_log_det = trimer.slope(lambda at, _: 0.5 * KT * metric.log_det(at), q, CENTER)
    down_a = -trimer.slope(lambda at, c: anharmonic(at, c) - KT * at.log().sum(1), q, CENTER)
    down_v = -trimer.slope(lambda at, c: trimer.exact_v(at, c) + anharmonic(at, c) - trimer.energy(at, c), q, CENTER)

    def off(found, truth):
        return ((found - truth).abs().max() / truth.abs().mean()).item()

    assert off(g, down_a) < 1e-10 and off(g + half_log_det, down_v) < 1e-10
    assert off(g - half_log_det, down_v) > 1.0  # negative control: the determinant with the other sign
    without = local_mean_force(embedding, x, trimer.forces(x, CENTER, anharmonic), 1e-9, weight)[0]
    assert off(without, down_a) > 0.1  # negative control: no divergence


def test_a_differentiated_solve_is_not_what_is_used():
    """torch 2.13: vmap(jacfwd) of a solve with a matrix on its right is silently wrong; the formula has none."""
    x = torch.as_tensor(triangles(4)).flatten(1)
    inverse_masses = trimer.embedding().inverse_masses

    def w(at, solve):
        jacobian = jacrev(lambda y: trimer.embedding().of_sites(y.reshape(1, 3, 3))[0])(at) * inverse_masses
        full = jacobian / inverse_masses
        return torch.linalg.solve(jacobian @ full.T, jacobian) if solve else torch.linalg.inv(jacobian @ full.T) @ jacobian

    def divergence(solve):
        return vmap(lambda at: torch.einsum("jkk->j", jacfwd(lambda y: w(y, solve))(at)))(x)

    sites = x.reshape(-1, 3, 3).numpy()
    ours = local_mean_force(trimer.embedding(), sites, np.zeros_like(sites), 1.0 / KB)[0]
    assert torch.allclose(ours, divergence(solve=False), rtol=1e-9)
    if torch.allclose(ours, divergence(solve=True), rtol=1e-9):
        pytest.skip(f"torch {torch.__version__} differentiates the solve rightly")
    assert (ours - divergence(solve=True)).abs().max() > 10.0 * ours.abs().mean()


def test_hutchinsons_estimate_is_unbiased():
    embedding, x = trimer.embedding(), triangles(1)[:1].repeat(20_000, 0)
    force = np.zeros_like(x)
    exact = local_mean_force(embedding, x[:1], force, 300.0)[0][0]
    drawn = local_mean_force(embedding, x, force, 300.0, probes=1, seed=3)[0].numpy()
    assert_within(drawn.mean(0), exact, drawn.std(0) / np.sqrt(len(drawn)), 4)
    with pytest.raises(AssertionError):  # negative control
        assert_within(drawn.mean(0), 1.1 * exact, drawn.std(0) / np.sqrt(len(drawn)), 4)


class MixedInverseSquares(Descriptor):
    """Another choice of coordinates of the same shapes."""

    matrix = torch.tensor([[1.8, -0.4, 0.3], [0.5, 2.1, -0.7], [-0.2, 0.6, 1.5]], dtype=torch.float64)

    def __init__(self, n_atoms):
        super().__init__()
        self.n_features = 3

    def forward(self, positions):
        r = torch.linalg.vector_norm(positions[:, [0, 0, 1]] - positions[:, [1, 2, 2]], dim=-1)
        return 1e-2 * r**-2 @ self.matrix.T


def test_the_force_of_v_is_a_covector_and_that_of_a_is_not():
    """For any forces: V is a scalar, A is not (it has the density of Q in it)."""
    x = triangles(60, seed=2)
    force = np.random.default_rng(3).normal(scale=500.0, size=x.shape)
    distances, other = trimer.embedding(), Embedding({"kind": "mixed_inverse_squares"}, trimer.MASSES)

    def forces_of(embedding):
        g, q = local_mean_force(embedding, x, force, trimer.TEMPERATURE)
        at = embedding.sites(x).requires_grad_(True)
        _, jacobian = embedding.jacobian(at, differentiable=True)
        matrix = (jacobian * embedding.inverse_masses) @ jacobian.mT
        (slope,) = torch.autograd.grad(torch.logdet(matrix).sum(), at)
        w = torch.linalg.inv(matrix) @ (jacobian * embedding.inverse_masses)
        return g, (g + 0.5 * KT * torch.einsum("bjk,bk->bj", w, slope.flatten(1))).detach(), q

    a, v, q = forces_of(distances)
    other_a, other_v, _ = forces_of(other)
    change = -2e-2 * MixedInverseSquares.matrix * q[:, None, :] ** -3

    def off(mine, theirs):
        return ((torch.einsum("bij,bi->bj", change, theirs) - mine).abs().max() / mine.abs().mean()).item()

    assert off(v, other_v) < 1e-9
    assert off(a, other_a) > 0.1  # negative control


class SquaredRadius(Descriptor):
    """r^2 in a plane."""

    def __init__(self, n_atoms):
        super().__init__()
        self.n_features = 1

    def forward(self, positions):
        return positions[:, 0].square().sum(-1, keepdim=True)


class Radius(Descriptor):
    """r in a plane."""

    def __init__(self, n_atoms):
        super().__init__()
        self.n_features = 1

    def forward(self, positions):
        return torch.linalg.vector_norm(positions[:, 0], dim=-1, keepdim=True)


def in_the_plane(xy):
    r2, x, y = (xy**2).sum(-1), xy[..., 0], xy[..., 1]
    return 150.0 * (r2 - 0.09) ** 2 / 0.09 + 60.0 * x * y + 25.0 * x


def frames_in_the_plane(n, seed=2):
    """Independent frames of exp(-U/kT), and their forces."""
    line = np.linspace(-0.75, 0.75, 2001)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    weight = np.exp(-(in_the_plane(grid) - in_the_plane(grid).min()) / KT)
    rng, step = np.random.default_rng(seed), line[1] - line[0]
    xy = grid[np.searchsorted(np.cumsum(weight) / weight.sum(), rng.random(n))] + rng.uniform(-0.5, 0.5, (n, 2)) * step
    at = torch.tensor(xy, requires_grad=True)
    (gradient,) = torch.autograd.grad(in_the_plane(at).sum(), at)
    return xy, -gradient.numpy()


@pytest.mark.parametrize("kind", ["radius", "squared_radius"])
def test_the_mean_over_a_bin_is_the_exact_one_where_u_depends_on_the_angle(kind):
    xy, force = frames_in_the_plane(200_000)
    x = np.pad(xy, ((0, 0), (0, 1)))[:, None]
    embedding = Embedding({"kind": kind}, [5.0], dimensions=2)
    g, q = local_mean_force(embedding, x, np.pad(force, ((0, 0), (0, 1)))[:, None], trimer.TEMPERATURE)
    other = local_mean_force(embedding, x, np.pad(force, ((0, 0), (0, 1)))[:, None], trimer.TEMPERATURE, np.ones(1))[0]
    assert torch.allclose(g, other, rtol=1e-12)  # one site: K cancels
    g, q = g[:, 0].numpy(), q[:, 0].numpy()
    angle = np.linspace(0, 2 * np.pi, 2001)[:-1]

    def density(value):
        r = value if kind == "radius" else np.sqrt(value)
        around = np.exp(-in_the_plane(np.stack([r * np.cos(angle), r * np.sin(angle)], -1)) / KT).mean()
        return around * (value if kind == "radius" else 0.5)

    edges, z, wrong = np.quantile(q, np.linspace(0.02, 0.98, 21)), [], []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (q >= low) & (q < high)
        line = np.linspace(low, high, 41)
        values = np.array([density(each) for each in line])
        exact = KT * (values[-1] - values[0]) / trapezoid(values, line)
        stderr = g[inside].std() / np.sqrt(inside.sum())
        z.append((g[inside].mean() - exact) / stderr)
        wrong.append((g[inside].mean() - KT / line.mean() - exact) / stderr)
    assert 0.3 < np.mean(np.square(z)) < 2.2
    assert np.mean(np.square(wrong)) > 10.0  # negative control: about the divergence left out


def test_two_weights_give_the_same_mean_though_not_the_same_frames():
    """K = 1 and K = 1/M, with a force that depends on more than the distances."""
    x = trimer.positions(trimer.sample(60_000, CENTER))
    force = trimer.forces(x, CENTER)
    force[:, 0] += np.random.default_rng(1).normal(scale=np.sqrt(KT * 4000.0), size=(len(x), 3))
    embedding = trimer.embedding()
    ours, q = local_mean_force(embedding, x, force, trimer.TEMPERATURE)
    theirs = local_mean_force(embedding, x, force, trimer.TEMPERATURE, np.ones(3))[0]
    difference = (ours - theirs).numpy()
    assert np.abs(difference).max() > 1.0
    for low in (0.0, 0.12, 0.15, 0.18):
        inside = (q[:, 0].numpy() >= low) & (q[:, 0].numpy() < low + 0.03)
        if inside.sum() > 100:
            assert_within(difference[inside].mean(0), 0.0, difference[inside].std(0) / np.sqrt(inside.sum()), 4)
    with pytest.raises(AssertionError):  # negative control: a force that the fibre does not average out
        assert_within((difference + 0.05 * q.numpy() * 1e3).mean(0), 0.0, difference.std(0) / np.sqrt(len(q)), 4)


def test_collinear_sites_are_refused_with_the_frame():
    x = triangles(3)
    x[1] = np.outer([0.0, 1.0, 2.0], [0.1, 0.0, 0.0])
    with pytest.raises(InputError, match="depend on each other in frame 1"):
        local_mean_force(trimer.embedding(), x, np.zeros_like(x), 300.0)
