"""Fresh shots agree with exact committors, are counted once, and survive a kill."""

import json
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import openmm
import pytest

from openmm_rare.paths.direct_committor import direct_committor
from openmm_rare.problem import RareEventSystem
from openmm_rare.states.states import CollectiveVariables, Coordinate, Range, States
from openmm_rare.systems import double_well_1d, jung_42d
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.phase_slots import PhaseSlots
from stats import assert_within

HOT = {"temperature": 600.0, "barrier": 10.0}


def line(values):
    positions = np.zeros((len(values), 1, 3))
    positions[:, 0, 0] = values
    return positions


def binomial_error(p, n):
    return np.sqrt(np.maximum(p * (1.0 - p), 1.0 / n) / n)


def test_overdamped_shots_agree_with_quadrature():
    x, n = np.array([-0.2, 0.0, 0.1]), 300
    n_a, n_b = direct_committor(double_well_1d.build(**HOT), line(x), n, seed=11)
    assert (n_a + n_b == n).all()
    exact = double_well_1d.committor(x, **HOT)
    assert_within(n_b / n, exact, binomial_error(exact, n) + 0.01)  # and what a finite step does
    with pytest.raises(AssertionError):  # negative control: that of A
        assert_within(n_b / n, 1.0 - exact + 0.25, binomial_error(exact, n) + 0.01)


def test_langevin_shots_agree_with_the_same_dynamics_in_numpy():
    target, n = jung_42d.build(), 40
    x, y = np.array([-0.3, 0.25]), np.array([-0.05, 0.1])
    positions = np.zeros((2, 14, 3))
    positions[:, 0, 0], positions[:, 0, 1] = x, y
    _, n_b = direct_committor(target, positions, n, seed=5, steps_per_test=10)
    p, error = jung_42d.committor(x, y, 4000, seed=3, steps_per_test=10)
    assert_within(n_b / n, p, np.hypot(error, binomial_error(p, n)))
    with pytest.raises(AssertionError):  # negative control: the other way round
        assert_within(1.0 - n_b / n, p, np.hypot(error, binomial_error(p, n)))


def test_forces_of_the_plane_are_the_gradient():
    x, y, step = np.array([0.3, -0.6, 0.1]), np.array([0.1, -0.4, 0.7]), 1e-6
    force_x, force_y = jung_42d.forces(x, y)
    slope_x = (jung_42d.energy(x + step, y) - jung_42d.energy(x - step, y)) / (2.0 * step)
    slope_y = (jung_42d.energy(x, y + step) - jung_42d.energy(x, y - step)) / (2.0 * step)
    np.testing.assert_allclose(force_x, -slope_x, rtol=1e-6)
    np.testing.assert_allclose(force_y, -slope_y, rtol=1e-6)


