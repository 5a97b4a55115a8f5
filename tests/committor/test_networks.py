"""Networks, ensembles and multi-state committors: gradients, losses, initial scales, dropout, saving."""

import io
import json

import numpy as np
import pytest
import torch

from openmm_rare.bias.importance import FastImportance
from openmm_rare.committor.ensemble import CommittorEnsemble
from openmm_rare.committor.load import load_committor
from openmm_rare.committor.model import CommittorModel
from openmm_rare.committor.multistate import MultiStateModel
from openmm_rare.committor.networks import architecture_spec, build_network, input_layers
from openmm_rare.learning.losses import binomial_loss, multinomial_loss
from stats import assert_within

SPEC = {"kind": "coordinates", "columns": [0, 1, 2, 3, 4, 5], "scale": 0.3}
NETWORKS = {
    "mlp": None,
    "selu": {"kind": "selu"},
    "selu with dropout": {"kind": "selu", "dropout": 0.2},
    "residual": {"kind": "residual"},
    "residual with dropout": {"kind": "residual", "dropout": 0.2},
}


def frames(n=40, seed=0):
    return np.random.default_rng(seed).normal(0.0, 0.3, (n, 2, 3))


def model_of(network, seed=0, hidden=(16, 12)):
    torch.manual_seed(seed)
    model = CommittorModel(SPEC, 2, hidden, 300.0, "f" * 64, network)
    model.standardize(frames(100, 1))
    for block in model.network:  # blocks that start at zero would hide mistakes
        if hasattr(block, "second"):
            torch.nn.init.normal_(block.second.weight, std=0.3)
    return model


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_gradient_is_the_finite_difference(network):
    model, positions, step = model_of(network).double(), frames(2), 1e-6
    x = torch.tensor(positions, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.logit(x).sum(), x)
    for frame, atom, axis in [(0, 0, 0), (1, 1, 2)]:
        shifted = [torch.tensor(positions), torch.tensor(positions)]
        shifted[0][frame, atom, axis] += step
        shifted[1][frame, atom, axis] -= step
        with torch.no_grad():
            difference = (model.logit(shifted[0])[frame] - model.logit(shifted[1])[frame]).item() / (2.0 * step)
        assert gradient[frame, atom, axis].item() == pytest.approx(difference, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_models_of_every_network_save_and_load(network, tmp_path):
    model, path = model_of(network), tmp_path / "model.npz"
    model.save(path)
    again = CommittorModel.load(path, "f" * 64)
    np.testing.assert_array_equal(again.logit(frames()), model.logit(frames()))
    assert again.metadata() == model.metadata()
    np.testing.assert_array_equal(model.copy().logit(frames()), model.logit(frames()))
    np.testing.assert_array_equal(CommittorModel.load(io.BytesIO(model.to_bytes())).logit(frames()), model.logit(frames()))


def test_files_of_before_still_load_and_older_versions_refuse_new_networks(tmp_path):
    model = model_of(None)
    assert "network" not in model.metadata() and model.metadata()["format"] == "openmm_rare committor model 1"
    assert model_of({"kind": "selu"}).metadata()["format"] == "openmm_rare committor model 2"
    arrays = {"metadata": np.array(json.dumps(model.metadata() | {"format": "something else"})), **model.tensors()}
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError, match="not a readable committor model.*format 'something else'"):
        CommittorModel.load(tmp_path / "other.npz")


@pytest.mark.parametrize("kind", ["selu", "residual"])
def test_dropout_acts_only_while_learning(kind):
    model, x = model_of({"kind": kind, "dropout": 0.3}), torch.tensor(frames(), dtype=torch.float32)
    before = model.logit(x)
    assert torch.equal(model.logit(x), before)
    model.network.train()  # as a fit does with a copy
    assert (model.logit(x) - model.logit(x)).abs().max() > 1e-3


def test_self_normalizing_layers_keep_mean_and_variance():
    """LeCun-normal weights have variance 1/fan-in; with 1/fan-out, the negative control, a pyramid loses its scale."""
    torch.manual_seed(1)
    widths = (512, 256, 128, 64)
    network = build_network({"kind": "selu"}, 1024, widths, 1)
    x = torch.randn(2000, 1024)
    with torch.no_grad():
        hidden = network[:-1](x)
        assert abs(hidden.mean().item()) < 0.1 and 0.8 < hidden.std().item() < 1.25
        for layer in network:
            if isinstance(layer, torch.nn.Linear):
                layer.weight.mul_((layer.in_features / layer.out_features) ** 0.5)
        assert network[:-1](x).std().item() > 1.4


