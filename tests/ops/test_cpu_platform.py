"""The platform CPU with one thread: a run that is continued by another process is the same run, to the last bit.

With several threads it is another run, and no test can change that: OpenMM adds up their forces in the order in which they are
ready, also with DeterministicForces, which concerns the mesh of PME only (openmm/openmm#1802).
"""

import pickle
from dataclasses import replace

import numpy as np
import openmm
import pytest

from openmm_rare.committor.model import CommittorModel
from openmm_rare.dynamics.frames import Frames
from openmm_rare.settings.paths import PathSettings
from openmm_rare.states.states import CollectiveVariables, Coordinate, Range, States
from openmm_rare.systems import RareEventSystem
from openmm_rare.tps.chains.chain import run_chain
from openmm_rare.tps.chains.task import ChainState, ChainTask, PathProblem
from processes import in_fresh

SIDE, BOX, SPACING = 6, 2.4, 0.4
"""Ions on a lattice, and nm: larger than two cutoffs, so that there is a list of neighbors, and an Ewald sum on a mesh."""


def make_target():
    """A particle that crosses a barrier in a salt melt, whose forces come from neighbor lists and PME; some bonds are rigid."""
    system, n = openmm.System(), SIDE**3
    system.setDefaultPeriodicBoxVectors(*(BOX * np.eye(3)))
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.PME)
    nonbonded.setCutoffDistance(0.8)
    for number in range(n):
        system.addParticle(30.0)
        layer = sum(np.unravel_index(number, (SIDE,) * 3))
        nonbonded.addParticle((-1.0) ** layer * 0.5, 0.3, 0.5)
    for number in range(3, 60, 6):
        system.addConstraint(number, number + 1, SPACING)
        nonbonded.addException(number, number + 1, 0.0, 0.3, 0.0)
    barrier = openmm.CustomExternalForce("7.5*(25*(x-1.2)^2-1)^2+500*((y-1)^2+(z-1)^2)")
    barrier.setForceGroup(0)
    system.addParticle(30.0)
    nonbonded.addParticle(0.0, 0.2, 0.1)
    barrier.addParticle(n, [])
    system.addForce(barrier)
    system.addForce(nonbonded)
    lattice = SPACING * np.stack(np.unravel_index(np.arange(n), (SIDE,) * 3), axis=-1)
    positions = np.concatenate([lattice, [[1.0, 1.0, 1.0]]])
    variables = CollectiveVariables([Coordinate("x", n, 0)])
    a, b = Range({"x": (0.0, 1.15)}), Range({"x": (1.25, 2.4)})
    return RareEventSystem(
        "melt",
        system,
        positions,
        States(variables, a, b),
        300.0,
        10.0,
        0.002,
        inertial=True,
        descriptor={"kind": "coordinates", "columns": [3 * n], "scale": 1.0},
    )


def make_task(threads):
    """The first round of a chain, from a path on which the ions stand still."""
    target = make_target()
    settings = PathSettings(selector="uniform", trials_per_round=3, threads=threads, max_frames=500)
    positions = np.repeat(target.positions[None], 13, axis=0)
    positions[:, -1, 0] = np.linspace(1.14, 1.26, 13)
    path = Frames(positions, np.zeros_like(positions), np.repeat(BOX * np.eye(3)[None], 13, axis=0))
    model = CommittorModel(target.descriptor_spec(), len(target.positions), (8,), 300.0, target.fingerprint())
    return ChainTask(PathProblem(target, settings, "CPU"), 0, 0, 7, ChainState(path), model.to_bytes())


def rounds(task, n):
    """States and trials of several rounds."""
    found = []
    for number in range(task.round, task.round + n):
        state, trials = run_chain(replace(task, round=number))
        found.append((state.path.positions, state.path.velocities, [(t.point, t.n_a, t.n_b, t.accepted) for t in trials]))
        task = replace(task, state=state)
    return found, task


def assert_same(one, other):
    for (x, v, trials), (other_x, other_v, other_trials) in zip(one, other, strict=True):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(v, other_v)
        for trial, other_trial in zip(trials, other_trials, strict=True):
            np.testing.assert_array_equal(trial[0], other_trial[0])
            assert trial[1:] == other_trial[1:]


def test_a_run_that_another_process_continues_is_the_same(tmp_path):
    task = make_task(threads=1)
    whole, _ = rounds(task, 2)
    first, after = rounds(task, 1)
    (tmp_path / "task.pickle").write_bytes(pickle.dumps(replace(after, round=1)))
    code = """
        import pickle
        from test_cpu_platform import rounds
        with open("task.pickle", "rb") as task, open("found.pickle", "wb") as found:
            pickle.dump(rounds(pickle.load(task), 1)[0], found)
    """
    in_fresh(code, tmp_path)
    assert_same(whole, first + pickle.loads((tmp_path / "found.pickle").read_bytes()))
    with pytest.raises(AssertionError):  # negative control: positions in single precision, as storages keep them
        rounded = replace(after.state, path=replace(after.state.path, positions=after.state.path.positions.astype(np.float32)))
        assert_same(whole[1:], rounds(replace(after, round=1, state=rounded), 1)[0])
