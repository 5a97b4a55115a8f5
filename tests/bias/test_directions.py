"""Directions from A to B, the scale that is measured for them, and the look ahead along momenta."""

from types import SimpleNamespace

import numpy as np
import pytest
from momenta import well

from openmm_rare.bias.calibrated import CalibratedImportance, with_look_ahead
from openmm_rare.bias.directions import CommittorDirection, ScaledDirection, VariableDirection
from openmm_rare.bias.level_table import LevelTable
from openmm_rare.committor.model import CommittorModel
from openmm_rare.committor.multistate import MultiStateModel
from openmm_rare.rates.barrier.route import find_route
from openmm_rare.states.states import Coordinate, Dihedral, Disc, Range, States

LINE = np.zeros((5, 1, 3))
LINE[:, 0, 0] = [-1.0, -0.5, 0.0, 0.8, 2.0]


def test_a_variable_leads_to_its_range_in_b():
    states = well().states
    direction = VariableDirection.of(states, "x", LINE[:1])
    np.testing.assert_allclose(direction(LINE), [-1.8, -1.3, -0.8, 0.0, 0.0])
    backward = VariableDirection.of(States(states.variables, states.b, states.a), "x", LINE[3:])
    np.testing.assert_allclose(backward(LINE), [0.0, -0.3, -0.8, -1.6, -2.8])
    around = States(Coordinate("x", 0, 0), Range({"x": (-9.0, -0.8)}), Disc({"x": 1.0}, 0.25))
    np.testing.assert_allclose(VariableDirection.of(around, "x", LINE[:1])(LINE), [-1.75, -1.25, -0.75, 0.0, -0.75])


def test_an_angle_leads_to_b_the_shorter_way_round():
    a, b = (Range({"psi": np.radians(each)}) for each in ((120.0, 200.0), (-50.0, 30.0)))
    states = States(Dihedral("psi", (0, 1, 2, 3)), a, b)
    at = np.radians([160.0, 119.0, 40.0, 0.0, -40.0, -60.0, -159.0])
    made = VariableDirection(lambda positions: at, "psi", *b.bounds["psi"], states.variables.variables[0].period)
    np.testing.assert_allclose(np.degrees(made(LINE)), [-130.0, -89.0, -10.0, 0.0, 0.0, -10.0, -109.0], atol=1e-9)


def test_a_direction_that_cannot_be_right_is_refused():
    states = well().states
    with pytest.raises(ValueError, match="no collective variable named 'y'"):
        VariableDirection.of(states, "y", LINE[:1])
    two = States([*states.variables.variables, Coordinate("y", 0, 1)], states.a, states.b)
    with pytest.raises(ValueError, match="B has no range of y; take x, or a model"):
        VariableDirection.of(two, "y", LINE[:1])
    with pytest.raises(ValueError, match="in A it has values that it also has in B"):
        VariableDirection.of(states, "x", LINE[3:])
    angles = [Dihedral("phi", (0, 1, 2, 3)), Dihedral("psi", (1, 2, 3, 4))]
    whole = Range({"phi": (-np.pi, np.pi), "psi": (2.0, 3.0)})
    for one, other in ((Range({"phi": (0.0, 1.0), "psi": (-3.0, 1.0)}), whole), (whole, Range({"phi": (0.0, 1.0)}))):
        circle = SimpleNamespace(states=States(angles, one, other), starts=np.random.default_rng(1).normal(size=(2, 5, 3)))
        with pytest.raises(ValueError, match="A and B have values of it in common"):
            find_route(circle, "phi", None)
        if other is whole:
            with pytest.raises(ValueError, match="in A it has values that it also has in B"):
                VariableDirection.of(circle.states, "phi", circle.starts)
    spec = {"kind": "coordinates", "columns": [0], "scale": 1.0}
    with pytest.raises(ValueError, match="knows 3 states"):
        CommittorDirection(MultiStateModel(spec, 1, ("A", "B", "C"), (4,)))


def test_a_committor_leads_along_its_logit():
    model = CommittorModel({"kind": "coordinates", "columns": [0], "scale": 1.0}, 1, (4,), 300.0, "f")
    np.testing.assert_array_equal(CommittorDirection(model)(LINE), model.logit(LINE))


def test_the_scale_is_the_probability_to_come_to_a_level():
    levels, crossed = (
        np.arange(4.0),
        np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [1.0, 0.5, 0.5, 0.4], [1.0, 0.3, 0.0, 0]]),
    )
    table = LevelTable.from_crossings(levels, crossed, logistic=False)
    assert len(table.levels) == 2  # what a single root came to is not known
    np.testing.assert_allclose(np.diff(table.log_importance), np.log(4.0 / 1.8))
    slope = np.log(4.0 / 1.8)
    np.testing.assert_allclose(table([90.0]) - table([1.0]), 3.0)  # the next round sees three nats farther
    assert table.slope(np.array([4.0]))[0] > 0.0 == table.slope(np.array([90.0]))[0]
    np.testing.assert_allclose(table([-5.0, 0.5, 3.0]), table.log_importance[0] + slope * np.array([0.0, 0.5, 3.0]))
    logistic = LevelTable(levels, [-3.0, -2.0, -1.5, -1.5], logistic=True)
    np.testing.assert_allclose(logistic([3.0, 800.0]), [-1.5, -1.5 + np.log1p(np.exp(-3.0))])
    again = LevelTable.from_record(logistic.record())
    np.testing.assert_array_equal(again(LINE[:, 0, 0]), logistic(LINE[:, 0, 0]))


def test_a_table_that_cannot_be_right_is_refused():
    for levels, values in (([], []), ([0.0, 0.0], [0.0, 1.0]), ([0.0, 1.0], [0.0, -1.0]), ([0.0, np.inf], [0.0, 1.0])):
        with pytest.raises(ValueError, match="levels"):
            LevelTable(np.array(levels), np.array(values), False)
    with pytest.raises(ValueError, match="no two roots came"):
        LevelTable.from_crossings(np.zeros(1), np.array([[1.0], [0.0]]), False)


def test_a_look_ahead_goes_along_the_velocities():
    direction = VariableDirection.of(well().states, "x", LINE[:1])
    velocities = np.zeros_like(LINE)
    velocities[:, 0, 0], velocities[:, 0, 1] = [1.0, -2.0, 3.0, 0.0, 0.0], 7.0
    level, speed = with_look_ahead(direction, LINE, velocities, 0.1, 0.01)
    np.testing.assert_allclose(speed, [1.0, -2.0, 3.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(level, direction(LINE) + 0.1 * speed)
    table = LevelTable(np.array([-2.0, 0.0]), np.array([-6.0, 0.0]), False)
    nats = ScaledDirection(direction, table)
    ahead = CalibratedImportance(nats, LevelTable([-9.0, 0.0], [-9.0, 0.0], False), 0.1, 0.01)
    np.testing.assert_allclose(ahead.log_importance(LINE, velocities)[:3], 3.0 * (direction(LINE) + 0.1 * speed)[:3], atol=1e-9)
    with pytest.raises(ValueError, match="needs velocities"):
        ahead.log_importance(LINE)
    blind = CalibratedImportance(direction, table, 0.0, 0.01)
    np.testing.assert_array_equal(blind.log_importance(LINE, velocities), blind.log_importance(LINE))
