"""Latent dynamics samples the density of Q, with the determinant and the Metropolis test, and not without them."""

import numpy as np
import pytest
import torch

import trimer
from openmm_rare.descriptors.base import Descriptor
from openmm_rare.errors import InputError
from openmm_rare.latent.embedding import Embedding
from openmm_rare.latent.langevin import LatentLangevin, suitable_timestep
from openmm_rare.latent.metric import ConstantMetric, Metric, PairDistanceMetric
from openmm_rare.latent.orbits import is_shape
from openmm_rare.latent.potential import LatentPotential
from openmm_rare.latent.propagators import GeneralizedLeapfrog
from stats import assert_within, mean_and_stderr

KT, CENTER = trimer.KT, (0.15, 0.15, 0.15)


class SpaceSquare(Descriptor):
    """r^2 in space."""

    def __init__(self, n_atoms):
        super().__init__()
        self.n_features = 1

    def forward(self, positions):
        return positions[:, 0].square().sum(-1, keepdim=True)


class RadialMetric(Metric):
    """G = 4 Q / m of Q = r^2."""

    kind, mass = "radial", 5.0

    def inverse_mass(self, q):
        return (4.0 * q / self.mass)[..., None]

    def gradient(self, q):
        return torch.full((len(q), 1, 1, 1), 4.0 / self.mass, dtype=q.dtype)

    def inside(self, q):
        return (q > 0.0).all(1)

    def metadata(self):
        return {}


class Radial(LatentPotential):
    """Q = r^2 of a harmonic particle in space: <Q> k / kT = 3. `power` of det R in V is 1/2, or something wrong."""

    stiffness = 400.0

    def __init__(self, power):
        super().__init__(Embedding({"kind": "space_square"}, [5.0]), RadialMetric(), trimer.TEMPERATURE)
        self.power = power

    def potential(self, q):
        q = q[:, 0]
        a = 0.5 * self.stiffness * q - 0.5 * KT * q.log()
        return a - self.power * KT * q.log()  # ln det R = -ln Q + constant


@pytest.mark.parametrize(("power", "truth"), [(0.5, 3.0), (0.0, 2.0)], ids=["V", "V without the determinant"])
def test_which_power_of_the_determinant_the_dynamics_needs(power, truth):
    model = Radial(power)
    at_random = np.random.default_rng(0).gamma(
        2.5 - truth / 2.0, 2.0 * KT / model.stiffness, (1000, 1)
    )  # what the other one samples
    start = torch.as_tensor(at_random)
    frames, _ = LatentLangevin(model, start, "exact", 0.03, seed=1).run(start, 300)
    mean, stderr = mean_and_stderr((frames[100:, :, 0].mean(0) * model.stiffness / KT).numpy())
    assert_within(mean, truth, stderr, 4)
    with pytest.raises(AssertionError):  # each is the negative control of the other
        assert_within(mean, 5.0 - truth, stderr, 4)


class ExactTrimer(LatentPotential):
    """The trimer with its exact V."""

    def __init__(self):
        super().__init__(trimer.embedding(), PairDistanceMetric(trimer.MASSES), trimer.TEMPERATURE)

    def potential(self, q):
        return trimer.exact_v(q, CENTER)


def moments(q):
    """Five functions of distances (..., 3), shape (..., 5)."""
    a, b, c = q.unbind(-1)
    area = ((a + b + c) * (-a + b + c) * (a - b + c) * (a + b - c)).clamp(min=0.0).sqrt() / 4.0
    return torch.stack([a, c, a**2, (a - 0.15) * (b - 0.15) * 1e3, area], -1)


@pytest.fixture(scope="module")
def exact():
    q = torch.as_tensor(trimer.sample(1_000_000, CENTER, seed=5))
    return q, moments(q).mean(0).numpy()


def z_scores(propagator, timestep, exact, metropolis=True, n_walkers=700, length=6.0):
    start = exact[0][:n_walkers]
    run = LatentLangevin(ExactTrimer(), start, propagator, timestep, metropolis=metropolis, seed=2)
    frames, report = run.run(start, round(length / timestep))
    mean, stderr = mean_and_stderr(moments(frames).mean(0).numpy())
    return (mean - exact[1]) / stderr, report


