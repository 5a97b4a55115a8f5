"""The engine for OpenPathSampling: what it refuses, what it reloads, and the velocities that it draws."""

import numpy as np
import openmm
import openpathsampling as paths
import pytest
from openmm import unit
from openpathsampling.engines.openmm import Snapshot
from openpathsampling.engines.topology import Topology

from line import make_engine, make_path
from openmm_rare.dynamics.langevin import BAOABLangevinIntegrator
from openmm_rare.ops.engine import RareEventEngine
from openmm_rare.ops.seeding import seed_path_sampling
from stats import assert_within, mean_and_stderr

TEMPERATURE, MASS, LENGTH, N = 300.0, 18.0, 0.1, 50
KT = unit.MOLAR_GAS_CONSTANT_R * TEMPERATURE * unit.kelvin


def dimers(integrator=None, platform="Reference", **options):
    """An engine for 50 rigid dimers, and a frame."""
    system, positions = openmm.System(), []
    for i in range(N):
        for x in (0.0, LENGTH):
            system.addParticle(MASS)
            positions.append((x, 0.0, 0.5 * i))
        system.addConstraint(2 * i, 2 * i + 1, LENGTH)
    integrator = integrator or BAOABLangevinIntegrator(TEMPERATURE, 1.0, 0.002)
    engine = RareEventEngine(Topology(2 * N), system, integrator, options=options, platform=platform)
    frame = Snapshot.construct(
        np.array(positions) * unit.nanometer,
        np.eye(3) * unit.nanometer,
        np.zeros((2 * N, 3)) * unit.nanometer / unit.picosecond,
        engine=engine,
    )
    return engine, frame


@pytest.mark.parametrize(
    "integrator",
    [
        openmm.VerletIntegrator(0.001),
        openmm.LangevinMiddleIntegrator(300, 1, 0.001),
        openmm.LangevinIntegrator(300, 1, 0.001),
        openmm.NoseHooverIntegrator(300, 1, 0.001),
        openmm.VariableVerletIntegrator(0.001),
    ],
    ids=lambda integrator: type(integrator).__name__,
)
def test_leapfrog_integrators_are_refused_with_the_reason(integrator):
    with pytest.raises(ValueError, match="half a step behind the positions.*BAOABLangevinIntegrator"):
        dimers(integrator)


def test_integrators_that_can_be_turned_round_are_not():
    for integrator in (BAOABLangevinIntegrator(300, 1, 0.001), openmm.BrownianIntegrator(300, 1, 0.001)):
        assert dimers(integrator)[0].integrator is integrator


def test_an_unknown_platform_is_refused():
    with pytest.raises(ValueError, match="platform 'Abacus' is not available here"):
        dimers(platform="Abacus")


def test_velocities_have_the_temperature_of_what_can_move():
    seed_path_sampling(5)
    engine, frame = dimers()
    kinetic = []
    for _ in range(100):
        drawn = engine.randomize_velocities(frame)
        velocities = drawn.velocities.value_in_unit(unit.nanometer / unit.picosecond)
        along = velocities[1::2, 0] - velocities[::2, 0]
        assert np.abs(along).max() < 1e-4  # no motion along a rigid bond
        kinetic.append(MASS * (velocities**2).sum() / KT.value_in_unit(unit.kilojoule_per_mole))
    mean, error = mean_and_stderr(kinetic)
    assert_within(mean, 5 * N, error)
    with pytest.raises(AssertionError):  # negative control: OpenPathSampling's own draw, with velocities along the bonds
        assert_within(mean, 6 * N, error)
    np.testing.assert_allclose(drawn.coordinates._value, frame.coordinates._value)
    assert engine.randomize_velocities(frame) is not drawn


@pytest.mark.parametrize(
    "beta",
    [
        1.0 / (unit.BOLTZMANN_CONSTANT_kB * 1200 * unit.kelvin),
        1.0 / (unit.MOLAR_GAS_CONSTANT_R * 1200 * unit.kelvin),
        1.0 / (unit.MOLAR_GAS_CONSTANT_R * 1200 * unit.kelvin).value_in_unit(unit.kilojoule_per_mole),
    ],
    ids=["per particle", "per mole", "a number"],
)
def test_another_temperature_for_the_velocities(beta):
    seed_path_sampling(6)
    engine, frame = dimers()
    modifier = paths.RandomVelocities(beta=beta, engine=engine)
    kinetic = [MASS * (modifier(frame).velocities._value ** 2).sum() / KT._value * 1000.0 for _ in range(50)]
    if KT.unit == unit.kilojoule_per_mole:
        kinetic = [value / 1000.0 for value in kinetic]
    mean, error = mean_and_stderr(kinetic)
    assert_within(mean, 4 * 5 * N, error)


