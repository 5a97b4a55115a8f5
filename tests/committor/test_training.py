"""Losses with known minima, and a committor learned from short segments."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_committor import SPECS, frames, model_of

from openmm_rare.bias.importance import FastImportance
from openmm_rare.committor.mlp import Network
from openmm_rare.committor.model import CommittorModel
from openmm_rare.dynamics.frames import Frames
from openmm_rare.learning.adam import Adam
from openmm_rare.learning.losses import binomial_loss, bounded_product, stopped_operator_loss
from openmm_rare.learning.residual import BackwardResidual, Places
from openmm_rare.learning.segment_trainer import Trainer
from openmm_rare.rates.segments import noise_of_one_step, sample_segments
from openmm_rare.systems import double_well_1d
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.propagator import Propagator


def test_binomial_loss_is_the_likelihood_and_survives_large_logits():
    q = torch.tensor([0.3, -1.2], dtype=torch.float64)
    n_a, n_b = torch.tensor([3.0, 1.0]), torch.tensor([2.0, 4.0])
    p = torch.sigmoid(q)
    expected = -(n_b * torch.log(p) + n_a * torch.log(1.0 - p)).sum() / 10.0
    assert binomial_loss(q, n_a, n_b).item() == pytest.approx(expected.item())
    huge = binomial_loss(torch.tensor([200.0, -200.0]), torch.ones(2), torch.ones(2))
    assert huge.item() == pytest.approx(100.0)


def test_stopped_operator_loss_is_least_at_the_mean_ratio():
    rng = np.random.default_rng(0)
    ratio = torch.tensor(rng.lognormal(0.0, 1.0, 5000))
    reference = torch.full((5000,), -2.0, dtype=torch.float64)
    shifts = torch.linspace(-1.0, 2.0, 301)
    losses = [stopped_operator_loss(reference + shift, reference, ratio)[0].mean().item() for shift in shifts]
    best = shifts[int(np.argmin(losses))].item()
    assert best == pytest.approx(np.log(ratio.mean().item()), abs=0.02)
    # negative control: the least square error of ln rho sits elsewhere (Jensen)
    assert abs(best - torch.log(ratio).mean().item()) > 0.3


def test_loss_grows_towards_both_sides_without_overflow():
    change = torch.tensor([-300.0, 0.0, 300.0])
    losses = [stopped_operator_loss(c[None], torch.zeros(1), torch.ones(1))[0].item() for c in change]
    assert np.isfinite(losses).all()
    assert losses[1] < losses[0] and losses[1] < losses[2]


def test_slopes_of_the_losses_are_their_derivatives():
    u = torch.linspace(-9.0, 9.0, 19, dtype=torch.float64, requires_grad=True)
    loss, slope = stopped_operator_loss(u, torch.full_like(u, 0.3), torch.linspace(0.0, 2.0, 19, dtype=torch.float64))
    assert torch.allclose(torch.autograd.grad(loss.sum(), u)[0], slope)
    residual = torch.randn(2, 30, dtype=torch.float64, requires_grad=True)
    product, slope = bounded_product(3.0 * residual, 2.0)
    assert torch.allclose(torch.autograd.grad(product.sum(), residual)[0], 3.0 * slope)
    assert product.abs().max() < 4.0 < (9.0 * residual.prod(0)).abs().max()
    assert torch.allclose(bounded_product(residual, 1e6)[0], residual.prod(0))


@pytest.mark.parametrize("clipped", [False, True])
def test_adam_steps_as_that_of_torch(clipped):
    torch.manual_seed(0)
    mine, theirs = ([torch.full((3, 2), 0.5), torch.full((3, 1), -0.2)] for _ in range(2))
    ours, reference = Adam(mine), torch.optim.Adam(theirs, lr=1.0)
    for number in range(20):
        gradients = [torch.randn_like(each) * (9.0 if clipped else 0.1) for each in mine]
        for tensor, gradient in zip(theirs, gradients, strict=True):
            tensor.grad = gradient.clone()
        norm = torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        assert (norm > 1.0) == clipped
        reference.param_groups[0]["lr"] = rate = 0.01 / (number + 1)
        reference.step()
        ours.step(torch.cat([each.flatten() for each in gradients]), rate)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(mine, theirs, strict=True))
    moments = reference.state_dict()["state"]  # under the same names: runs of before can be continued
    expected = {f"{index}/{name}": value.numpy() for index, each in moments.items() for name, value in each.items()}
    found = ours.state()
    assert found.keys() == expected.keys()
    assert all(np.allclose(found[name], expected[name], rtol=1e-4, atol=1e-7) for name in expected)


def log_exact(rate):
    """ln q of a drifting walker in one direction: q = 1 - exp(-2 b z/s^2) for absorption at z = 0."""
    return lambda positions: torch.log(-torch.expm1(-rate * (positions[:, 0, :2] @ torch.tensor([0.6, 0.8]))))


def residual_by_autograd(model, positions, drift, spread, probes):
    """As BackwardResidual, with autograd for everything."""
    x = positions.clone().requires_grad_(True)
    value = model(x)
    (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    known = (gradient * drift).sum((1, 2)) + 0.5 * (gradient * spread).square().sum((1, 2))
    there, back = (model((positions + sign * spread * probes).flatten(0, 1)).reshape(probes.shape[:2]) for sign in (1, -1))
    return known + 0.5 * (there + back - 2.0 * value)


@pytest.mark.parametrize("wrong", [False, True], ids=["exact", "negative control"])
def test_backward_residual_vanishes_for_the_exact_committor(wrong):
    rng = np.random.default_rng(5)
    positions = torch.tensor(rng.uniform(1.0, 2.0, (400, 1, 3)), dtype=torch.float32)
    spread = torch.tensor([[0.01, 0.01, 0.0]])
    drift = torch.tensor([0.6, 0.8, 0.0]).expand(400, 1, 3) * 3e-5
    probes = torch.tensor(2.0 * rng.integers(0, 2, (2, 400, 1, 3)) - 1.0, dtype=torch.float32)
    model = log_exact(0.6 * (2.0 if wrong else 1.0))  # 2 b/s^2 = 0.6
    residual = residual_by_autograd(model, positions, drift, spread, probes).detach()
    typical = (model(positions).exp() * 1e-5).mean()
    # cross terms of the probes average out; two of them give the square of the mean without their variance
    mean, stderr = residual.mean().item(), (residual.std() / len(residual.flatten()) ** 0.5).item()
    assert (abs(mean) > 5.0 * stderr and abs(mean) > 0.3 * typical) if wrong else abs(mean) < 4.0 * stderr


@pytest.mark.parametrize("name", SPECS)
def test_backward_residual_and_its_gradient_agree_with_autograd(name):
    rng = np.random.default_rng(3)
    model, positions = model_of(name), torch.tensor(frames(300), dtype=torch.float32)
    drift, probes = (torch.tensor(rng.normal(0.0, 1.0, shape), dtype=torch.float32) for shape in ((300, 5, 3), (2, 300, 5, 3)))
    spread = torch.full((5, 3), 0.02) * torch.tensor([1.0, 1.0, 0.0])
    places, network = (positions, 0.02 * drift, spread, probes), Network.of_model(model)
    reference = residual_by_autograd(model, *places)
    expected = torch.autograd.grad(reference.prod(0).mean(), list(model.parameters()))
    known = Places.of(model, *(tensor.numpy() for tensor in places))
    more = torch.cat([known.columns(), known.here[:7]])  # columns beside those of the residual
    at, found = network.forward(more.T), network.zeros()
    residual = BackwardResidual(network, known, at)
    assert torch.allclose(residual.value, reference.detach(), rtol=1e-3, atol=2e-3 * reference.abs().max().item())
    by_logit, by_change = residual.slopes(residual.value.flip(0) / 300)
    network.add_gradient(found, at, torch.cat([by_logit, torch.zeros(7)])[None], residual.change, by_change)
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine.view_as(theirs), theirs, rtol=1e-3, atol=2e-3 * theirs.abs().max().item())


@pytest.mark.parametrize("name", ["disc_gap", "pairs_together"])  # the first of them is added to the logit
def test_network_gradient_is_that_of_autograd(name):
    model, rng = model_of(name), np.random.default_rng(4)
    features = model.standardized(model.descriptor(torch.tensor(frames(50), dtype=torch.float32)))
    reference, ratio = (torch.tensor(rng.normal(size=50), dtype=torch.float32) for _ in range(2))
    network = Network.of_model(model)
    loss, _ = stopped_operator_loss(torch.nn.functional.logsigmoid(model.state_logits(features)[:, 1]), reference, ratio)
    expected = torch.autograd.grad(loss.mean(), list(model.parameters()))
    at, found = network.forward(features.T), network.zeros()
    mine, slope = stopped_operator_loss(at.log_importance(), reference, ratio)
    network.add_gradient(found, at, slope * at.outer / 50)
    assert torch.allclose(mine, loss.detach(), rtol=1e-5, atol=1e-6)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one.view_as(other), other, rtol=1e-4, atol=1e-5 * other.abs().max().item())


def hot_segments(system, n=600, seed=4):
    """Unbiased segments that start everywhere between the states."""
    rng = np.random.default_rng(seed)
    positions = np.zeros((n, 1, 3))
    positions[:, 0, 0] = rng.uniform(-1.0, 1.0, n) * abs(system.positions[0, 0])
    positions = positions[system.states.classify(positions) == 0]
    propagator = Propagator(system, None, n, Machine("Reference", "python"), np.random.SeedSequence(seed))
    return sample_segments(propagator, Frames(positions), 20, 100, seed).segments


@pytest.fixture(scope="module")
def learned():
    system = double_well_1d.build(temperature=900.0)
    torch.manual_seed(0)
    model = CommittorModel(system.descriptor_spec(), 1, (24, 24), 900.0)
    data = hot_segments(system)
    model.standardize(data.start.positions)
    trainer, rng = Trainer(model, noise_of_one_step(system), batch=512), np.random.default_rng(1)
    before = {name: value.copy() for name, value in trainer.state().items()}
    reports = [trainer.fit(data, rng, 60, 3e-3) for _ in range(25)]
    return system, model, trainer, before, reports


def test_committor_is_learned_from_segments(learned):
    system, model, _, _, reports = learned
    x = np.linspace(-0.6, 0.95, 30) * abs(system.positions[0, 0])
    positions = np.zeros((30, 1, 3))
    positions[:, 0, 0] = x
    inside = system.states.classify(positions) == 0
    exact = double_well_1d.committor(x[inside], 900.0)
    error = np.exp(model.log_importance(positions[inside])) - exact
    assert np.sqrt((error**2).mean()) < 0.08
    assert reports[-1]["sd_log_importance"] > 1.0  # a constant solves the interior equation: this is no constant
    assert np.sqrt(((exact.mean() - exact) ** 2).mean()) > 0.2  # negative control: the best constant fails


def test_trainer_state_restores_the_model_and_the_optimizer(learned):
    system, model, trainer, before, _ = learned
    state = trainer.state()
    data = hot_segments(system, n=100)
    twin = Trainer(model.copy(), noise_of_one_step(system), batch=512)
    twin.set_state(state)
    trainer_again = Trainer(model.copy(), noise_of_one_step(system), batch=512)
    trainer_again.set_state(state)
    for each in (twin, trainer_again):
        each.fit(data, np.random.default_rng(2), 10, 1e-3)
    assert all(np.array_equal(twin.state()[name], trainer_again.state()[name]) for name in state)
    assert any(not np.array_equal(before[name], state[name]) for name in before)
    fresh = Trainer(model.copy(), noise_of_one_step(system), batch=512)
    fresh.fit(data, np.random.default_rng(2), 10, 1e-3)  # negative control: without the moments the result differs
    assert any(not np.array_equal(fresh.state()[name], twin.state()[name]) for name in state)


def test_non_finite_weights_are_refused(learned):
    system, model, _, _, _ = learned
    data = hot_segments(system, n=50)
    bad = replace(data, log_weight=np.full(len(data), np.nan))
    with pytest.raises(ValueError, match="not finite"):
        Trainer(model.copy(), noise_of_one_step(system)).fit(bad, np.random.default_rng(0), 3, 1e-3)


def test_without_weight_the_residual_is_not_computed(learned):
    system, model, _, _, _ = learned
    data = hot_segments(system, n=50)
    unknown = replace(data, drift=np.full_like(data.drift, np.nan))
    trainer = Trainer(model.copy(), noise_of_one_step(system), residual_weight=0.0)
    assert trainer.fit(unknown, np.random.default_rng(0), 3, 1e-3)["residual"] == 0.0
    with pytest.raises(ValueError, match="not finite"):  # negative control
        Trainer(model.copy(), noise_of_one_step(system)).fit(unknown, np.random.default_rng(0), 3, 1e-3)


def error_of_slope(residual_weight, seed):
    """Root mean square error of d ln I/dx, 1/nm, after training on a few hundred noisy segments."""
    system = double_well_1d.build(temperature=900.0)
    torch.manual_seed(seed)
    model = CommittorModel(system.descriptor_spec(), 1, (24, 24), 900.0)
    data = hot_segments(system, 100, seed)
    model.standardize(data.start.positions)
    trainer = Trainer(model, noise_of_one_step(system), batch=512, residual_weight=residual_weight)
    rng = np.random.default_rng(seed)
    for _ in range(10):
        trainer.fit(data, rng, 60, 3e-3)
    x = np.linspace(-0.3, 0.3, 31)
    positions = np.zeros((31, 1, 3))
    positions[:, 0, 0] = x
    _, gradient = FastImportance(model, 1).log_importance_gradient(positions)
    exact = np.gradient(np.log(double_well_1d.committor(x, 900.0)), x)
    return np.sqrt(((gradient[:, 0, 0] - exact) ** 2).mean())


def test_backward_equation_makes_the_slope_right_where_segments_are_few_and_noisy():
    with_it, without = (sum(error_of_slope(weight, seed) for seed in range(1, 9)) for weight in (4.0, 0.0))
    assert with_it < 0.7 * without