def test_a_residual_network_starts_as_a_linear_map_of_its_inputs():
    """Also where the widths are equal: an input whose weights are 0 must not pass by a shortcut of its own."""
    network = build_network({"kind": "residual"}, 5, (5, 5), 1)
    x = torch.randn(7, 5)
    assert torch.equal(network[:-1](x), network[0].shortcut(x))
    with torch.no_grad():
        for layer in input_layers(network):
            layer.weight[:, 2] = 0.0
        network[0].second.weight.normal_()
    changed = x.clone()
    changed[:, 2] += 1.0
    assert torch.equal(network(changed), network(x)) and not torch.equal(network(x + 1.0), network(x))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "transformer"}, "is unknown; choose one of mlp, residual, selu"),
        ({"kind": "mlp", "dropout": 0.1}, "unknown keys"),
        ({"kind": "selu", "dropout": 1.0}, "dropout = 1.0 is a probability"),
    ],
)
def test_bad_networks(spec, message):
    with pytest.raises(ValueError, match=message):
        architecture_spec(spec)


@pytest.mark.parametrize("kind", ["selu", "residual"])
def test_bias_forces_refuse_networks_that_they_cannot_compute(kind):
    with pytest.raises(ValueError, match=f"kind '{kind}' serves path sampling and analysis only"):
        FastImportance(model_of({"kind": kind}))


def test_multinomial_loss_is_the_likelihood_and_survives_large_logits():
    torch.manual_seed(0)
    logits, counts = (
        torch.randn(5, 3, dtype=torch.float64),
        torch.tensor(np.random.default_rng(0).integers(0, 4, (5, 3))).double(),
    )
    p = torch.softmax(logits, 1)
    expected = -(counts * torch.log(p)).sum() / counts.sum()
    assert multinomial_loss(logits, counts).item() == pytest.approx(expected.item())
    assert torch.autograd.gradcheck(lambda q: multinomial_loss(q, counts), logits.requires_grad_(True))
    huge = torch.tensor([[0.0, 200.0, 0.0], [0.0, -200.0, 200.0]], requires_grad=True)
    loss = multinomial_loss(huge, torch.ones(2, 3))
    (gradient,) = torch.autograd.grad(loss, huge)
    assert loss.item() == pytest.approx((400.0 + 600.0) / 6.0) and torch.isfinite(gradient).all()
    naive = -torch.log(torch.softmax(huge, 1)).sum() / 6.0  # negative control
    assert not torch.isfinite(naive)


def test_two_states_give_the_binomial_loss():
    q = torch.linspace(-3.0, 3.0, 9, dtype=torch.float64)
    n_a, n_b = torch.arange(9.0, dtype=torch.float64), torch.arange(9.0, dtype=torch.float64).flip(0)
    two = multinomial_loss(torch.stack([torch.zeros_like(q), q], 1), torch.stack([n_a, n_b], 1))
    assert two.item() == pytest.approx(binomial_loss(q, n_a, n_b).item())


def test_a_multi_state_model_learns_the_fractions(tmp_path):
    rng = np.random.default_rng(2)
    torch.manual_seed(0)
    model = MultiStateModel(SPEC, 2, ("A", "B", "C"), (8,), 300.0, "f" * 64)
    truth = np.array([0.2, 0.5, 0.3])
    counts = torch.tensor(rng.multinomial(50, truth, 60)).float()
    features = model.descriptor(torch.tensor(frames(60), dtype=torch.float32)) * 0.0
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = multinomial_loss(model.state_logits(features), counts)
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        p = torch.softmax(model.state_logits(features[:1]), 1)[0].numpy()
    stderr = np.sqrt(truth * (1.0 - truth) / 3000)
    assert_within(p, truth, stderr)
    with pytest.raises(AssertionError):
        assert_within(p, truth[::-1], stderr)  # negative control
    model.save(tmp_path / "model.npz")
    again = MultiStateModel.load(tmp_path / "model.npz", "f" * 64)
    np.testing.assert_array_equal(again.log_probabilities(frames()), model.log_probabilities(frames()))
    np.testing.assert_allclose(np.exp(again.log_probabilities(frames())).sum(1), 1.0, rtol=1e-6)
    with pytest.raises(ValueError, match="not a readable committor model"):
        CommittorModel.load(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="two or more different names"):
        MultiStateModel(SPEC, 2, ("A", "A"))


