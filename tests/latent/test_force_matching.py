"""A free energy by force matching: against an exact one, and what its file refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import trimer
from openmm_rare.errors import InputError
from openmm_rare.latent.comparison import Grid, divergence
from openmm_rare.latent.embedding import Embedding
from openmm_rare.latent.fitting import fit_latent_potential, fit_metric
from openmm_rare.latent.mean_force import local_mean_force
from openmm_rare.latent.metric import ConstantMetric, LearnedMetric, PairDistanceMetric
from openmm_rare.latent.potential import LatentPotential
from openmm_rare.settings.latent import LatentSettings

CENTER = (0.12, 0.15, 0.20)
SETTINGS = LatentSettings(training_steps=1000, batch=1024)


@pytest.fixture(scope="module")
def frames():
    """Independent frames of a wide trimer, one site of which is tied to a hidden atom: noise in the force, A unchanged."""
    distances = trimer.sample(60_000, CENTER)
    x = trimer.positions(distances)
    force = trimer.forces(x, CENTER)
    force[:, 0] += np.random.default_rng(1).normal(scale=np.sqrt(trimer.KT * 4000.0), size=(len(x), 3))
    g, q = local_mean_force(trimer.embedding(), x, force, trimer.TEMPERATURE)
    without = g - local_mean_force(trimer.embedding(), x, np.zeros_like(x), trimer.TEMPERATURE)[0]
    return g, q, without


def fitted(q, g, settings=SETTINGS):
    embedding = trimer.embedding()
    embedding.standardize(q)
    potential = LatentPotential(embedding, PairDistanceMetric(trimer.MASSES), trimer.TEMPERATURE, "here")
    return potential, fit_latent_potential(potential, q, g, settings)


def grid_of(q):
    ranges = zip(np.quantile(q, 5e-4, 0), np.quantile(q, 1 - 5e-4, 0), strict=True)
    return Grid(tuple(np.linspace(a, b, 49) for a, b in ranges))


def probability(grid, log_density):
    centers = grid.centers()
    inside = PairDistanceMetric(trimer.MASSES).inside(centers)
    made = torch.zeros(len(centers), dtype=torch.float64)
    with torch.no_grad():
        made[inside] = log_density(centers[inside]).exp()
    return grid.coarse(made.numpy().reshape(grid.shape) / made.sum().item())


def test_the_density_of_a_trimer_is_the_exact_one(frames):
    """Its determinant and the divergence are needed; the volume of the orbit makes the rest smooth."""
    g, q, without = frames
    potential, report = fitted(q, g)
    grid, kt = grid_of(q.numpy()), trimer.KT
    exact = probability(grid, lambda at: -trimer.exact_a(at, CENTER) / kt)

    def off(log_density):
        return divergence(exact, probability(grid, log_density))

    def shifted(model):
        return lambda at: model(at) - model(q[:1])

    assert off(shifted(potential.log_density)) < 1e-3
    assert (
        off(lambda at: -(potential(at) - potential(q[:1])) / kt) > 0.015
    )  # negative control: det forgotten (0.0191 for the exact V)
    wrong, _ = fitted(q, without, replace(SETTINGS, training_steps=600))
    assert off(shifted(wrong.log_density)) > 0.04  # negative control: no divergence
    assert report.held_out_loss < report.without_model and report.n_held_out > 0
    sample = np.random.default_rng(0).multinomial(len(q), exact.ravel() / exact.sum())
    assert off(shifted(potential.log_density)) < divergence(sample, exact)  # better than a histogram of as many frames


def test_a_fit_depends_on_the_seed_alone_and_is_read_back_bit_for_bit(frames, tmp_path):
    g, q, _ = (each[:5000] for each in frames)
    few = replace(SETTINGS, training_steps=20)
    one, other = fitted(q, g, few)[0], fitted(q, g, few)[0]
    assert one.digest() == other.digest() and one(q).dtype == torch.float64
    one.save(tmp_path / "model.npz")
    read = LatentPotential.load(tmp_path / "model.npz", trimer.TEMPERATURE, "here")
    assert read.digest() == one.digest() and torch.equal(read.free_energy(q), one.free_energy(q))
    assert torch.equal(read.metric.inverse_mass(q), one.metric.inverse_mass(q))


@pytest.mark.parametrize("kind", ["constant", "learned"])
def test_other_metrics_are_read_back_as_well(kind, tmp_path):
    embedding = Embedding({"kind": "pair_distances"}, trimer.MASSES, latents=2, hidden=(8,))
    metric = ConstantMetric(torch.tensor([[2.0, 0.1], [0.1, 1.0]])) if kind == "constant" else LearnedMetric(2)
    made = LatentPotential(embedding, metric, 300.0, hidden=(6,))
    made.save(tmp_path / "model.npz")
    read = LatentPotential.load(tmp_path / "model.npz")
    assert read.digest() == made.digest()
    x = trimer.positions(trimer.sample(10, CENTER))
    assert np.array_equal(read.embedding.coordinates(x), made.embedding.coordinates(x))


def test_another_temperature_system_or_file_is_refused(tmp_path):
    made = LatentPotential(trimer.embedding(), PairDistanceMetric(trimer.MASSES), 300.0, "here")
    made.save(tmp_path / "model.npz")
    with pytest.raises(InputError, match="a free energy at 300 K and says nothing at 310 K"):
        LatentPotential.load(tmp_path / "model.npz", 310.0)
    with pytest.raises(InputError, match="another system"):
        LatentPotential.load(tmp_path / "model.npz", 300.0, "there")
    damaged = (tmp_path / "model.npz").read_bytes()
    (tmp_path / "model.npz").write_bytes(damaged[:-200])
    with pytest.raises(InputError, match="not a readable latent potential"):
        LatentPotential.load(tmp_path / "model.npz")


def test_a_learned_metric_finds_the_mean_of_g_at_each_q():
    """Where G varies on the fibre the mean is what a marginal needs."""
    rng = np.random.default_rng(0)
    q = torch.as_tensor(rng.uniform(-1, 1, (8000, 1)))
    g = ((2.0 + torch.sin(2 * q)) * (1.0 + 0.3 * torch.as_tensor(rng.choice([-1, 1], (8000, 1)))))[:, :, None]
    metric = LearnedMetric(1)
    residual = fit_metric(metric, q, g)
    assert torch.allclose(metric.inverse_mass(q)[:, 0], 2.0 + torch.sin(2 * q), atol=0.12)
    assert residual == pytest.approx(0.32, abs=0.03)  # what is left is that of the fibre


def test_too_few_frames_are_refused(frames):
    g, q, _ = (each[:20] for each in frames)
    with pytest.raises(InputError, match="20 frames are too few"):
        fitted(q, g)
