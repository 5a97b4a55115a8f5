"""Shots and walkers have the same numbers here, in processes and on a cluster, to the bit."""

import numpy as np
import pytest
from momenta import two_wells

from openmm_rare import Coordinate, Range, RareEventSystem
from openmm_rare.dynamics.frames import Frames
from openmm_rare.flux.restarts import restarted
from openmm_rare.parallel.executors import Here
from openmm_rare.paths.direct_committor import direct_committor
from openmm_rare.walkers.machine import Machine


def problem(periodic):
    """A particle between two wells on a line; in a box, where walkers move one at a time, beside another one."""
    system, positions = two_wells(periodic)
    states = Range({"x": (-0.5, -0.15)}), Range({"x": (0.15, 0.5)})
    given = {"temperature": 300.0, "friction": 5.0, "timestep": 0.005, "inertial": True, "check_interval": 2}
    return RareEventSystem.from_openmm(system, positions, *states, [Coordinate("x", 0, 0)], **given)


@pytest.fixture(params=["two", "two_of_dask"])
def workers(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("periodic", [False, True])
def test_fresh_shots(workers, periodic):
    """In slots, 500 at a time, and one at a time."""
    made, n_shots = problem(periodic), 10 if periodic else 600
    starts = made.positions[None].repeat(2, axis=0)
    starts[:, 0, 0] = 0.0, 0.03
    here = direct_committor(made, starts, n_shots, seed=3)
    np.testing.assert_array_equal(here, direct_committor(made, starts, n_shots, seed=3, executor=workers))
    assert not np.array_equal(here, direct_committor(made, starts, n_shots, seed=4))  # negative control


def test_walkers_that_move_one_at_a_time(workers):
    made = problem(True)
    given = made, Frames(made.positions[None].repeat(4, axis=0)), np.ones(4, dtype=bool), 200, Machine(), 5
    here, there = restarted(*given, Here()), restarted(*given, workers)
    for name in ("positions", "velocities"):
        np.testing.assert_array_equal(getattr(here.frames, name), getattr(there.frames, name))
    np.testing.assert_array_equal(here.exit_walker, there.exit_walker)
    assert len(np.unique(here.frames.positions[:, 0, 0])) == 4
