"""Backends of biased dynamics: one step of each is the same, term by term, and neither keeps memory it no longer needs."""

import gc
import weakref

import numpy as np
import openmm
import pytest

from openmm_rare.dynamics import Bias, mobility
from openmm_rare.integrators import MAX_SHIFT
from openmm_rare.slots import SlotContext
from openmm_rare.states import CollectiveVariables, Coordinate, Range
from openmm_rare.systems.base import RareEventSystem

MASSES = np.array([5.0, 0.0, 20.0])
N = 50
SHIFTS = np.array([[0.3, -0.2, 0.1], [0.4, 0.4, 0.4], [2.0, -2.0, 0.3]])  # wanted, in standard deviations, before the bound


@pytest.fixture
def target():
    """Three particles of different masses, one fixed, under constant forces, that move in the xy plane."""
    system = openmm.System()
    force = openmm.CustomExternalForce("-30*x+20*y-10*z")
    for index, mass in enumerate(MASSES):
        system.addParticle(mass)
        force.addParticle(index, [])
    system.addForce(force)
    variables = CollectiveVariables([Coordinate("x", 0, 0)])
    a, b = Range({"x": (-1.0, 1.0)}), Range({"x": (50.0, 51.0)})
    start = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
    return RareEventSystem.from_openmm(system, start, a, b, variables, 300.0, 2.0, 0.01, num_dimensions=2)


class ConstantSlope:
    """ln I with a constant gradient; counts its evaluations."""

    def __init__(self, gradient):
        self.gradient, self.calls = gradient, 0

    def log_importance_gradient(self, positions):
        self.calls += 1
        return np.zeros(len(positions)), np.repeat(self.gradient[None], len(positions), axis=0)


def slope_for(target, strength):
    spread = np.sqrt(2.0 * target.kt * mobility(target))
    return np.divide(SHIFTS, strength * spread, out=np.zeros_like(spread), where=spread > 0.0), spread


def test_weights_belong_to_the_displacements(target, platform, backend):
    gradient, spread = slope_for(target, 0.7)
    slots = SlotContext(target, N, platform, 3, Bias(ConstantSlope(gradient), 0.7), backend=backend)
    before = slots.positions().copy()
    slots.step(1)
    moved = slots.positions() - before
    assert (moved[:, 1] == 0.0).all() and (moved[:, :, 2] == 0.0).all() and (moved[:, [0, 2], :2] != 0.0).all()
    drift = mobility(target) * [30.0, -20.0, 10.0]
    moves = spread > 0.0
    shifted_noise = (moved - drift)[:, moves] / spread[moves]
    shift = np.clip(SHIFTS, -MAX_SHIFT, MAX_SHIFT)[moves]
    expected = (-shift * (shifted_noise - shift) - shift**2 / 2.0).sum(1)
    np.testing.assert_allclose(slots.log_weights(), expected, atol=2e-4)
    with pytest.raises(AssertionError):  # negative control: the shifts before the bound
        unbounded = SHIFTS[moves]
        wrong = (-unbounded * (shifted_noise - unbounded) - unbounded**2 / 2.0).sum(1)
        np.testing.assert_allclose(slots.log_weights(), wrong, atol=2e-4)
    slots.set_positions(before)
    assert (slots.log_weights() == 0.0).all()


def test_noise_is_normal_and_independent(target, backend):
    gradient, spread = slope_for(target, 1.0)
    slots = SlotContext(target, 4000, "Reference", 3, Bias(ConstantSlope(gradient)), backend=backend)
    moves = spread > 0.0
    noise, start = [], slots.positions().copy()
    for _ in range(2):
        slots.set_positions(start)
        slots.step(1)
        moved = slots.positions() - start - mobility(target) * [30.0, -20.0, 10.0]
        noise.append(moved[:, moves] / spread[moves] - np.clip(SHIFTS, -MAX_SHIFT, MAX_SHIFT)[moves])
    table = np.concatenate(noise, axis=1)
    covariance = table.T @ table / len(table)
    assert np.abs(covariance - np.eye(table.shape[1])).max() < 5.0 * np.sqrt(2.0 / len(table))
    assert np.abs(table.mean(0)).max() < 5.0 / np.sqrt(len(table))
    assert np.abs((table**4).mean(0) - 3.0).max() < 5.0 * np.sqrt(96.0 / len(table))


def test_the_force_is_called_once_a_step(target, platform, backend):
    slope, seen = ConstantSlope(np.zeros((3, 3))), []

    def observer(positions):
        seen.append(positions.copy())
        return np.arange(N)

    slots = SlotContext(target, N, platform, 1, Bias(slope, interval=2), observer, backend)
    for n_steps in (1, 4):
        slots.step(n_steps)
    assert len(seen) == 5 and slope.calls == 3
    assert all((a != b).any() for a, b in zip(seen, seen[1:], strict=False))


def test_a_context_is_freed(target, backend):
    slots = SlotContext(target, N, "Reference", 1, Bias(ConstantSlope(np.zeros((3, 3)))), backend=backend)
    slots.step(1)
    kept = weakref.ref(slots), weakref.ref(slots._dynamics), weakref.ref(slots.context)
    del slots
    gc.collect()
    assert [reference() for reference in kept] == [None, None, None]


def test_a_backend_refuses_an_interval_of_nothing(target):
    with pytest.raises(ValueError, match="at least 1 step"):
        SlotContext(target, N, "Reference", 1, Bias(ConstantSlope(np.zeros((3, 3))), interval=0))
