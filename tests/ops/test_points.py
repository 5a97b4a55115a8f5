"""Shooting points sampled by walkers: what walkers sample, what weighted paths average to, storage, and runs of the command."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import cache

import numpy as np
import openmm
import pytest
from executors import workers_here
from test_path_run import assert_same_run, configure
from test_path_sampling import block_average
from test_path_sampling import direct as simulated

import line
import plane
from openmm_rare import path_report
from openmm_rare.barrier_bias import log_bias, log_path_weight
from openmm_rare.config import build_system
from openmm_rare.errors import InputError
from openmm_rare.ops import path_sampler, point_sampler
from openmm_rare.ops.chain_task import ChainTask, PathProblem
from openmm_rare.ops.frames import Frames
from openmm_rare.ops.path_run import run_path_sampling
from openmm_rare.ops.point_task import WalkerState
from openmm_rare.ops.points import run_walker
from openmm_rare.path_ensemble import PathEnsemble, mean_over_paths
from openmm_rare.path_folder import PathRecord, load_path_sampling, read_path_ensemble
from openmm_rare.path_settings import PathSettings
from openmm_rare.path_warnings import ensemble_warnings
from openmm_rare.states import CollectiveVariables, Coordinate, Range, States
from openmm_rare.systems import RareEventSystem
from openmm_rare.units import KB
from processes import in_fresh
from stats import assert_within, mean_and_stderr

SLOPE = 6.0
"""Of the model: q = 6 x. The true committor is steeper near x = 0 and flat beyond; no bias need be right."""


def make_target(world):
    """The double wells of `line` and `plane` as systems of ours."""
    system = openmm.System()
    system.addParticle(1.0)
    force = openmm.CustomExternalForce(f"{line.BARRIER}*(x^2-1)^2{world.energy}")
    force.addParticle(0, [])
    system.addForce(force)
    a, b = Range({"x": (float("-inf"), -line.EDGE)}), Range({"x": (line.EDGE, float("inf"))})
    states = States(CollectiveVariables([Coordinate("x", 0, 0)]), a, b)
    start = np.array([[-1.0, world.valley(-1.0), 0.0]])
    options = {"num_dimensions": 3 if world.inertial else 1, "inertial": world.inertial}
    return RareEventSystem("wells", system, start, states, 1.0 / KB, world.friction, world.timestep, **options)


def make_task(world, trials=10, reach=1.0, wait=6, length=20, storage=None, **state):
    """A walker at the top of the barrier, its start-up over."""
    settings = PathSettings(
        method="points",
        reach=reach,
        wait=wait,
        start_up=0,
        trials_per_round=trials,
        steps_per_frame=line.STRIDE,
        max_frames=5000,
    )
    problem = PathProblem(make_target(world), settings, "Reference")
    place = Frames(np.zeros((1, 1, 3)), np.zeros((1, 1, 3)) if world.inertial else None, 2.0 * np.eye(3)[None])
    walker = WalkerState(place, length, True, 0)
    return ChainTask(problem, 0, 0, 7, replace(walker, **state), line.make_model(SLOPE).to_bytes(), None, storage)


WORLDS = pytest.mark.parametrize("world", [line.LINE, plane.PLANE], ids=["overdamped", "inertial"])


@cache
def sampled(world, reach):
    """Trials of one long-lived walker, after it has forgotten its start."""
    _, trials = run_walker(make_task(world, trials=800, reach=reach))
    return trials[10:]


def density_of_points(reach):
    """Mean and variance of x^2 over equilibrium times b, between the states."""
    x = np.linspace(-line.EDGE, line.EDGE, 4001)
    density = np.exp(-line.BARRIER * (x**2 - 1.0) ** 2 + log_bias(SLOPE * x, reach))
    mean = np.average(x**2, weights=density)
    return mean


@WORLDS
@pytest.mark.parametrize("reach", [1.0, 4.0])
def test_walkers_sample_equilibrium_times_the_bias(world, reach):
    values = np.array([trial.point[0, 0] ** 2 for trial in sampled(world, reach)])
    estimate, stderr = block_average(values, np.ones(len(values)))
    assert_within(estimate, density_of_points(reach), stderr)
    with pytest.raises(AssertionError):  # negative control: of another bias
        assert_within(estimate, density_of_points(5.0 - reach), stderr)


@WORLDS
@pytest.mark.parametrize("reach", [1.0, 4.0])
def test_weighted_paths_are_those_of_direct_simulation_for_every_bias(world, reach):
    module = line if world is line.LINE else plane
    made = [trial for trial in sampled(world, reach) if trial.accepted]
    weights = np.array([trial.weight for trial in made])
    lengths = np.array([len(trial.path) for trial in made], dtype=float)
    squares = np.array([np.mean(trial.path[:, 0, world.axis] ** 2) for trial in made])
    truth = [mean_and_stderr(values) for values in simulated(module)]
    for values, (mean, error) in zip((lengths, squares), truth, strict=True):
        estimate, stderr = block_average(values, weights)
        assert_within(estimate, mean, np.hypot(stderr, error))
    mean, error = truth[0]
    estimate, stderr = block_average(lengths, np.ones(len(lengths)))
    with pytest.raises(AssertionError):  # negative control: without weights, paths that linger are too many
        assert_within(estimate, mean, np.hypot(stderr, error))
