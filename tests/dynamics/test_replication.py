"""n copies have the energy and forces of the single System, each at its own positions, for every supported force."""

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_rare.dynamics.copies.replication import replicate

N_PARTICLES, N_COPIES = 8, 4


def harmonic_bond():
    force = openmm.HarmonicBondForce()
    force.addBond(0, 3, 0.2, 300.0)
    force.addBond(5, 2, 0.3, 200.0)
    return force


def harmonic_angle():
    force = openmm.HarmonicAngleForce()
    force.addAngle(4, 0, 3, 1.2, 30.0)
    force.addAngle(1, 2, 7, 2.0, 20.0)
    return force


def periodic_torsion():
    force = openmm.PeriodicTorsionForce()
    force.addTorsion(0, 1, 2, 3, 2, 0.3, 5.0)
    force.addTorsion(7, 3, 5, 4, 3, 1.3, 4.0)
    return force


def rb_torsion():
    force = openmm.RBTorsionForce()
    force.addTorsion(6, 1, 2, 3, 1.0, -2.0, 3.0, 0.5, 0.2, -0.1)
    return force


def cmap_torsion():
    force = openmm.CMAPTorsionForce()
    angles = 2 * np.pi * np.arange(6) / 6
    force.addMap(6, np.cos(angles[:, None] + 2 * angles).ravel())
    force.addMap(6, np.sin(2 * angles[:, None] - angles).ravel())
    force.addTorsion(1, 0, 1, 2, 3, 4, 5, 6, 7)
    force.addTorsion(0, 3, 1, 2, 6, 0, 5, 4, 7)
    return force


def custom_bond():
    force = openmm.CustomBondForce("scale*k*(r-r0)^4")
    force.addGlobalParameter("scale", 1.5)
    force.addPerBondParameter("k")
    force.addPerBondParameter("r0")
    force.addBond(0, 7, [300.0, 0.2])
    force.addBond(2, 1, [200.0, 0.3])
    return force


def custom_angle():
    force = openmm.CustomAngleForce("k*cos(theta)")
    force.addPerAngleParameter("k")
    force.addAngle(0, 1, 2, [10.0])
    return force


def custom_torsion():
    force = openmm.CustomTorsionForce("k*cos(theta-1)")
    force.addPerTorsionParameter("k")
    force.addTorsion(0, 1, 2, 5, [10.0])
    return force


def custom_external():
    force = openmm.CustomExternalForce("k*(x^2+x*y+z^4)")
    force.addPerParticleParameter("k")
    force.addParticle(0, [3.0])
    force.addParticle(4, [-2.0])
    return force


def custom_compound_bond():
    force = openmm.CustomCompoundBondForce(3, "k*table(distance(p1,p2))*angle(p1,p2,p3)+x3^2")
    force.addPerBondParameter("k")
    force.addTabulatedFunction("table", openmm.Continuous1DFunction(np.sin(np.arange(20)), 0.0, 4.0))
    force.addBond([5, 2, 0], [30.0])
    force.addBond([1, 7, 4], [20.0])
    return force


def custom_centroid_bond():
    force = openmm.CustomCentroidBondForce(2, "k*distance(g1,g2)^2")
    force.addPerBondParameter("k")
    force.addGroup([0, 1])
    force.addGroup([2, 3, 4], [1.0, 2.0, 0.5])
    force.addGroup([7])
    force.addBond([0, 1], [30.0])
    force.addBond([2, 1], [20.0])
    return force


def nonbonded():
    force = openmm.NonbondedForce()
    for i in range(N_PARTICLES):
        force.addParticle(0.3 * (-1) ** i if i else 0.0, 0.1 + 0.01 * i, 0.5 + 0.1 * i if i != 3 else 0.0)
    force.addException(0, 1, 0.0, 1.0, 0.0)
    force.addException(5, 2, 0.2, 0.15, 0.4)
    force.addException(3, 4, 0.0, 0.1, 0.7)
    return force


def custom_nonbonded():
    force = openmm.CustomNonbondedForce("scale*4*e*((s/r)^12-(s/r)^6);s=0.5*(s1+s2);e=sqrt(e1*e2)")
    force.addGlobalParameter("scale", 1.5)
    force.addPerParticleParameter("s")
    force.addPerParticleParameter("e")
    for i in range(N_PARTICLES):
        force.addParticle([0.1 + 0.01 * i, 0.5 + 0.1 * i])
    force.addExclusion(0, 1)
    force.addExclusion(7, 2)
    return force


def custom_nonbonded_with_groups():
    force = custom_nonbonded()
    force.addInteractionGroup([0, 1, 2, 3], [2, 3, 4])
    force.addInteractionGroup([1, 2], [1, 2, 7])
    return force


