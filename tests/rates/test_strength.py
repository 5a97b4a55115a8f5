"""Whether a rate with momenta is biased: what is tried, and where nothing is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from openmm_rare.bias.calibrated import CalibratedImportance
from openmm_rare.bias.directions import CommittorDirection, ScaledDirection, VariableDirection
from openmm_rare.bias.level_table import LevelTable
from openmm_rare.committor.model import CommittorModel
from openmm_rare.dynamics.frames import Frames
from openmm_rare.flux.pool import Pool
from openmm_rare.flux.root_density import RootDensity
from openmm_rare.io.tasks import Silent
from openmm_rare.rates.roots import RootSampler
from openmm_rare.rates.splitting import strength
from openmm_rare.rates.splitting.calibration import STEERING, Calibration, Excursions
from openmm_rare.settings.rates import RateSettings
from openmm_rare.systems import langevin_well
from openmm_rare.walkers.machine import Machine

TABLE = LevelTable(np.array([-1.0, 1.0]), np.array([-2.0, 0.0]), False)


def chosen(monkeypatch, direction, tau, friction=20.0, arrived=True):
    """The steering, and the strengths that were compared."""
    problem, tried = langevin_well.build(5.0, friction), []

    def compare(sampler, task, progress):
        tried.append((sampler.settings.strengths, sampler.settings.window_powers))
        return replace(STEERING, strength=sampler.settings.strengths[0])

    monkeypatch.setattr(strength, "choose_steering", compare)
    importance = CalibratedImportance(direction, TABLE, tau, problem.timestep)
    nothing = Excursions(np.zeros(0, dtype=int), np.zeros(0))
    calibration = Calibration(importance, nothing, np.zeros((0, 2)), 1.0, 0.1, arrived, 0.0)
    density, pool = RootDensity(0.0, 0.1), Pool.empty(Frames(problem.positions[None], np.zeros((1, 1, 3))), 0)
    sampler = RootSampler(problem, importance, RateSettings(), Machine(), pool, density)
    return strength.steering_of(sampler, calibration, None, Silent()), tried


@pytest.fixture
def committor():
    made = CommittorModel({"kind": "coordinates", "columns": [0], "scale": 1.0}, 1, ())
    with torch.no_grad():
        made.network[-1].weight.fill_(3.0)
    return CommittorDirection(made)


def test_the_strength_is_what_friction_takes_from_the_look_ahead(monkeypatch, committor):
    steering, tried = chosen(monkeypatch, ScaledDirection(committor, TABLE), 0.04)
    assert steering.strength == pytest.approx(0.8) and tried == [((pytest.approx(0.8), 0.0), (1.0,))]
    assert chosen(monkeypatch, committor, 0.2)[0].strength == 1.0


def test_nothing_is_tried_where_it_cannot_be_worth_it(monkeypatch, committor):
    variable = VariableDirection.of(langevin_well.build().states, "x", langevin_well.build().positions[None])
    cases = [
        (committor, 0.01, {}),  # the friction is a solvent's
        (committor, 0.0, {}),
        (committor, 0.04, {"friction": 1.0}),
        (committor, 0.04, {"arrived": False}),
        (variable, 0.04, {}),
        (ScaledDirection(variable, TABLE), 0.04, {}),
    ]
    for direction, tau, options in cases:
        assert chosen(monkeypatch, direction, tau, **options) == (STEERING, [])
