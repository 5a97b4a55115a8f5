"""The native bonds of many walkers: energy and forces of OpenMM's CustomBondForce, to the last digits."""

import copy
import re

import numpy as np
import openmm
import pytest

from openmm_rare.dynamics import native
from openmm_rare.dynamics.copies import replication
from openmm_rare.dynamics.copies.walker_bonds import WalkerBondForce, can_be_native, suits_native_bonds
from openmm_rare.systems import lj7
from openmm_rare.walkers.absorbing import absorbing_slots
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.slots import SlotContext
from platforms import make_context

pytestmark = pytest.mark.skipif(not native.plugin().available, reason="; ".join(native.plugin().problems))

N_ATOMS, N = 5, 75  # two blocks of walkers and a part of one
BONDS = {(0, 1): [2.0, 0.3], (1, 2): [1.5, 0.25], (4, 0): [-0.7, 0.4], (2, 4): [3.0, 0.2], (1, 4): [2.0, 0.3]}  # k and r0
BOTH = ["Reference", "CPU"]
EXPRESSIONS = [
    "0.5*k*(r-r0)^2",
    "k*r",
    "k",
    "7",
    "r",
    "r0-r",
    "4*k*((r0/r)^12-(r0/r)^6)",
    "138.93545764438198*k/r+4*k*((r0/r)^12-(r0/r)^6)",
    "126.7*i*(i-1); i=1/(0.01+647.3*r^6)",
    "k*(1-exp(-g*(r-r0)))^2",
    "k*exp(-(r/r0)^2)*cos(20*r)",
    "k*r^g+r^0.5+r^(-2.5)+g^r+r0^(-3)",
    "r^0+r^1+r^7-r^(-1)-r^(-9)+r^13",
    "(r-r0)^3+(r-r0)^5+1/(r+r0)+(r-r0)^2/(r+1)/k",
    "k*log(r/r0)^2+sqrt(r+r0)-sqrt(r)",
    "sin(5*r)*cos(3*r)*tan(r)",
    "sec(r)+csc(r)+cot(r)",
    "asin(r/3)+acos(r/3)-atan(r)+atan2(r,r0)+atan2(r0,r-r0)",
    "sinh(r)+cosh(r)-tanh(r/r0)",
    "erf(r/r0)/r+erfc(g*r)",
    "step(r-r0)*k*(r-r0)^2",
    "select(step(r0-r),k*(r-r0)^2,(r-r0)^4)+select(delta(r),1,r)",
    "min(r,r0)^2+max(r*k,r0)+min(k,3*r)*max(g,r)",
    "abs(r-r0)*abs(k)+abs(k*r-g)",
    "floor(10*r)*r+ceil(7*r)*r^2+delta(r-r0)",
    "-r/k+(k-r)/(-r)+k*g*r0*r/(g-k)+2*(3*(4*r))",
]
OTHER = '<Force type="CMMotionRemover" version="1" frequency="1" forceGroup="0" name="CMMotionRemover"/>'


def bonds_of(energy, bonds=BONDS):
    force = openmm.CustomBondForce(energy)
    force.addGlobalParameter("g", 2.5)
    for name in ("k", "r0"):
        force.addPerBondParameter(name)
    for pair, parameters in bonds.items():
        force.addBond(*pair, parameters)
    return force


def scattered(n=N, spread=0.03, seed=1):
    """Positions ``(n, N_ATOMS, 3)`` with distances from about 0.15 to 0.6 nm, walkers on top of one another."""
    rng = np.random.default_rng(seed)
    places = 0.3 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    return places + spread * rng.normal(size=(n, N_ATOMS, 3))


def repeated(force, n):
    """OpenMM's own force with the bonds of n walkers."""
    copies = replication.replicate(system_of(copy.copy(force)), n)  # must outlive its forces
    return copy.copy(copies.getForce(0))


def system_of(force, n=1):
    system = openmm.System()
    for _ in range(n * N_ATOMS):
        system.addParticle(1.0)
    system.addForce(force)
    return system


def context_of(force, positions, platform="Reference"):
    return make_context(system_of(force, len(positions)), openmm.VerletIntegrator(0.001), platform, positions)


def evaluate(context, shape):
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value.reshape(shape)


def differences(energy, positions, platform="Reference"):
    """Of energy and forces from OpenMM's, relative to the largest; the size of the forces."""
    force = bonds_of(energy)
    one, other = (
        evaluate(context_of(each, positions, platform), positions.shape)
        for each in (WalkerBondForce(force, len(positions)), repeated(force, len(positions)))
    )
    largest = np.abs(other[1]).max()
    return abs(one[0] - other[0]) / abs(other[0]), np.abs(one[1] - other[1]).max() / (largest or 1.0), largest


