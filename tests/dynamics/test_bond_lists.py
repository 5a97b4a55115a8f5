"""Pairs that end at a cutoff: copies have the forces of OpenMM, and lists of near pairs neither miss one nor show otherwise."""

import copy
import re

import numpy as np
import openmm
import pytest

from openmm_rare.dynamics import native
from openmm_rare.dynamics.copies.replication import replicate
from openmm_rare.dynamics.copies.walker_bonds import WalkerBondForce
from openmm_rare.dynamics.native_integrator import BiasedOverdampedLangevinIntegrator
from platforms import make_context

needs_plugin = pytest.mark.skipif(not native.plugin().available, reason="; ".join(native.plugin().problems))
FEW, MANY = 8, 40  # atoms: walkers in the lanes of vectors, and a list for each walker
N_WALKERS, CUTOFF = 35, 0.6


def nonbonded(n, charge=0.3, switch=None):
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(force.CutoffNonPeriodic)
    force.setCutoffDistance(CUTOFF)
    force.setUseSwitchingFunction(switch is not None)
    force.setSwitchingDistance(switch or 0.0)
    for i in range(n):
        force.addParticle(charge * (-1) ** i, 0.2 + 0.01 * (i % 3), 0.5)
    force.addException(0, 1, 0.0, 1.0, 0.0)
    force.addException(2, 3, 0.2, 0.15, 0.4)  # acts at any distance
    return force


