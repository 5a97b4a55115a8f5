"""What is made of a latent free energy: learned coordinates, a committor; and that constraints inside groups do no harm."""

import numpy as np
import openmm
import pytest
import torch

import trimer
from openmm_rare.errors import InputError
from openmm_rare.latent import autoencoder
from openmm_rare.latent.autoencoder import train_autoencoder
from openmm_rare.latent.committor import grid_committor
from openmm_rare.latent.embedding import Embedding
from openmm_rare.latent.mean_force import local_mean_force
from openmm_rare.latent.violation import metric_violation
from openmm_rare.settings.latent import LatentSettings
from stats import assert_within

KT = trimer.KT


@pytest.mark.parametrize("steps", [400, pytest.param(1200, marks=pytest.mark.slow)])
def test_the_penalty_gives_latents_a_metric_at_a_price_that_is_told(steps, monkeypatch):
    monkeypatch.setattr(autoencoder, "_STEPS", steps)
    x = trimer.positions(trimer.sample(6000, (0.12, 0.15, 0.20)))
    embedding = Embedding(trimer.SPEC, trimer.MASSES, latents=2, hidden=(16, 16))
    report = train_autoencoder(embedding, embedding.sites(x), LatentSettings(), seed=1)
    assert report.violation < 0.15 and report.plain_violation > 3.0 * report.violation  # plain: the negative control
    assert report.plain_reconstruction < report.reconstruction < 1.0
    q = embedding.coordinates(x)
    assert np.abs(q.mean(0)).max() < 0.05 and np.abs(q.std(0) - 1.0).max() < 0.05
    assert metric_violation(embedding, x).violation == pytest.approx(report.violation, abs=0.05)
    again = Embedding(trimer.SPEC, trimer.MASSES, latents=2, hidden=(16, 16))
    train_autoencoder(again, again.sites(x), LatentSettings(), seed=1)
    assert np.array_equal(again.coordinates(x), q)


def test_the_committor_of_a_line_is_the_integral_of_the_inverse_density():
    x = np.linspace(-1.0, 1.0, 193)
    middle = 0.5 * (x[1:] + x[:-1])
    density = np.exp(-8.0 * (middle**2 - 0.6) ** 2 / 0.36)
    mobility = 1.0 + 0.5 * middle
    in_a, in_b = middle < -0.7, middle > 0.7
    found = grid_committor(density, mobility[:, None, None], [x[1] - x[0]], in_a, in_b)
    between = ~(in_a | in_b)
    resistance = 1.0 / (density * mobility)
    exact = np.cumsum(np.where(between, resistance, 0.0)) / np.where(between, resistance, 0.0).sum()
    assert np.abs(found - exact)[between].max() < 0.02
    assert np.abs(np.cumsum(between) / between.sum() - exact)[between].max() > 0.1  # negative control: a straight line
    hole = np.where(np.abs(middle) < 0.05, 0.0, density)
    with pytest.raises(InputError, match="no way from A to B"):
        grid_committor(hole, mobility[:, None, None], [x[1] - x[0]], in_a, in_b)


def test_the_committor_of_a_plane_does_not_depend_on_the_coordinates():
    """The same plane, sheared: density and mobility change, the committor of a place does not."""
    n, line = 96, np.linspace(-2.0, 2.0, 96)
    u, v = np.meshgrid(line, line, indexing="ij")
    shear = np.array([[1.0, 0.5], [0.0, 1.0]])
    x, y = u - 0.5 * v, v

    def density(x, y):
        return np.exp(-4.0 * (x**2 - 0.3) ** 2 / 0.09 - 3.0 * (y - 0.8 * x) ** 2)

    def committor(mobility, x, y):
        everywhere = np.broadcast_to(mobility, (n, n, 2, 2))
        return grid_committor(density(x, y), everywhere, [line[1] - line[0]] * 2, x < -0.6, x > 0.6)

    plain, sheared = committor(np.eye(2), u, v), committor(shear @ shear.T, x, y)
    place = tuple(np.clip(np.rint((each + 2.0) / (line[1] - line[0])).astype(int), 0, n - 1) for each in (x, y))
    inner = (np.abs(x) < 0.55) & (np.abs(y) < 0.6)
    assert np.abs(sheared - plain[place])[inner].max() < 0.06
    wrong = committor(np.eye(2), x, y)
    assert np.abs(wrong - plain[place])[inner].max() > 0.1  # negative control: the mobility left as it was


def test_constraints_within_groups_leave_the_mean_force_exact():
    """Two rigid dumbbells, whose orientations are uniform on spheres but for exp(-U/kT): weighted averages are exact."""
    system = openmm.System()
    masses, length = [12.0, 3.0, 5.0, 9.0], 0.12
    for mass in masses:
        system.addParticle(mass)
    system.addConstraint(0, 1, length)
    system.addConstraint(2, 3, length)
    groups = {"groups": [[0, 1], [2, 3]], "masses": [masses[:2], masses[2:]]}
    embedding = Embedding({"kind": "group_centers", **groups, "part": {"kind": "pair_distances"}}, masses)
    embedding.require_free_sites(system)
    with pytest.raises(InputError, match="constraint between atoms 0 and 1 crosses"):
        Embedding({"kind": "subset", "atoms": [0, 2], "part": {"kind": "pair_distances"}}, masses).require_free_sites(system)
    rng, n = np.random.default_rng(0), 100_000
    axes = rng.normal(size=(n, 2, 3))
    axes /= np.linalg.norm(axes, axis=2, keepdims=True)

    def placed(r):
        x = np.zeros((n, 4, 3))
        for pair, (one, other) in enumerate(((0, 1), (2, 3))):
            share = masses[other] / (masses[one] + masses[other])
            x[:, one], x[:, other] = share * length * axes[:, pair], (share - 1.0) * length * axes[:, pair]
        x[:, 2:, 0] += r
        return x

    def energies(x):
        at = torch.tensor(x, requires_grad=True)
        r2 = (at[:, :2, None] - at[:, None, 2:]).square().sum(-1)
        value = (KT * 0.02 / r2).sum((1, 2)) + 400.0 * KT * (r2[:, 0, 1] - 0.06) ** 2
        (gradient,) = torch.autograd.grad(value.sum(), at)
        return value.detach().numpy(), -gradient.numpy()

    r, step = 0.3, 1e-3
    value, force = energies(placed(r))
    weight = np.exp(-(value - value.min()) / KT)
    weight /= weight.mean()
    g = local_mean_force(embedding, placed(r), force, trimer.TEMPERATURE)[0][:, 0].numpy()
    estimate = np.mean(weight * g)
    ahead, behind = (np.mean(np.exp(-(energies(placed(r + sign * step))[0] - value.min()) / KT)) for sign in (1.0, -1.0))
    exact = KT * (np.log(ahead) - np.log(behind)) / (2.0 * step) + 2.0 * KT / r  # and r^2 of the sphere
    assert_within(estimate, exact, np.std(weight * (g - estimate)) / np.sqrt(n), 4)
    with pytest.raises(AssertionError):  # negative control: without the divergence
        assert_within(estimate - 2.0 * KT / r, exact, np.std(weight * (g - estimate)) / np.sqrt(n), 4)
