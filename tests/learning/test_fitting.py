"""Committors fitted to shots: which inputs stay, what is known already, ensembles, dropout, when a fit is due."""

import numpy as np
import pytest
import torch

from openmm_rare.committor.ensemble import CommittorEnsemble
from openmm_rare.committor.model import CommittorModel
from openmm_rare.committor.multistate import MultiStateModel
from openmm_rare.learning.gated_fit import FitOptions
from openmm_rare.learning.shot_fit import fit_model
from openmm_rare.learning.shot_trainer import ShotTrainer
from openmm_rare.learning.shots import Shots
from stats import assert_within

SPEC = {"kind": "coordinates", "columns": list(range(6)), "scale": 0.3}
RESIDUAL = {"kind": "residual"}


def frames(n=40, seed=0):
    return np.random.default_rng(seed).normal(0.0, 0.3, (n, 2, 3))


def make_shots(n=400, seed=3, slope=6.0):
    """Two shots from each of n points; the logit is slope times the first coordinate."""
    rng, shots = np.random.default_rng(seed), Shots()
    for number, positions in enumerate(frames(n, seed)):
        p = 1.0 / (1.0 + np.exp(-slope * positions[0, 0]))
        n_b = rng.binomial(2, p)
        shots.add(number, positions, (2 - n_b, n_b), 2.0 * p * (1.0 - p))
    return shots


def model_of(network=None, hidden=(8,)):
    return CommittorModel(SPEC, 2, hidden, 300.0, "f" * 64, network or RESIDUAL)


def slopes(model):
    """Of the logit along each of the six coordinates."""
    step = 0.05 * np.eye(6).reshape(6, 2, 3)
    return (model.logit(step) - model.logit(-step)) / 0.1


def error(model, slope=6.0):
    """Root mean square of the error of the committor."""
    x = frames(200, 9)
    p, q = slope * x[:, 0, 0], model.logit(x)
    return np.sqrt(np.mean((1.0 / (1.0 + np.exp(-p)) - 1.0 / (1.0 + np.exp(-q))) ** 2))


@pytest.mark.parametrize(
    "network", [RESIDUAL, {"kind": "residual", "dropout": 0.1}, {"kind": "selu", "dropout": 0.1}, {"kind": "mlp"}]
)
def test_needless_inputs_are_weeded_out(network):
    shots = make_shots(600, slope=10.0)
    found = np.abs(slopes(fit_model(model_of(network), shots, 1)))
    assert found[0] > 3.0 and found[1:].max() == 0.0
    everything = np.abs(slopes(fit_model(model_of(network), shots, 1, FitOptions(gate_strength=0.0))))
    assert everything.min() > 0.0  # negative control


def test_the_gates_let_no_more_than_chance_pass():
    """With the strength 1 of the universal threshold, inputs that say nothing stay out; with a tenth of it some come in."""
    rng, kept = np.random.default_rng(1), {0.1: 0, 1.0: 0}
    for _ in range(10):
        shots = make_shots(100, int(rng.integers(2**31)), slope=0.0)
        for strength in kept:
            kept[strength] += np.count_nonzero(slopes(fit_model(model_of(), shots, 1, FitOptions(strength, iterations=60))))
    assert kept[1.0] <= 6 < kept[0.1]


def test_an_ensemble_is_surer_after_more_shots():
    spreads = []
    for n in (50, 1600):
        ensemble = fit_model(CommittorEnsemble([model_of() for _ in range(4)]), make_shots(n), 1)
        spreads.append(np.median(ensemble.spread(frames(50, 5))))
    assert 0.0 < 2.0 * spreads[1] < spreads[0]


def test_three_states_are_told_apart():
    rng, shots = np.random.default_rng(4), Shots()
    logits = np.array([[0.0, 8.0, -4.0]])
    for number, positions in enumerate(frames(800, 4)):
        p = np.exp(positions[0, 0] * logits[0])
        shots.add(number, positions, rng.multinomial(2, p / p.sum()), 0.5)
    model = fit_model(MultiStateModel(SPEC, 2, ("A", "B", "C"), (8,), network=RESIDUAL), shots, 1)
    x = frames(100, 7)
    exact = np.exp(x[:, 0, :1] * logits)
    exact /= exact.sum(1, keepdims=True)
    found = np.exp(model.log_probabilities(x))
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-6)
    assert np.sqrt(np.mean((found - exact) ** 2)) < 0.05
    assert np.sqrt(np.mean((found[:, ::-1] - exact) ** 2)) > 0.2  # negative control


def test_a_fit_is_the_most_likely_one():
    """With the linear part alone and no decay, the gradient of the likelihood vanishes."""
    shots = make_shots(300)
    model = fit_model(model_of({"kind": "mlp"}, ()), shots, 1, FitOptions(0.0, 0.0, iterations=1000))
    arrays = shots.arrays()
    p = 1.0 / (1.0 + np.exp(-model.logit(arrays["positions"])))
    residual = 2.0 * p - arrays["reached"][:, 1]
    assert np.abs(residual @ arrays["positions"].reshape(300, 6)).max() / 600 < 1e-4
    assert_within(slopes(model)[0], 6.0, 0.75)


def test_a_given_model_is_held_on_to():
    """Few shots do not spoil what it knows; without it they teach little; many shots correct what was wrong."""
    good = fit_model(model_of(), make_shots(3000, 5), 1)
    few = make_shots(8, 6)
    assert error(fit_model(good, few, 1, prior=good)) < 0.12 < 0.2 < error(fit_model(good, few, 1))
    wrong = fit_model(model_of(), make_shots(3000, 5, slope=-6.0), 1)
    assert error(wrong) > 0.4
    assert error(fit_model(wrong, make_shots(1500, 7), 1, prior=wrong)) < 0.05


def test_fits_are_due_when_shots_have_grown_or_surprise():
    trainer, shots = ShotTrainer(model_of(), growth=0.5), make_shots(100)
    trainer.fit(shots.take(range(60)))
    seen = np.mean([np.count_nonzero(reached) > 1 for reached in shots.reached])
    shots.expected = [seen] * 100  # no surprise
    due = [n for n in range(61, 101) if trainer.due(shots.take(range(n)))]
    assert due and 80 <= due[0] <= 92
    shots.expected = [0.1] * 100  # far too few
    assert trainer.due(shots.take(range(61))) and not trainer.due(shots.take(range(60)))


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("kind", ["model", "ensemble"])
def test_the_state_of_a_trainer_is_all_that_it_needs(kind, given):
    def make(seed):
        torch.manual_seed(seed)
        return model_of() if kind == "model" else CommittorEnsemble([model_of(), model_of()])

    shots = make_shots(80)
    first = ShotTrainer(make(1), given=given)
    first.fit(shots.take(range(40)))
    second = ShotTrainer(make(2))
    second.set_state(first.state())
    assert second.fitted == 40
    np.testing.assert_array_equal(second.model.logit(frames()), first.model.logit(frames()))
    for trainer in (first, second):
        trainer.fit(shots)
    np.testing.assert_array_equal(second.model.logit(frames()), first.model.logit(frames()))


def test_bad_shots_and_options():
    trainer, shots = ShotTrainer(model_of()), Shots()
    with pytest.raises(ValueError, match="no shots to learn from"):
        trainer.fit(shots)
    shots.add(1, np.full((2, 3), np.nan), (1, 1), 0.5)
    with pytest.raises(ValueError, match="not finite"):
        trainer.fit(shots)
    with pytest.raises(ValueError, match="must not be negative"):
        FitOptions(gate_strength=-1.0)