def custom(n, switch=None, groups=False, alike=False):
    force = openmm.CustomNonbondedForce("g*e*(s/r)^6;s=0.5*(s1+s2);e=sqrt(e1*e2)")
    force.addGlobalParameter("g", 1.5)
    for name in "se":
        force.addPerParticleParameter(name)
    force.setNonbondedMethod(force.CutoffNonPeriodic)
    force.setCutoffDistance(CUTOFF)
    force.setUseSwitchingFunction(switch is not None)
    force.setSwitchingDistance(switch or 0.0)
    for i in range(n):
        force.addParticle([0.1, 0.5] if alike else [0.1 + 0.01 * (i % 4), 0.5 + 0.1 * (i % 3)])
    force.addExclusion(0, 1)
    if groups:
        force.addInteractionGroup(range(n // 2), range(n // 3, n))
    return force


FORCES = [
    nonbonded,
    lambda n: nonbonded(n, charge=0.0),
    lambda n: nonbonded(n, switch=0.45),
    custom,
    lambda n: custom(n, switch=0.45),
    lambda n: custom(n, groups=True),
    lambda n: custom(n, alike=True),
]


def system_of(force):
    system = openmm.System()
    for _ in range(force.getNumParticles()):
        system.addParticle(10.0)
    system.addForce(copy.copy(force))
    return system


def scattered(n, n_walkers=N_WALKERS, seed=1):
    """Walkers in the same place, each with its atoms on a shaken lattice of 0.25 nm."""
    rng, side = np.random.default_rng(seed), int(np.ceil(n ** (1 / 3)))
    places = 0.25 * np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)
    return np.array([rng.permutation(places)[:n] + rng.uniform(-0.05, 0.05, (n, 3)) for _ in range(n_walkers)])


def context_of(system, positions, integrator=None, platform="Reference"):
    return make_context(system, integrator or openmm.VerletIntegrator(0.001), platform, positions)


def evaluate(context, shape):
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value.reshape(shape)


def native_context(force, positions, **options):
    return context_of(replicate(system_of(force), len(positions), native_bonds=True), positions, **options)


def deviation(force, positions, native_bonds, reference=None):
    """Of energy and forces of copies from those of OpenMM's own force, relative."""
    copies = context_of(replicate(system_of(force), len(positions), native_bonds), positions)
    energy, forces = evaluate(copies, positions.shape)
    singles = [evaluate(context_of(system_of(reference or force), each), each.shape) for each in positions]
    expected = np.array([single[1] for single in singles])
    total = sum(single[0] for single in singles)
    return max(abs(energy - total) / abs(total), np.abs(forces - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("native_bonds", [False, pytest.param(True, marks=needs_plugin)])
@pytest.mark.parametrize("n", [FEW, MANY])
@pytest.mark.parametrize("make", FORCES)
def test_copies_have_the_forces_of_openmm(make, n, native_bonds):
    assert deviation(make(n), scattered(n), native_bonds) < 1e-12


def test_slight_differences_of_a_cutoff_are_seen():
    """Negative control of the test above: another cutoff, no switching function, another dielectric."""
    longer, other = nonbonded(MANY), nonbonded(MANY)
    longer.setCutoffDistance(CUTOFF + 0.01)
    other.setReactionFieldDielectric(60.0)
    for reference in (longer, other, nonbonded(MANY, switch=0.45)):
        assert deviation(nonbonded(MANY), scattered(MANY), False, reference) > 1e-6


def test_global_parameters_and_derivatives_with_a_cutoff():
    force = custom(MANY, switch=0.45)
    force.addEnergyParameterDerivative("g")
    context = context_of(replicate(system_of(force), 3), scattered(MANY, 3))
    state = context.getState(energy=True, parameterDerivatives=True)
    energy = state.getPotentialEnergy()._value
    assert state.getEnergyParameterDerivatives()["g"] == pytest.approx(energy / 1.5)


def test_names_in_an_energy_do_not_collide():
    force = custom(FEW, switch=0.45)
    force.setEnergyFunction("switch*within*whole*(s1+s2+e1+e2)/r;switch=0.5;within=2;whole=3")
    assert deviation(force, scattered(FEW), False) < 1e-12


def near(positions, reach):
    """How many pairs of all walkers are nearer than a distance."""
    first, second = np.triu_indices(positions.shape[1], 1)
    return np.linalg.norm(positions[:, first] - positions[:, second], axis=2) < reach


@needs_plugin
@pytest.mark.parametrize("make", [custom, lambda n: custom(n, alike=True)])
@pytest.mark.parametrize("step", [0.001, 0.005, 0.02, None])
def test_lists_never_miss_a_pair(make, step):
    """Steps of all lengths, new places (None), and one atom that leaps: to the last bit what a Context gives that is new."""
    rng, force, positions = np.random.default_rng(2), make(MANY), scattered(MANY, 6)
    context, begun = native_context(force, positions), near(positions, CUTOFF)
    evaluate(context, positions.shape)
    for turn in range(40):
        if step is None:
            positions = scattered(MANY, 6, seed=turn)
        elif turn % 8:
            positions = positions + step * rng.normal(size=positions.shape)
        positions[turn % 6, rng.integers(MANY)] += rng.normal(size=3) * (0.3 if turn % 4 == 0 else 0.0)
        context.setPositions(positions.reshape(-1, 3))
        energy, forces = evaluate(context, positions.shape)
        fresh = evaluate(native_context(force, positions), positions.shape)
        assert energy == fresh[0] and np.array_equal(forces, fresh[1])
    assert (near(positions, CUTOFF) & ~begun).sum() > 10  # negative control: a list that is never made again would miss these
    assert deviation(force, positions, True) < 1e-12


@needs_plugin
def test_walkers_that_change_places_change_nothing():
    positions = scattered(MANY)
    context = native_context(custom(MANY), positions)
    _, forces = evaluate(context, positions.shape)
    order = np.random.default_rng(3).permutation(N_WALKERS)
    context.setPositions(positions[order].reshape(-1, 3))
    assert np.array_equal(evaluate(context, positions.shape)[1], forces[order])


def walking(force, seed=7):
    integrator = BiasedOverdampedLangevinIntegrator(300.0, 1.0, 1e-3, n_walkers=N_WALKERS, seed=seed)
    positions = scattered(MANY)
    return native_context(force, positions, integrator=integrator)


def places(context):
    return context.getState(positions=True).getPositions(asNumpy=True)._value.copy()


@needs_plugin
def test_a_run_that_goes_on_is_the_same_as_one_without_a_break():
    """Lists that have become old, lists that are new, and forces asked for in between: the same numbers."""
    whole = walking(custom(MANY))
    whole.getIntegrator().step(20)
    saved, middle = whole.createCheckpoint(), places(whole)
    whole.getIntegrator().step(60)
    again = walking(custom(MANY))
    again.loadCheckpoint(saved)
    for _ in range(6):
        again.getIntegrator().step(10)
        evaluate(again, middle.shape)
    assert np.array_equal(places(again), places(whole))
    assert np.abs(places(whole) - middle).max() > 0.05  # far enough for lists to have been made again
    other = walking(custom(MANY), seed=8)
    other.getIntegrator().step(80)
    assert not np.array_equal(places(other), places(whole))  # negative control


@needs_plugin
@pytest.mark.parametrize("variant", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_has_lists(variant, monkeypatch):
    monkeypatch.setenv("OPENMM_RARE_SIMD", variant)
    try:
        native_context(custom(FEW), scattered(FEW))
    except openmm.OpenMMException as error:
        pytest.skip(str(error))
    for n in (FEW, MANY):
        assert deviation(nonbonded(n, switch=0.45), scattered(n), True) < 1e-12


@needs_plugin
def test_threads_with_lists_change_nothing():
    positions, results = scattered(MANY, 600), []
    for threads in ("1", "3"):
        platform = openmm.Platform.getPlatformByName("CPU")
        copies = replicate(system_of(custom(MANY)), len(positions), native_bonds=True)
        context = openmm.Context(copies, openmm.VerletIntegrator(0.001), platform, {"Threads": threads})
        context.setPositions(positions.reshape(-1, 3))
        results.append(evaluate(context, positions.shape))
    assert results[0][0] == results[1][0] and np.array_equal(results[0][1], results[1][1])


@needs_plugin
def test_energy_is_conserved():
    """Dynamics without friction through a smooth cutoff, in which pairs come and go."""
    force, positions = nonbonded(MANY, charge=0.0, switch=0.4), scattered(MANY, 4)
    context = native_context(force, positions, integrator=openmm.VerletIntegrator(0.002))
    context.setVelocitiesToTemperature(300.0, 1)
    energies = []
    for _ in range(40):
        context.getIntegrator().step(50)
        state = context.getState(energy=True, positions=True)
        energies.append((state.getPotentialEnergy() + state.getKineticEnergy())._value)
    spread = np.ptp(energies)
    kinetic = context.getState(energy=True).getKineticEnergy()._value
    assert spread < 2e-3 * kinetic
    end = places(context).reshape(positions.shape)
    assert (near(end, CUTOFF) != near(positions, CUTOFF)).sum() > 100  # negative control: the cutoff was crossed


@needs_plugin
@pytest.mark.parametrize("n", [FEW, MANY])
def test_positions_that_are_not_finite_show_beyond_a_cutoff(n):
    positions = scattered(n)
    context = native_context(custom(n), positions)
    evaluate(context, positions.shape)
    positions[3, 1, 2] = np.nan
    context.setPositions(positions.reshape(-1, 3))
    _, forces = evaluate(context, positions.shape)
    assert np.isnan(forces[3]).any() and np.isfinite(np.delete(forces, 3, axis=0)).all()


@needs_plugin
def test_xml_with_a_cutoff():
    bonds = openmm.CustomBondForce("1/r")
    bonds.addBond(0, 1, [])
    text = openmm.XmlSerializer.serialize(WalkerBondForce(bonds, 2, 0.5))
    assert 'version="2"' in text and openmm.XmlSerializer.serialize(openmm.XmlSerializer.deserialize(text)) == text
    assert 'version="1"' in openmm.XmlSerializer.serialize(WalkerBondForce(bonds, 2))
    system = openmm.System()
    for _ in range(4):
        system.addParticle(1.0)
    system.addForce(openmm.XmlSerializer.deserialize(text))
    positions = np.array([[0.0, 0, 0], [0.4, 0, 0], [0.0, 0, 0], [0.5, 0, 0]])  # at the cutoff there is none any more
    assert evaluate(context_of(system, positions), (4, 3))[0] == pytest.approx(2.5)
    for wrong in ("0", "-1"):
        with pytest.raises(openmm.OpenMMException, match="the cutoff must be positive"):
            openmm.XmlSerializer.deserialize(re.sub('cutoff="[^"]*"', f'cutoff="{wrong}"', text))
