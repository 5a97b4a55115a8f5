"""The gradient of a calibrated importance is that of its values, and a bias along it leaves rates as they are."""

import numpy as np
import pytest
import torch

from openmm_rare.bias.bias import Bias
from openmm_rare.bias.calibrated import CalibratedImportance
from openmm_rare.bias.directions import CommittorDirection, VariableDirection
from openmm_rare.bias.level_table import LevelTable
from openmm_rare.committor.model import CommittorModel
from openmm_rare.dynamics.frames import Frames
from openmm_rare.parallel.executors import Here
from openmm_rare.rates.branching import Branching, WeightWindow
from openmm_rare.rates.trees.follower import TreeFollower
from openmm_rare.rates.trees.tree import TreeRules
from openmm_rare.systems import langevin_well
from openmm_rare.walkers.machine import Machine
from stats import assert_within, mean_and_stderr

LEVELS = np.array([-3.0, -1.0, 0.0, 2.0])
VALUES = np.array([-4.0, -2.5, -1.0, 0.0])


def model(slope=3.0):
    """Logit slope times x, of one particle."""
    made = CommittorModel({"kind": "coordinates", "columns": [0], "scale": 1.0}, 1, ())
    with torch.no_grad():
        made.network[-1].weight.fill_(slope)
        made.network[-1].bias.zero_()
    return made


@pytest.mark.parametrize("logistic", [True, False])
def test_the_slope_of_a_table_is_that_of_its_values(logistic):
    table = LevelTable(LEVELS, VALUES, logistic)
    level, step = np.array([-3.5, -2.0, -0.4, 1.0, 2.5, 40.0]), 1e-6
    numerical = (table(level + step) - table(level - step)) / (2.0 * step)
    np.testing.assert_allclose(table.slope(level), numerical, atol=1e-8)
    assert table.slope(level)[0] == 0.0 and (table.slope(level)[1:4] > 0.0).all()
    flat = LevelTable(np.zeros(1), np.zeros(1), logistic)
    assert flat.slope(np.array([-1.0]))[0] == 0.0 and flat.slope(np.array([1.0]))[0] == pytest.approx(
        0.26894 * logistic, rel=1e-4
    )


def test_the_gradient_is_that_of_the_values():
    importance = CalibratedImportance(CommittorDirection(model()), LevelTable(LEVELS, VALUES, True), 0.0, 0.01)
    positions = np.random.default_rng(1).normal(size=(20, 1, 3))
    value, gradient = importance.log_importance_gradient(positions)
    shift = np.array([1e-3, 0.0, 0.0])
    ahead, behind = (importance.log_importance(positions + way * shift) for way in (1, -1))
    smooth = np.abs(3.0 * positions[:, 0, 0, None] - LEVELS).min(axis=1) > 0.01  # no corner of the table within the step
    np.testing.assert_allclose(value, importance.log_importance(positions), atol=1e-6)
    np.testing.assert_allclose(gradient[smooth, 0, 0], ((ahead - behind) / 2e-3)[smooth], atol=1e-3)
    assert smooth.sum() > 10 and (gradient[:, 0, 1:] == 0.0).all()


def test_a_variable_has_no_gradient_to_bias_along():
    problem = langevin_well.build()
    direction = VariableDirection.of(problem.states, "x", problem.positions[None])
    importance = CalibratedImportance(direction, LevelTable(LEVELS, VALUES, False), 0.0, 0.01)
    with pytest.raises(ValueError, match="x has no gradient to bias along: take a model, or the bias strength 0"):
        importance.log_importance_gradient(problem.positions[None])


def test_biased_trees_arrive_as_the_exact_committor_says():
    problem, n = langevin_well.build(3.0, 20.0), 30
    solution = langevin_well.exact(3.0, 20.0)
    grid = np.linspace(-0.75, 0.75, 40)
    q = np.interp(grid, solution.x, solution.mean_committor())
    importance = CalibratedImportance(CommittorDirection(model(1.0)), LevelTable(grid, np.log(q), False), 0.0, problem.timestep)
    positions, velocities = np.zeros((2, n, 1, 3))
    positions[:, 0, 0], velocities[:, 0, 0] = -0.25, np.random.default_rng(7).normal(size=n)
    branching = Branching(float(np.interp(-0.25, grid, np.log(q))), WeightWindow(), 10, 4000)
    rules = TreeRules(problem, Machine(), importance, branching, 10**6, Bias(importance, 0.7, interval=5))
    batch = TreeFollower(rules, Here()).follow(Frames(positions, velocities), np.zeros(n), np.random.SeedSequence(4))
    exact = solution.at(positions[:, 0, 0], velocities[:, 0, 0])
    mean, error = mean_and_stderr(batch.contribution - exact)
    assert error < 0.35 * exact.mean() and batch.arrivals.sum() > 2.5 * exact.sum()
    assert_within(mean, 0.0, error)
    with pytest.raises(AssertionError):  # negative control: arrivals counted without their weights
        assert_within(batch.arrivals.sum() / n, exact.mean(), error)