@pytest.mark.parametrize(
    ("propagator", "timestep", "acceptance"),
    [("constant", 0.05, 0.81), pytest.param("constant", 0.02, 0.985, marks=pytest.mark.slow)]
    + [pytest.param("exact", h, a, marks=pytest.mark.slow) for h, a in ((0.02, 0.984), (0.05, 0.795))],
)
def test_five_moments_of_a_trimer_are_exact_at_any_time_step(propagator, timestep, acceptance, exact):
    z, report = z_scores(propagator, timestep, exact)
    assert np.abs(z).max() < 4.0
    assert report.acceptance == pytest.approx(acceptance, abs=0.03)
    assert report.acceptance + sum(report.rejected.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("propagator", ["constant", pytest.param("exact", marks=pytest.mark.slow)])
def test_without_the_metropolis_test_they_are_not(propagator, exact):
    z, _ = z_scores(propagator, 0.05, exact, metropolis=False)
    assert np.abs(z).max() > 8.0


def test_the_exact_metric_in_short(exact):
    """Few walkers: exact in what they show, and reasons of rejection that a wall gives."""
    z, report = z_scores("exact", 0.05, exact, n_walkers=150, length=3.0)
    assert np.abs(z).max() < 4.0 and report.rejected["unconverged"] > 0.0 and report.rejected["outside"] > 0.0


def test_a_step_can_be_made_back_and_no_walker_depends_on_the_others(exact):
    model, start = ExactTrimer(), exact[0][:40]
    leapfrog = GeneralizedLeapfrog(model, 0.02, iterations=60, tolerance=1e-12)
    state = leapfrog.at(start, torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    new, converged, inside = leapfrog.step(state)
    fine = converged & inside
    back, _, _ = leapfrog.step(new.with_momenta(-new.p))
    assert fine.sum() > 30 and (new.q - state.q)[fine].abs().min() > 1e-7
    assert torch.allclose(back.q[fine], state.q[fine], rtol=1e-9) and torch.allclose(
        -back.p[fine], state.p[fine], rtol=1e-7, atol=1e-9
    )
    alone, _, _ = leapfrog.step(leapfrog.at(start[3:4], state.p[3:4]))
    assert torch.allclose(alone.q, new.q[3:4], rtol=1e-13, atol=0.0)
    few = GeneralizedLeapfrog(model, 0.02, iterations=2, tolerance=1e-12)
    assert not few.step(state)[1].all()  # negative control: those that did not converge are told


def test_where_g_varies_on_the_fibre_q_stays_exact_with_its_mean():
    """Q = x^2 + 4 y^2 of U = kQ/2, G = 10 Q/m on average: not admissible, <Q> k/kT = 2 all the same."""

    class Mean(RadialMetric):
        def inverse_mass(self, q):
            return (10.0 * q / self.mass)[..., None]

        def gradient(self, q):
            return torch.full((len(q), 1, 1, 1), 10.0 / self.mass, dtype=q.dtype)

    class Elliptic(Radial):
        def __init__(self):
            super().__init__(0.5)
            self.metric = Mean()

        def potential(self, q):
            return 0.5 * self.stiffness * q[:, 0] - 0.5 * KT * q[:, 0].log()

    start = torch.as_tensor(np.random.default_rng(0).exponential(2.0 * KT / 400.0, (700, 1)))
    frames, _ = LatentLangevin(Elliptic(), start, "exact", 0.02, seed=1).run(start, 200)
    mean, stderr = mean_and_stderr((frames[:, :, 0].mean(0) * 400.0 / KT).numpy())
    assert_within(mean, 2.0, stderr, 4)
    with pytest.raises(AssertionError):  # negative control
        assert_within(mean, 2.5, stderr, 4)


def test_what_cannot_be_run_is_refused(exact):
    model, start = ExactTrimer(), exact[0][:4]
    with pytest.raises(InputError, match="a free energy at 300 K"):
        LatentLangevin(model, start, temperature_k=400.0)
    with pytest.raises(InputError, match="must be positive"):
        LatentLangevin(model, start, timestep=-1.0)
    with pytest.raises(InputError, match="must be one of constant, exact"):
        LatentLangevin(model, start, "implicit")
    with pytest.raises(InputError, match="starts outside"):
        LatentLangevin(model, exact[0][:100]).run(start * torch.tensor([9.0, 1.0, 1.0]), 1)
    assert 0.01 < suitable_timestep(model, exact[0][:1000]) < 0.05
    assert is_shape(start, 3).all()
    assert isinstance(ConstantMetric(torch.eye(2)), Metric)