def test_distance_from_the_transition_states_of_two_states_is_the_logit():
    torch.manual_seed(0)
    model = MultiStateModel(SPEC, 2, ("A", "B"), (8,))
    log_p = model.log_probabilities(frames())
    np.testing.assert_allclose(model.transition_distance(frames()), np.abs(log_p[:, 1] - log_p[:, 0]), atol=1e-3)


def test_an_ensemble_averages_probabilities():
    ensemble = CommittorEnsemble([model_of(None, seed) for seed in range(4)])
    p = np.stack([1.0 / (1.0 + np.exp(-member.logit(frames()))) for member in ensemble.members])
    np.testing.assert_allclose(1.0 / (1.0 + np.exp(-ensemble.logit(frames()))), p.mean(0), rtol=1e-4)
    np.testing.assert_allclose(np.exp(ensemble.log_importance(frames())), p.mean(0), rtol=1e-4)
    np.testing.assert_allclose(ensemble.spread(frames()), p.std(0, ddof=1), rtol=1e-4)
    with torch.no_grad():
        for member in ensemble.members:
            member.network[-1].weight.mul_(1e4)
    assert np.isfinite(ensemble.logit(frames())).all() and np.abs(ensemble.logit(frames())).max() > 200.0


def test_an_ensemble_saves_and_loads(tmp_path):
    ensemble = CommittorEnsemble.of(3, SPEC, 2, (8,), 300.0, "f" * 64, seed=2)
    ensemble.save(tmp_path / "ensemble.npz")
    again = CommittorEnsemble.load(tmp_path / "ensemble.npz", "f" * 64)
    np.testing.assert_array_equal(again.logit(frames()), ensemble.logit(frames()))
    with pytest.raises(ValueError, match="not a readable committor ensemble"):
        model_of(None).save(tmp_path / "model.npz")
        CommittorEnsemble.load(tmp_path / "model.npz")


@pytest.mark.parametrize("kind", ["model", "ensemble", "three states"])
def test_a_committor_of_any_kind_is_read_back(kind, tmp_path):
    made = {
        "model": lambda: model_of({"kind": "residual"}),
        "ensemble": lambda: CommittorEnsemble([model_of(None), model_of(None, 1)]),
        "three states": lambda: MultiStateModel(SPEC, 2, ("A", "B", "C"), (8,), 300.0, "f" * 64),
    }[kind]()
    made.save(tmp_path / "model.npz")
    for source in (tmp_path / "model.npz", made.to_bytes()):
        again = load_committor(source, "f" * 64)
        assert type(again) is type(made)
        np.testing.assert_array_equal(again.log_probabilities(frames()), made.log_probabilities(frames()))
    with pytest.raises(ValueError, match="another system or other states"):
        load_committor(tmp_path / "model.npz", "0" * 64)
    (tmp_path / "broken.npz").write_bytes(made.to_bytes()[:300])
    with pytest.raises(ValueError, match="broken.npz is not a readable committor model"):
        load_committor(tmp_path / "broken.npz")


def test_transition_probabilities_stay_exact_far_from_the_transition_states():
    model = model_of({"kind": "residual"})
    q = model.logit(frames())
    with torch.no_grad():
        model.network[-1].weight.mul_(300.0 / np.abs(q).max())
        model.network[-1].bias.mul_(300.0 / np.abs(q).max())
    q = model.logit(frames())
    assert np.abs(q).max() > 200.0
    exact = np.log(2.0) - np.logaddexp(0.0, q) - np.logaddexp(0.0, -q)
    np.testing.assert_allclose(np.log(model.transition_probability(frames())), exact, atol=1e-9)
    np.testing.assert_allclose(model.transition_distance(frames()), np.abs(q), rtol=1e-6)


def test_members_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match="two or more members"):
        CommittorEnsemble([model_of(None)])
    other = model_of(None)
    other.fingerprint = "0" * 64
    with pytest.raises(ValueError, match="differ in fingerprint"):
        CommittorEnsemble([model_of(None), other])