def test_same_seed_same_shots_and_another_seed_others():
    target, positions = double_well_1d.build(**HOT), line([0.0, 0.05])
    first, again, other = (direct_committor(target, positions, 40, seed=seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def dimer(periodic):
    """Two constrained particles in a double well along x of the first, with inertia."""
    system = openmm.System()
    for _ in range(2):
        system.addParticle(20.0)
    system.addConstraint(0, 1, 0.1)
    force = openmm.CustomExternalForce("10*((x/0.5)^2-1)^2+50*(y^2+z^2)")
    force.addParticle(0, [])
    system.addForce(force)
    if periodic:
        system.setDefaultPeriodicBoxVectors([5, 0, 0], [0, 5, 0], [0, 0, 5])
        bond = openmm.CustomNonbondedForce("0")
        bond.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
        bond.setCutoffDistance(1.0)
        for _ in range(2):
            bond.addParticle([])
        system.addForce(bond)
    positions = np.array([[-0.5, 0.0, 0.0], [-0.5, 0.1, 0.0]])
    states = States(
        CollectiveVariables([Coordinate("x", 0, 0), Coordinate("y", 0, 1)]),
        Range({"x": (-np.inf, -0.4)}),
        Range({"x": (0.4, np.inf)}),
    )
    return RareEventSystem("dimer", system, positions, states, 600.0, 5.0, 0.01, inertial=True)


def test_velocities_are_thermal_and_satisfy_the_constraints():
    target, n = dimer(False), 2000
    dynamics = PhaseSlots(target, n, Machine(), np.random.default_rng(4))
    dynamics.restart(np.arange(n), np.repeat(target.positions[None], n, axis=0))
    velocities = dynamics.context.getState(velocities=True).getVelocities(asNumpy=True)._value.reshape(n, 2, 3)
    along = (velocities[:, 1] - velocities[:, 0]) @ np.array([0.0, 1.0, 0.0])
    assert np.abs(along).max() < 1e-4
    kinetic = 0.5 * 20.0 * (velocities**2).sum((1, 2)) / target.kt
    error = kinetic.std(ddof=1) / np.sqrt(n)
    assert_within(kinetic.mean(), 2.5, error)  # five degrees of freedom
    with pytest.raises(AssertionError):
        assert_within(kinetic.mean(), 3.0, error)  # negative control: without the constraint


@pytest.mark.slow
def test_one_by_one_in_processes_as_many_at_once():
    """A periodic system runs one shot after another; the odds are those of its copies."""
    middle = np.array([[[0.05, 0.0, 0.0], [0.05, 0.1, 0.0]]])
    single, copied = dimer(True), dimer(False)
    assert not PhaseSlots.can_copy(single) and PhaseSlots.can_copy(copied)
    _, one = direct_committor(single, middle, 16, seed=7, workers=2)
    _, many = direct_committor(copied, middle, 400, seed=7)
    error = np.sqrt(0.25 / 16 + 0.25 / 400)
    assert_within(one[0] / 16, many[0] / 400, error)
    with pytest.raises(AssertionError):  # negative control
        assert_within(one[0] / 16 - 1.0, many[0] / 400, error)


def test_a_record_is_taken_up_and_another_one_refused(tmp_path):
    target, positions, path = double_well_1d.build(**HOT), line([0.0]), tmp_path / "shots.jsonl"
    first = direct_committor(target, positions, 750, seed=1, record=path)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3  # a head, and two blocks
    path.write_bytes(b"".join(lines[:2]) + lines[2][:10])  # as a kill leaves it
    again = direct_committor(target, positions, 750, seed=1, record=path)
    np.testing.assert_array_equal(np.array(first), np.array(again))
    assert path.read_bytes() == b"".join(lines)
    with pytest.raises(ValueError, match="holds other shots"):
        direct_committor(target, positions, 750, seed=2, record=path)
    path.write_bytes(lines[0] + b'{"block": 0}\n')
    with pytest.raises(ValueError, match="is damaged"):
        direct_committor(target, positions, 750, seed=1, record=path)


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on(tmp_path):
    code = """
        import numpy as np
        from openmm_rare.paths.direct_committor import direct_committor
        from openmm_rare.systems import double_well_1d
        target = double_well_1d.build(temperature=600.0, barrier=10.0)
        print(direct_committor(target, np.zeros((1, 1, 3)), 2000, 3, record="shots.jsonl")[1][0])
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    record = tmp_path / "shots.jsonl"
    while process.poll() is None and not (record.exists() and record.read_bytes().count(b"\n") >= 2):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    blocks = record.read_bytes().count(b"\n") - 1
    assert 1 <= blocks < 4
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    whole = [json.loads(line) for line in record.read_text().splitlines()[1:]]
    assert sorted(entry["block"] for entry in whole) == [0, 1, 2, 3]
    assert sum(entry["ends"].count("2") for entry in whole) == int(done.stdout)


def test_what_cannot_be_shot_is_refused():
    target = double_well_1d.build(**HOT)
    with pytest.raises(ValueError, match=r"configurations \[1\] lie in A or B"):
        direct_committor(target, line([0.0, 0.45]), 5, seed=1)
    with pytest.raises(ValueError, match="configuration 0 has positions that are not finite"):
        direct_committor(target, line([np.nan]), 5, seed=1)
    with pytest.raises(ValueError, match="n_shots = 0 must be at least 1"):
        direct_committor(target, line([0.0]), 0, seed=1)
    with pytest.raises(ValueError, match=r"positions must have shape \(n, 1, 3\)"):
        direct_committor(target, np.zeros((1, 2, 3)), 5, seed=1)
    with pytest.raises(RuntimeError, match="reached neither A nor B of double_well_1d in 3 steps"):
        direct_committor(target, line([0.0]), 5, seed=1, max_steps=3)


def test_nan_stops_the_shots_and_leaves_where_they_began(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = dimer(False)
    target.system.getForce(0).setEnergyFunction("sqrt(x-10)+y^2+z^2")
    start = np.array([[[0.0, 0.0, 0.0], [0.0, 0.1, 0.0]]])
    with pytest.raises(FloatingPointError, match="became NaN in dimer, 1 steps after the positions in .*broken-shot-"):
        direct_committor(target, start, 2, seed=1)
    (left,) = tmp_path.glob("broken-shot-*.npz")
    with np.load(left) as archive:
        np.testing.assert_array_equal(archive["starts"][0], start[0])