SUPPORTED = [
    harmonic_bond,
    harmonic_angle,
    periodic_torsion,
    rb_torsion,
    cmap_torsion,
    custom_bond,
    custom_angle,
    custom_torsion,
    custom_external,
    custom_compound_bond,
    custom_centroid_bond,
    nonbonded,
    custom_nonbonded,
    custom_nonbonded_with_groups,
]


def system_with(*forces):
    system = openmm.System()
    for i in range(N_PARTICLES):
        system.addParticle(1.0 + i)
    for force in forces:
        system.addForce(force)
    return system


def scattered(rng, n_particles, spacing=0.25):
    """Random positions, no two of them close: points of a grid, shuffled and shaken."""
    side = int(np.ceil(n_particles ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3) * spacing
    return rng.permutation(grid)[:n_particles] + rng.uniform(-0.2, 0.2, (n_particles, 3)) * spacing


def energy_and_forces(system, positions, **groups):
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions.reshape(-1, 3))
    state = context.getState(energy=True, forces=True, **groups)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value.reshape(positions.shape)


def assert_copies_are_the_original(system, rtol, n=N_COPIES):
    copies = replicate(system, n)
    rng = np.random.default_rng(5)
    n_particles = system.getNumParticles()
    assert copies.getNumParticles() == n * n_particles
    masses = [copies.getParticleMass(i)._value for i in range(n * n_particles)]
    assert masses == [system.getParticleMass(i)._value for i in range(n_particles)] * n
    positions = np.array([scattered(rng, n_particles) for _ in range(n)])
    energy, forces = energy_and_forces(copies, positions)
    singles = [energy_and_forces(system, frame) for frame in positions]
    expected = np.array([single[1] for single in singles])
    scale = np.abs(expected).max(axis=(1, 2), keepdims=True)
    assert (scale > 0).all()
    np.testing.assert_allclose(energy, sum(single[0] for single in singles), rtol=rtol)
    np.testing.assert_allclose(forces / scale, expected / scale, rtol=rtol, atol=rtol)
    # negative control: the copies' forces differ by far more than that from one another
    assert (np.abs(expected[1:] - expected[:-1]).max(axis=(1, 2)) > 1e-3 * scale[1:, 0, 0]).all()
    # copies do not feel each other, however close
    moved = positions.copy()
    moved[1:] = positions[0] + 1e-3
    np.testing.assert_array_equal(energy_and_forces(copies, moved)[1][0], forces[0])


@pytest.mark.parametrize("make", SUPPORTED)
def test_every_force_is_repeated(make):
    assert_copies_are_the_original(system_with(make()), rtol=1e-9)


@pytest.mark.parametrize("make", SUPPORTED)
def test_names_groups_and_global_parameters_are_kept(make):
    force = make()
    force.setName("mine")
    force.setForceGroup(7)
    system = system_with(force)
    for n in (1, 3):
        copies = replicate(system, n)  # must outlive its forces
        (copied,) = copies.getForces()
        assert (copied.getName(), copied.getForceGroup()) == ("mine", 7)
        for i in range(force.getNumGlobalParameters() if hasattr(force, "getNumGlobalParameters") else 0):
            assert copied.getGlobalParameterName(i) == force.getGlobalParameterName(i)
            assert copied.getGlobalParameterDefaultValue(i) == force.getGlobalParameterDefaultValue(i)