@pytest.mark.parametrize("energy", EXPRESSIONS)
@pytest.mark.parametrize("platform", BOTH)
def test_energy_and_forces_are_those_of_openmm(energy, platform):
    energy_error, force_error, largest = differences(energy, scattered(), platform)
    assert energy_error < 1e-12
    assert force_error < 1e-12
    assert (largest > 0) == ("r" in energy.replace("r0", ""))


def test_a_slight_difference_is_seen():
    """Negative control of the test above."""
    force, positions = bonds_of("k*r^6"), scattered()
    changed = bonds_of("k*r^6.0000000001")
    one, other = (evaluate(context_of(WalkerBondForce(each, N), positions), positions.shape) for each in (force, changed))
    assert abs(one[0] / other[0] - 1.0) > 1e-11
    assert np.abs(one[1] - other[1]).max() > 1e-11 * np.abs(one[1]).max()


@pytest.mark.parametrize("variant", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_agrees(variant, monkeypatch):
    monkeypatch.setenv("OPENMM_RARE_SIMD", variant)
    try:
        context_of(WalkerBondForce(bonds_of("r"), N), scattered())
    except openmm.OpenMMException as error:
        pytest.skip(str(error))
    for energy in EXPRESSIONS:
        assert max(differences(energy, scattered())[:2]) < 1e-12


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 64, 1100])
@pytest.mark.parametrize("platform", BOTH)
def test_any_number_of_walkers(n, platform):
    assert max(differences("k*(r-r0)^2+1/r^3", scattered(n), platform)[:2]) < 1e-12


def test_threads_change_nothing():
    force, positions = bonds_of("k*(r-r0)^2+1/r^3"), scattered(1100)
    results = []
    for threads in ("1", "3"):
        system = system_of(WalkerBondForce(force, len(positions)), len(positions))
        platform = openmm.Platform.getPlatformByName("CPU")
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform, {"Threads": threads})
        context.setPositions(positions.reshape(-1, 3))
        results.append(evaluate(context, positions.shape))
    assert results[0][0] == results[1][0]
    assert np.array_equal(results[0][1], results[1][1])


def test_walkers_do_not_feel_each_other():
    force, positions = bonds_of("k/r"), scattered()
    _, forces = evaluate(context_of(WalkerBondForce(force, N), positions), positions.shape)
    moved = positions.copy()
    moved[1:] = positions[0] + 1e-9
    _, after = evaluate(context_of(WalkerBondForce(force, N), moved), positions.shape)
    assert np.array_equal(after[0], forces[0])
    assert np.abs(after[1] - forces[1]).max() > 1e-3 * np.abs(forces[1]).max()  # negative control


@pytest.mark.parametrize("energy", ["4*k*((r0/r)^12-(r0/r)^6)", "k*(1-exp(-g*(r-r0)))^2", "erf(r/r0)/r"])
def test_forces_are_minus_the_gradient(energy):
    positions, h, rng = scattered(2), 1e-5, np.random.default_rng(3)
    context = context_of(WalkerBondForce(bonds_of(energy), 2), positions)
    _, forces = evaluate(context, positions.shape)
    direction = rng.normal(size=positions.shape)
    energies = []
    for sign in (1.0, -1.0):
        context.setPositions((positions + sign * h * direction).reshape(-1, 3))
        energies.append(context.getState(energy=True).getPotentialEnergy()._value)
    slope = -(energies[0] - energies[1]) / (2 * h)
    assert (forces * direction).sum() == pytest.approx(slope, rel=1e-5)
    assert (forces * direction[::-1]).sum() != pytest.approx(slope, rel=1e-2)  # negative control


