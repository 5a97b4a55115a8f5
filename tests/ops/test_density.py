"""The density correction of the selector: what it is good for where transition paths linger near A."""

from functools import cache

import numpy as np
import openmm
import pytest
from scipy.special import expit, logit

import line
from openmm_rare.committor.load import committor_bin
from openmm_rare.committor.model import CommittorModel
from openmm_rare.dynamics.frames import Frames
from openmm_rare.settings.paths import PathSettings
from openmm_rare.states.states import CollectiveVariables, Coordinate, Range, States
from openmm_rare.systems import RareEventSystem
from openmm_rare.tps.chains.chain import run_chain
from openmm_rare.tps.chains.task import ChainState, ChainTask, PathProblem
from openmm_rare.units import KB
from stats import assert_within

LEFT, RIGHT, BINS, TRIALS = -1.2, 0.7, 10, 600
"""nm: A is x < LEFT, beyond the well at -1, in which paths to B at x > RIGHT therefore spend most of their time."""


def make_target():
    system, variables = openmm.System(), CollectiveVariables([Coordinate("x", 0, 0)])
    system.addParticle(1.0)
    force = openmm.CustomExternalForce(f"{line.BARRIER}*(x^2-1)^2")
    force.addParticle(0, [])
    system.addForce(force)
    states = States(variables, Range({"x": (float("-inf"), LEFT)}), Range({"x": (RIGHT, float("inf"))}))
    start, dynamics = np.array([[LEFT - 0.1, 0.0, 0.0]]), (1.0 / KB, line.FRICTION, line.TIMESTEP)
    return RareEventSystem("lingering", system, start, states, *dynamics, num_dimensions=1)


@cache
def make_model(width=40):
    """The exact committor as a network: the output weights of ramps are fitted to its logit."""
    x = np.linspace(LEFT, RIGHT, 2001)[1:-1]
    p = np.cumsum(np.exp(line.BARRIER * (x**2 - 1.0) ** 2))
    q = np.clip(logit(p / (p[-1] + p[0])), -7.0, 7.0)
    model = CommittorModel({"kind": "coordinates", "columns": [0], "scale": 1.0}, 1, (width,), 300.0, "lingering")
    ramps, slope = np.linspace(LEFT, RIGHT, width), 30.0
    inside = slope * (x[:, None] - ramps)
    weights = np.linalg.lstsq(np.column_stack([inside * expit(inside), np.ones_like(x)]), q, rcond=1e-6)[0]
    tensors = {name: np.zeros_like(value) for name, value in model.tensors().items()}
    tensors["feature_scale"] += 1.0
    tensors["network.0.weight"][:, 0], tensors["network.0.bias"][:] = slope, -slope * ramps
    tensors["network.2.weight"][0], tensors["network.2.bias"][0] = weights[:-1], weights[-1]
    model.set_tensors(tensors)
    return model


@cache
def sample(density, seed):
    """Trials with shooting points drawn evenly from the path, or evenly along the committor."""
    settings = PathSettings(selector="uniform", trials_per_round=TRIALS, steps_per_frame=line.STRIDE, max_frames=20000)
    positions = np.zeros((30, 1, 3))
    positions[:, 0, 0] = [LEFT - 0.05, *np.linspace(LEFT + 0.05, RIGHT - 0.05, 28), RIGHT + 0.05]
    path = Frames(positions, None, np.repeat(2.0 * np.eye(3)[None], 30, axis=0))
    problem = PathProblem(make_target(), settings, "Reference")
    return run_chain(ChainTask(problem, 0, 0, seed, ChainState(path), make_model().to_bytes(), density))[1]


def logits_on_paths(trials):
    return [make_model().logit(trial.path[1:-1]) for trial in trials if trial.accepted]


def density_of(trials):
    return tuple(float(n) for n in np.bincount(committor_bin(np.concatenate(logits_on_paths(trials)), BINS), minlength=BINS))


def predicted_yield(trials, density=None):
    """Of shots from the paths of these trials: mean and standard error."""
    rarity = np.ones(BINS) if density is None else 1.0 / np.array(density)
    each = [np.average(2.0 * expit(q) * expit(-q), weights=rarity[committor_bin(q, BINS)]) for q in logits_on_paths(trials)]
    return np.mean(each), np.std(each) / np.sqrt(len(each))


def seen_yield(trials):
    connects = np.array([trial.n_a > 0 and trial.n_b > 0 for trial in trials])
    return connects.mean(), connects.std() / np.sqrt(len(connects))


def distance_from_even(trials):
    """Of the distribution of the committor at shooting points: half the sum of the differences, 0 to 1."""
    chosen = np.bincount(committor_bin(make_model().logit(np.array([trial.point for trial in trials])), BINS), minlength=BINS)
    return 0.5 * np.abs(chosen / len(trials) - 1.0 / BINS).sum()


def test_shots_are_spread_evenly_along_the_committor_and_more_become_paths():
    plain = sample(None, 3)
    density = density_of(plain)
    even = sample(density, 4)
    assert density[0] > 4.0 * max(density[1:])  # paths do linger near A
    assert distance_from_even(even) < 0.15 and distance_from_even(plain) > 0.35
    (mean, error), (expected, spread) = seen_yield(even), predicted_yield(plain, density)
    assert_within(mean, expected, np.hypot(error, spread))
    assert_within(seen_yield(plain)[0], predicted_yield(plain)[0], np.hypot(seen_yield(plain)[1], predicted_yield(plain)[1]))
    with pytest.raises(AssertionError):  # negative control: without the correction the yield is much lower
        assert_within(seen_yield(plain)[0], expected, np.hypot(seen_yield(plain)[1], spread))


def test_the_paths_stay_the_same():
    """Mean number of frames of the current path, with and without the correction."""
    plain = sample(None, 3)
    means = []
    for trials in (plain, sample(density_of(plain), 4)):
        lengths, length = [], 0
        for trial in trials:
            length = length if trial.path is None else len(trial.path)
            lengths += [length] if length else []
        blocks = [block.mean() for block in np.array_split(np.array(lengths, dtype=float), 20)]
        means.append((np.mean(blocks), np.std(blocks, ddof=1) / np.sqrt(20)))
    (first, error), (second, other) = means
    assert_within(first, second, np.hypot(error, other))
