"""Backends of biased dynamics: one step of each is the same, term by term, and neither keeps memory it no longer needs."""

import gc
import weakref

import numpy as np
import openmm
import pytest

from openmm_rare.bias.bias import Bias
from openmm_rare.dynamics.overdamped import MAX_SHIFT
from openmm_rare.dynamics.unbiased import mobility
from openmm_rare.problem import RareEventSystem
from openmm_rare.states.states import CollectiveVariables, Coordinate, Range
from openmm_rare.walkers.host_noise import has_forces_on_held_axes
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.slots import SlotContext

MASSES = np.array([5.0, 0.0, 20.0])
N = 50
SHIFTS = np.array([[0.3, -0.2, 0.1], [0.4, 0.4, 0.4], [2.0, -2.0, 0.3]])  # wanted, in standard deviations, before the bound


def make_target(energy):
    """Three particles of different masses, one fixed, in an external potential, that move in the xy plane."""
    system = openmm.System()
    force = openmm.CustomExternalForce(energy)
    for index, mass in enumerate(MASSES):
        system.addParticle(mass)
        force.addParticle(index, [])
    system.addForce(force)
    variables = CollectiveVariables([Coordinate("x", 0, 0)])
    a, b = Range({"x": (-1.0, 1.0)}), Range({"x": (50.0, 51.0)})
    start = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
    return RareEventSystem.from_openmm(system, start, a, b, variables, 300.0, 2.0, 0.01, num_dimensions=2)


@pytest.fixture(params=["-30*x+20*y", "-30*x+20*y-10*z"], ids=["in plane", "off plane"])
def target(request):
    """Constant forces, with or without one along the axis on which nothing moves."""
    return make_target(request.param)


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


class Unfinite:
    """ln I whose gradient is NaN for walker 2, as that of a network is where positions are NaN."""

    def log_importance_gradient(self, positions):
        gradient = np.zeros(positions.shape)
        gradient[2] = np.nan
        return np.zeros(len(positions)), gradient


@pytest.mark.parametrize(
    "x, complaint",
    [
        (0.0, "the gradient of ln I is not finite for walker 2: train the model again"),
        (np.nan, "the positions of walker 2 are not finite: use a smaller time step, or check the forces at the initial"),
        (np.inf, "the positions of walker 2 are not finite"),
    ],
)
def test_what_is_not_finite_is_named(x, complaint, target, backend):
    slots = SlotContext(target, N, Machine("Reference", backend), 3, Bias(Unfinite()))
    positions = slots.positions().copy()
    positions[2, 0, 1] += x
    slots.set_positions(positions)
    with pytest.raises(openmm.OpenMMException, match=complaint):
        slots.step(1)


def test_weights_belong_to_the_displacements(target, platform, backend):
    gradient, spread = slope_for(target, 0.7)
    slots = SlotContext(target, N, Machine(platform, backend), 3, Bias(ConstantSlope(gradient), 0.7))
    start = slots.positions().copy()
    moves, drift = spread > 0.0, mobility(target) * [30.0, -20.0, 0.0]
    shift, unbounded = np.clip(SHIFTS, -MAX_SHIFT, MAX_SHIFT)[moves], SHIFTS[moves]
    expected, wrong, before = np.zeros(N), np.zeros(N), start
    for _ in range(3):  # one step could not tell whether a step remembers the one before
        slots.step(1)
        after = slots.positions().copy()
        moved, before = after - before, after
        assert (moved[:, 1] == 0.0).all() and (moved[:, :, 2] == 0.0).all() and (moved[:, [0, 2], :2] != 0.0).all()
        shifted_noise = (moved - drift)[:, moves] / spread[moves]
        expected += (-shift * (shifted_noise - shift) - shift**2 / 2.0).sum(1)
        wrong += (-unbounded * (shifted_noise - unbounded) - unbounded**2 / 2.0).sum(1)
    np.testing.assert_allclose(slots.log_weights(), expected, atol=4e-4)
    with pytest.raises(AssertionError):  # negative control: the shifts before the bound
        np.testing.assert_allclose(slots.log_weights(), wrong, atol=4e-4)
    slots.set_positions(start)
    assert (slots.log_weights() == 0.0).all()


def test_noise_is_normal_and_independent(target, backend):
    gradient, spread = slope_for(target, 1.0)
    slots = SlotContext(target, 4000, Machine("Reference", backend), 3, Bias(ConstantSlope(gradient)))
    moves = spread > 0.0
    noise, start = [], slots.positions().copy()
    for n_steps in (1, 2):  # from the start, and as the second step after it
        slots.set_positions(start)
        before = start
        for _ in range(n_steps):
            slots.step(1)
            after = slots.positions().copy()
            moved, before = after - before - mobility(target) * [30.0, -20.0, 0.0], after
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

    slots = SlotContext(target, N, Machine(platform, backend), 1, Bias(slope, interval=2), observer)
    for n_steps in (1, 4):
        slots.step(n_steps)
    assert len(seen) == 5 and slope.calls == 3
    assert all((a != b).any() for a, b in zip(seen, seen[1:], strict=False))


def test_a_force_that_pushes_off_the_plane_is_noticed(target):
    assert has_forces_on_held_axes(target) == ("z" in target.system.getForce(0).getEnergyFunction())
    assert has_forces_on_held_axes(make_target("-30*x-10*x*(z-0.3)"))


def test_a_force_that_pushes_off_the_plane_only_later_is_an_error():
    late = make_target("-30*x-10*z*step(x-30)")
    slots = SlotContext(late, N, Machine("Reference", "python"), 1, Bias(ConstantSlope(np.zeros((3, 3)))))
    slots.step(3)
    slots.set_positions(np.repeat(late.positions[None] + [31.0, 0.0, 0.0], N, axis=0))
    with pytest.raises(openmm.OpenMMException, match="out of the 2 dimensions .* custom_integrator"):
        slots.step(3)


def test_a_context_is_freed(target, backend):
    slots = SlotContext(target, N, Machine("Reference", backend), 1, Bias(ConstantSlope(np.zeros((3, 3)))))
    slots.step(1)
    kept = weakref.ref(slots), weakref.ref(slots._dynamics), weakref.ref(slots.context)
    del slots
    gc.collect()
    assert [reference() for reference in kept] == [None, None, None]


def test_a_backend_refuses_an_interval_of_nothing(target):
    with pytest.raises(ValueError, match="at least 1 step"):
        SlotContext(target, N, Machine("Reference", "python"), 1, Bias(ConstantSlope(np.zeros((3, 3))), interval=0))