def test_particles_in_the_same_place_feel_no_force():
    positions = scattered(3)
    positions[1, 1] = positions[1, 0]
    energy, forces = evaluate(context_of(WalkerBondForce(bonds_of("k*r"), 3), positions), positions.shape)
    expected = evaluate(context_of(repeated(bonds_of("k*r"), 3), positions), positions.shape)
    assert energy == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(forces, expected[1], rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("platform", BOTH)
def test_global_parameters_of_a_live_context(platform):
    positions = scattered()
    force = bonds_of("g*k*exp(-g*r)+g^2")
    contexts = [context_of(each, positions, platform) for each in (WalkerBondForce(force, N), repeated(force, N))]
    before = evaluate(contexts[0], positions.shape)
    for context in contexts:
        assert context.getParameter("g") == 2.5
        context.setParameter("g", 1.25)
    one, other = (evaluate(context, positions.shape) for context in contexts)
    assert one[0] == pytest.approx(other[0], rel=1e-12)
    assert np.abs(one[1] - other[1]).max() < 1e-12 * np.abs(other[1]).max()
    assert abs(one[0] - before[0]) > 1e-3 * abs(one[0])  # negative control


def test_force_groups_count():
    force, positions = bonds_of("k*r"), scattered()
    force.setForceGroup(3)
    context = context_of(WalkerBondForce(force, N), positions)
    assert not context.getState(forces=True, groups={0}).getForces(asNumpy=True)._value.any()
    assert context.getState(forces=True, groups={3}).getForces(asNumpy=True)._value.any()


def test_xml_round_trip_and_copies():
    force = bonds_of("k*(r-r0)^2;k=2*g")
    force.setName("mine")
    force.setForceGroup(5)
    made = WalkerBondForce(force, N)
    text = openmm.XmlSerializer.serialize(made)
    assert (made.getName(), made.getForceGroup(), made.usesPeriodicBoundaryConditions()) == ("mine", 5, False)
    assert openmm.XmlSerializer.serialize(openmm.XmlSerializer.deserialize(text)) == text
    made.setName("renamed")
    made.setForceGroup(6)
    changed = copy.copy(made)
    assert (changed.getName(), changed.getForceGroup()) == ("renamed", 6)
    positions = scattered()
    results = [evaluate(context_of(each, positions), positions.shape) for each in (made, changed)]
    assert results[0][0] == results[1][0] != 0.0


@pytest.mark.parametrize(
    "edit, complaint",
    [
        (('numWalkers="75"', 'numWalkers="0"'), "there must be at least one walker, not 0"),
        (('version="1"', 'version="9"'), "Unsupported version number"),
        ((' p1="1"', ' p1="-1"'), "bond 1 is of particle -1, which does not exist"),
        (("<Bond .*</Bonds>", "</Bonds>"), "there are no bonds"),
        (('usesPeriodic="0"', 'usesPeriodic="1"'), "periodic boundaries are not supported"),
        (("<Force energy.*</Force>", OTHER), "the bonds must be a CustomBondForce, not a CMMotionRemover"),
    ],
)
def test_xml_that_does_not_fit_is_refused(edit, complaint):
    text = openmm.XmlSerializer.serialize(WalkerBondForce(bonds_of("k*r"), N))
    changed = re.sub(*edit, text, count=1, flags=re.DOTALL)
    assert changed != text
    with pytest.raises(openmm.OpenMMException, match=complaint):
        openmm.XmlSerializer.deserialize(changed)


@pytest.mark.parametrize(
    "energy, complaint",
    [
        ("k*q", "the energy k[*]q cannot be computed: there is no parameter q"),
        ("k*(r", "cannot be computed: "),
        ("foo(r)", "cannot be computed: .*foo"),
        ("", "cannot be computed: "),
        ("(r>5)*r", "cannot be computed: "),
        ("k*r^", "cannot be computed: "),
    ],
)
def test_energies_that_cannot_be_computed_are_refused(energy, complaint):
    with pytest.raises(openmm.OpenMMException, match=f"WalkerBondForce: .*{complaint}"):
        context_of(WalkerBondForce(bonds_of(energy), N), scattered())


def test_wrong_arguments():
    force = bonds_of("k*r")
    for n, complaint in ((2.5, "must be a whole number"), (0, "at least one walker"), (-1, "at least one walker")):
        with pytest.raises((ValueError, openmm.OpenMMException), match=complaint):
            WalkerBondForce(force, n)
    for other in (openmm.HarmonicBondForce(), None):
        with pytest.raises(ValueError, match="bonds must be a CustomBondForce, not"):
            WalkerBondForce(other, 1)
    with pytest.raises(openmm.OpenMMException, match="there are no bonds"):
        WalkerBondForce(bonds_of("k*r", {}), 1)
    for parameters in ([1.0], [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match=f"bond 1 has {len(parameters)} parameters, but a bond of this force needs 2"):
            WalkerBondForce(bonds_of("k*r", BONDS | {(1, 2): parameters}), 1)
    with pytest.raises(openmm.OpenMMException, match="bond 0 refers to particle 5; a walker has 5"):
        context_of(WalkerBondForce(bonds_of("k*r", {(0, 5): [1.0, 1.0]}), N), scattered())
    with pytest.raises(openmm.OpenMMException, match="bond 0 is of particle -3, which does not exist"):
        WalkerBondForce(bonds_of("k*r", {(-3, 1): [1.0, 1.0]}), N)
    with pytest.raises(openmm.OpenMMException, match="4 walkers do not divide the 375 particles of the System"):
        context_of(WalkerBondForce(force, 4), scattered())
    force.addEnergyParameterDerivative("g")
    with pytest.raises(openmm.OpenMMException, match="derivatives of the energy with respect to parameters"):
        WalkerBondForce(force, 1)


def test_positions_that_are_not_finite_make_forces_that_are_not():
    positions = scattered()
    positions[40, 1, 2] = np.nan
    _, forces = evaluate(context_of(WalkerBondForce(bonds_of("k*r"), N), positions), positions.shape)
    assert np.isnan(forces[40]).any()
    assert np.isfinite(np.delete(forces, 40, axis=0)).all()


def test_a_checkpoint_of_a_context_with_bonds():
    positions = scattered()
    context = context_of(WalkerBondForce(bonds_of("g*k*(r-r0)^2"), N), positions)
    context.setParameter("g", 3.5)
    context.getIntegrator().step(3)
    saved = context.createCheckpoint()
    context.getIntegrator().step(5)
    expected = evaluate(context, positions.shape)
    context.setParameter("g", 1.0)
    context.loadCheckpoint(saved)
    context.getIntegrator().step(5)
    now = evaluate(context, positions.shape)
    assert now[0] == expected[0]
    assert np.array_equal(now[1], expected[1])


# ---------------------------------------------------------------------------------------------------- in replication


def nonbonded():
    force = openmm.NonbondedForce()
    for i in range(N_ATOMS):
        force.addParticle(0.3 * (-1) ** i, 0.2 + 0.01 * i, 0.5)
    force.addException(0, 1, 0.0, 1.0, 0.0)
    force.addException(2, 3, 0.2, 0.15, 0.4)
    return force


def custom_nonbonded():
    force = openmm.CustomNonbondedForce("g*e*(s/r)^6;s=0.5*(s1+s2);e=sqrt(e1*e2)")
    force.addGlobalParameter("g", 1.5)
    for name in "se":
        force.addPerParticleParameter(name)
    for i in range(N_ATOMS):
        force.addParticle([0.1 + 0.01 * i, 0.5 + 0.1 * i])
    force.addExclusion(0, 1)
    return force


@pytest.mark.parametrize("make", [nonbonded, custom_nonbonded, lambda: bonds_of("k*(r-r0)^4")])
def test_replication_takes_native_bonds(make):
    positions, results, force = scattered(), [], make()
    force.setName("mine")
    force.setForceGroup(4)
    for native_bonds in (True, False):
        copies = replication.replicate(system_of(copy.copy(force)), N, native_bonds)
        text = openmm.XmlSerializer.serialize(copies.getForce(0))
        assert ('type="WalkerBondForce"' in text) == native_bonds
        assert (copies.getForce(0).getName(), copies.getForce(0).getForceGroup()) == ("mine", 4)
        context = make_context(copies, openmm.VerletIntegrator(0.001), "Reference", positions)
        results.append(evaluate(context, positions.shape))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-12)
    assert np.abs(results[0][1] - results[1][1]).max() < 1e-12 * np.abs(results[1][1]).max()


def test_what_the_native_force_cannot_do_stays_with_openmm():
    derivative, empty, harmonic = bonds_of("g*k*r"), bonds_of("k*r", {}), openmm.HarmonicBondForce()
    derivative.addEnergyParameterDerivative("g")
    harmonic.addBond(0, 1, 0.2, 3.0)
    periodic = bonds_of("k*r")
    periodic.setUsesPeriodicBoundaryConditions(True)
    assert can_be_native(bonds_of("k*r")) and not can_be_native(periodic)
    for force in (derivative, empty, harmonic):
        assert not can_be_native(force)
        kind = type(force)
        copies = replication.replicate(system_of(force), 3, native_bonds=True)
        assert type(copies.getForce(0)) is kind


def forces_of(context):
    return [openmm.XmlSerializer.serialize(force).split('type="')[1].split('"')[0] for force in context.getSystem().getForces()]


def test_the_native_backend_takes_native_bonds_where_they_are():
    target = lj7.build()
    assert suits_native_bonds("Reference", 100) and suits_native_bonds("CPU", 100) and not suits_native_bonds("Reference", 1)
    assert not any(suits_native_bonds(name, 100) for name in native.plugin().platforms if name not in BOTH)
    for backend, expected in (("native", "WalkerBondForce"), ("python", "CustomBondForce")):
        assert forces_of(SlotContext(target, 20, Machine("Reference", backend), 1).context) == [expected]
    assert forces_of(SlotContext(target, 1, Machine("Reference", "native"), 1).context) == ["CustomBondForce"]  # faster for one
    assert forces_of(absorbing_slots(target, 20, Machine("Reference", "native"), 1, None).context) == ["WalkerBondForce"]
