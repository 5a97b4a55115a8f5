"""Sampling with a learned action: exact with Metropolis whatever was learned, and only then."""

import numpy as np
import pytest
from scipy.integrate import quad

from openmm_rare.action.checking.structure import contraction
from openmm_rare.action.features.plain_features import PlainFeatures
from openmm_rare.action.linear_action import LinearAction
from openmm_rare.action.midpoint_map import MidpointMap, Step, verlet_steps
from openmm_rare.action.thermostat import Rows, ThermostattedMap
from openmm_rare.errors import DynamicsError
from phase_models import canonical, data_of, oscillator, plain_space
from stats import assert_within, mean_and_stderr

H, ROWS = 0.8, 400
WEIGHTS = [quad(lambda x, n=n: x**n * np.exp(-(x * x / 2 + x**4 / 4)), -8, 8)[0] for n in (0, 2)]
EXACT = WEIGHTS[1] / WEIGHTS[0]  # 0.46792


class Waves:
    """A wrong action that is bounded: random waves of any size."""

    kernel, frequency, timestep = "verlet", 1.0, H

    def __init__(self, size):
        rng = np.random.default_rng(4)
        self.a, (self.u, self.v) = size * rng.normal(size=6), rng.normal(size=(2, 1, 6))

    def gradient(self, q, p):
        x, y = q @ self.u + 1.0, p @ self.v
        by_q = (self.a * np.cos(x) * np.cos(y)) @ self.u.T
        return H * by_q, -H * (self.a * np.sin(x) * np.sin(y)) @ self.v.T


class Lossy:
    """Verlet that loses momentum: no volume is kept, and nothing comes back."""

    def __init__(self):
        self.action = Waves(0.0)

    def step(self, q, p, pull):
        made = verlet_steps(oscillator, q, p, 0.4, 1, pull)
        return Step(made.q, 0.97 * made.p, *made[2:])


@pytest.fixture(scope="module")
def learned():
    data = data_of(oscillator, plain_space(1), [0.0], 1.0, hotter=2.0, rows=600, h=0.1, delta=0.05, strides=(16,), steps=20)
    return LinearAction.fit(data, 16, PlainFeatures.fitting(data.q, data.p, (4, 2, 2)), ridge=1e-8)


def sampled(mapping, steps=200, returns=False, metropolize=True, seed=3):
    """Means of q^2 and p^2 of each chain, and what became of the steps."""
    q, p = canonical(oscillator, [0.0], 1.0, ROWS, 0.1, 15, seed)
    moves = ThermostattedMap(mapping, 1.0, 1.0, metropolize, returns, np.random.default_rng(seed))
    rows, sums = Rows(q, p, oscillator(q)), np.zeros((2, ROWS))
    for _ in range(steps):
        rows = moves.step(rows)
        sums += np.stack([rows.q[:, 0] ** 2, rows.p[:, 0] ** 2])
    return sums.T / steps, moves.tally


def test_metropolis_is_exact_with_what_was_learned_and_with_what_is_wrong(learned):
    assert EXACT == pytest.approx(0.46792, abs=1e-5)
    wrong = Waves(0.4)
    rates = []
    for action in (learned, wrong):
        means, tally = sampled(MidpointMap(action, oscillator, 1e-7, 40))
        assert_within(*interleaved(means), nsigma=3.5)
        rates.append(tally.accepted / tally.steps)
    assert rates[0] > 0.97 and 0.4 < rates[1] < 0.95


def interleaved(means):
    mean, stderr = mean_and_stderr(means)
    return mean, np.array([EXACT, 1.0]), stderr


def test_a_wrong_action_without_metropolis_runs_away_and_says_so():
    """Negative control."""
    with pytest.raises(DynamicsError, match="were not solved"):
        sampled(MidpointMap(Waves(0.4), oscillator, 1e-7, 60), metropolize=False)


def test_a_map_that_loses_volume_is_wrong_with_metropolis_too():
    """Negative control: what Metropolis needs is the structure."""
    means, tally = sampled(Lossy(), steps=400)
    mean, exact, stderr = interleaved(means)
    assert tally.accepted / tally.steps > 0.9 and ((exact - mean) > 5 * stderr).all()


def test_a_step_must_lead_back_where_midpoints_have_several_solutions():
    steep = Waves(1.5)
    q, p = canonical(oscillator, [0.0], 1.0, 100, 0.1, 15, 1)
    assert contraction(steep, q, p).max() > 1.5
    means, tally = sampled(MidpointMap(steep, oscillator, 1e-7, 30), returns=True, steps=60)
    assert tally.unsolved > 0 and tally.not_returned > 0 and tally.accepted > 0.05 * tally.steps
    assert_within(*interleaved(means), nsigma=3.5)
    gentle, tally = sampled(MidpointMap(Waves(0.4), oscillator, 1e-7, 60), returns=True, steps=50)
    assert tally.not_returned == 0  # where there is one solution nothing is lost


def test_what_is_not_solved_is_rejected_and_never_a_number():
    moves = MidpointMap(Waves(0.4), oscillator, 1e-12, 2)
    means, tally = sampled(moves, steps=10)
    assert tally.unsolved > 0 and np.isfinite(means).all()