@pytest.mark.parametrize("make", [custom_bond, custom_nonbonded])
def test_global_parameters_act_and_derivatives_are_kept(make):
    force = make()
    force.addEnergyParameterDerivative("scale")
    copies = replicate(system_with(force), 2)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(copies, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(np.tile(scattered(np.random.default_rng(1), N_PARTICLES), (2, 1)))
    energy = context.getState(energy=True).getPotentialEnergy()._value
    derivative = context.getState(parameterDerivatives=True).getEnergyParameterDerivatives()["scale"]
    assert derivative == pytest.approx(energy / 1.5)
    context.setParameter("scale", 3.0)
    assert context.getState(energy=True).getPotentialEnergy()._value == pytest.approx(2 * energy)


def test_forces_together_and_the_original_unchanged():
    system = system_with(*(make() for make in SUPPORTED[:-1]))
    before = openmm.XmlSerializer.serialize(system)
    assert_copies_are_the_original(system, rtol=1e-9)
    assert openmm.XmlSerializer.serialize(system) == before


def alanine_dipeptide():
    """ACE-ALA-NME in vacuum with Amber's ff14SB; the force field needs the bonds, not the names."""
    residues = {"ACE": "HCHHCO", "ALA": "NHCHCHHHCO", "NME": "NHCHHH"}
    bonds = "0-1 1-2 1-3 1-4 4-5 4-6 6-7 6-8 8-9 8-10 10-11 10-12 10-13 8-14 14-15 14-16 16-17 16-18 18-19 18-20 18-21"
    topology = app.Topology()
    chain = topology.addChain()
    for name, symbols in residues.items():
        residue = topology.addResidue(name, chain)
        for i, symbol in enumerate(symbols):
            topology.addAtom(f"{symbol}{i}", app.Element.getBySymbol(symbol), residue)
    atoms = list(topology.atoms())
    for bond in bonds.split():
        first, second = map(int, bond.split("-"))
        topology.addBond(atoms[first], atoms[second])
    force_field = app.ForceField("amber14/protein.ff14SB.xml")
    return force_field.createSystem(topology, nonbondedMethod=app.NoCutoff, constraints=None, removeCMMotion=False)


def test_a_molecule_from_a_force_field():
    system = alanine_dipeptide()
    assert {type(force).__name__ for force in system.getForces()} == {
        "HarmonicBondForce",
        "HarmonicAngleForce",
        "PeriodicTorsionForce",
        "NonbondedForce",
    }
    assert_copies_are_the_original(system, rtol=1e-8, n=6)


# ---------------------------------------------------------------------------------------------------------- refusals


def with_offset():
    force = nonbonded()
    force.addGlobalParameter("scale", 0.0)
    force.addParticleParameterOffset("scale", 0, 1.0, 0.0, 0.0)
    return force


def without_direct_space():
    force = nonbonded()
    force.setIncludeDirectSpace(False)
    return force


def with_pme():
    force = nonbonded()
    force.setNonbondedMethod(force.PME)
    return force


def custom_with_table():
    force = openmm.CustomNonbondedForce("table(r)")
    force.addTabulatedFunction("table", openmm.Continuous1DFunction([0.0, 1.0, 0.0], 0.0, 1.0))
    return force


def custom_with_computed_value():
    force = custom_nonbonded()
    force.addComputedValue("double", "2*s")
    return force


def periodic_bonds():
    force = harmonic_bond()
    force.setUsesPeriodicBoundaryConditions(True)
    return force


def zero_force(state):
    return 0.0, np.zeros((N_PARTICLES, 3))


def python_force():
    return openmm.PythonForce(zero_force)


def barostat():
    return openmm.MonteCarloBarostat(1.0, 300.0)


def thermostat():
    return openmm.AndersenThermostat(300.0, 1.0)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (with_offset, "parameter offsets"),
        (with_pme, "periodic boundary conditions.*NoCutoff"),
        (without_direct_space, "direct-space.*setIncludeDirectSpace"),
        (custom_with_table, "tabulated functions"),
        (custom_with_computed_value, "computed values"),
        (periodic_bonds, "periodic boundary conditions"),
        (barostat, "barostat.*remove"),
        (thermostat, "thermostat.*remove"),
        (openmm.CMMotionRemover, "removeCMMotion=False"),
        (python_force, "Python function.*after replicating"),
        (openmm.GBSAOBCForce, "not supported.*HarmonicBondForce"),
        (openmm.CustomGBForce, "not supported"),
        (lambda: openmm.CustomCVForce("1"), "not supported"),
        (lambda: openmm.RMSDForce(np.zeros((N_PARTICLES, 3))), "not supported"),
    ],
)
def test_refusals_name_the_force_and_the_way_out(make, reason):
    force = make()
    system = system_with(harmonic_bond(), force)
    with pytest.raises(ValueError, match=rf"(?s)force 1 \({type(force).__name__} '{force.getName()}'\).*{reason}"):
        replicate(system, 2)


def test_constraints_are_repeated():
    system = system_with(harmonic_bond())
    system.addConstraint(2, 3, 0.1 * unit.nanometer)
    system.addConstraint(7, 0, 0.2 * unit.nanometer)
    copies = replicate(system, 3)
    found = [copies.getConstraintParameters(i) for i in range(copies.getNumConstraints())]
    assert [tuple(pair) for *pair, _ in found] == [(2, 3), (7, 0), (10, 11), (15, 8), (18, 19), (23, 16)]
    assert [distance._value for *_, distance in found] == [0.1, 0.2] * 3


def test_virtual_sites_are_refused():
    system = system_with()
    system.setParticleMass(4, 0.0)
    system.setVirtualSite(4, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    with pytest.raises(ValueError, match=r"particles \[4\] are virtual sites"):
        replicate(system, 2)


@pytest.mark.parametrize("n", [0, -1, 1.5, np.nan, "3", None])
def test_the_number_of_copies_is_checked(n):
    with pytest.raises(ValueError, match="n = .*at least 1"):
        replicate(system_with(harmonic_bond()), n)


def test_numpy_integers_count():
    copies = replicate(system_with(harmonic_bond()), np.int64(3))
    assert copies.getForce(0).getNumBonds() == 6