def test_new_velocities_for_some_atoms():
    engine, frame = dimers()
    first = engine.randomize_velocities(frame)
    second = engine.randomize_velocities(first, subset=[0, 1])
    changed = np.abs(second.velocities._value - first.velocities._value).max(axis=1) > 1e-6
    assert changed[:2].all() and not changed[2:].any()


@pytest.mark.parametrize("beta", [3 * unit.nanometer])
def test_a_beta_that_is_none_is_refused(beta):
    engine, frame = dimers()
    with pytest.raises(ValueError, match="is no inverse energy"):
        engine.randomize_velocities(frame, beta)


def test_an_integrator_without_temperature_needs_a_beta():
    integrator = openmm.CustomIntegrator(0.001)
    integrator.addComputePerDof("v", "v+dt*f/m")
    integrator.addComputePerDof("x", "x+dt*v")
    engine, frame = dimers(integrator)
    with pytest.raises(ValueError, match="does not say its temperature: give RandomVelocities a beta"):
        engine.randomize_velocities(frame)


def test_overdamped_frames_share_their_velocities():
    engine = make_engine()
    path = engine.generate(make_path(engine, [0.0])[0], running=[lambda path, trusted=None: len(path) < 20])
    assert len({id(frame.kinetics) for frame in path[1:]}) == 1
    assert not path[3].velocities._value.any() and not path[3].reversed.velocities._value.any()


def test_no_energy_is_computed_for_a_frame(monkeypatch):
    engine, frame = dimers()
    engine.current_snapshot = frame
    asked = []
    context = engine.simulation.context
    original = context.getState
    monkeypatch.setattr(context, "getState", lambda *a, **k: (asked.append(k), original(*a, **k))[1])
    engine.generate_next_frame()
    assert asked and not any("nergy" in key for each in asked for key in each)


def test_a_path_that_becomes_nan_stops_the_run_and_leaves_its_last_frame(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    system = openmm.System()
    system.addParticle(1.0)
    force = openmm.CustomExternalForce("-30*x+0.001*sqrt(0.5-x)")
    force.addParticle(0, [])
    system.addForce(force)
    engine = RareEventEngine(Topology(1), system, BAOABLangevinIntegrator(300, 1, 0.01), platform="Reference")
    frame = Snapshot.construct(
        np.zeros((1, 3)) * unit.nanometer,
        np.eye(3) * unit.nanometer,
        np.zeros((1, 3)) * unit.nanometer / unit.picosecond,
        engine=engine,
    )
    with pytest.raises(FloatingPointError, match=r"became NaN within 10 steps.*nan-after-.*\.npz"):
        engine.generate(frame, running=[lambda path, trusted=None: len(path) < 500])
    (left,) = tmp_path.glob("nan-after-*.npz")
    with np.load(left) as archive:
        assert np.isfinite(archive["positions"]).all() and archive["velocities"].shape == (1, 3)


@pytest.mark.parametrize("kind", ["nc", "db"])
def test_it_reloads_as_itself(tmp_path, kind):
    engine, frame = dimers(n_steps_per_frame=7)
    name = str(tmp_path / f"engine.{kind}")
    if kind == "nc":
        storage = paths.Storage(name, "w", template=frame)
    else:
        from openpathsampling.experimental.storage import Storage, monkey_patch_all

        monkey_patch_all(paths)
        storage = Storage(name, "w")
    storage.save(engine.named("mine"))
    storage.close()
    opened = paths.Storage(name, "r") if kind == "nc" else Storage(name, "r")
    again = opened.engines["mine"]
    assert type(again) is RareEventEngine and again.platform_name == "Reference" and again.n_steps_per_frame == 7
    again.current_snapshot = frame
    assert np.isfinite(again.generate_next_frame().coordinates._value).all()
    other = again.from_new_options(options={"n_steps_per_frame": 3})
    assert type(other) is RareEventEngine and other.n_steps_per_frame == 3 and again.n_steps_per_frame == 7
