"""Kind 4: start structures that a program has wrapped atom by atom are made whole; what is long on purpose stays."""

from dataclasses import replace

import numpy as np
import openmm
import pytest
from openmm import app
from test_k4_boxes import BOXES

import chain4
from openmm_rare import Coordinate, Dihedral, Distance, Range, RareEventSystem
from openmm_rare.dynamics.checks import require_runnable


def energy(problem):
    context = openmm.Context(problem.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(problem.positions)
    return context.getState(energy=True).getPotentialEnergy()._value


@pytest.mark.parametrize("constrain", [False, True])
@pytest.mark.parametrize("name", BOXES)
def test_molecules_cut_by_the_box_are_made_whole(name, constrain):
    made = chain4.system(box=2.0, constrain=constrain)
    made.setDefaultPeriodicBoxVectors(*BOXES[name])
    made.getForce(made.getNumForces() - 1).setCutoffDistance(0.6)
    whole = chain4.problem(made)
    x = chain4.positions() + np.array([[0, 0, 0], [0, 0, 1], [-1, 0, 1], [-1, 2, 0]]) @ BOXES[name]
    cut = RareEventSystem.from_openmm(
        made, x, whole.states.a, whole.states.b, [Dihedral("phi", (0, 1, 2, 3))], 300, 5, 0.001, topology=chain4.topology()
    )
    np.testing.assert_allclose(cut.positions, chain4.positions(), atol=1e-12)
    assert energy(cut) == pytest.approx(energy(whole), abs=1e-6)
    assert not whole.repairs
    for mine in (cut, cut.with_temperature(400)):  # which says it still
        assert mine.repairs == ("The structure was cut by its periodic box: 3 bonds were made whole.",)
        assert require_runnable(replace(mine, inertial=True), "paths") == list(cut.repairs)


def test_what_is_long_on_purpose_is_left_as_it_is():
    made, x = chain4.system(box=2.0), chain4.positions() * [4.0, 1.0, 1.0]
    restraint = openmm.HarmonicBondForce()
    restraint.addBond(0, 3, 1.52, 1.0)  # longer than half the box, as it is meant
    made.addForce(restraint)
    whole = chain4.problem(made)
    a, b, where = whole.states.a, whole.states.b, [Coordinate("x", 3, 0), Dihedral("phi", (0, 1, 2, 3))]
    np.testing.assert_array_equal(RareEventSystem.from_openmm(made, x, a, b, where, 300, 5, 0.001).positions, x)
    periodic = chain4.system(box=2.0)
    for force in periodic.getForces():
        if not isinstance(force, openmm.NonbondedForce):
            force.setUsesPeriodicBoundaryConditions(True)  # then no image matters
    cut = chain4.positions() + [[0, 0, 0], [0, 0, 2.0], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(RareEventSystem.from_openmm(periodic, cut, a, b, where, 300, 5, 0.001).positions, cut)


def held_by(kind):
    """The chain, whose last bead hangs on something else than a harmonic bond or a constraint."""
    made = chain4.system(box=2.0)
    made.getForce(0).setBondParameters(2, 2, 3, 0.153, 0.0)
    if kind == "custom bond":
        force = openmm.CustomBondForce("5e4*(r-0.153)^2")
        force.addBond(3, 2, [])
        made.addForce(force)
    if kind == "Drude particle":
        force = openmm.DrudeForce()
        force.addParticle(3, 2, -1, -1, -1, -1.0, 1e-3, 1.0, 1.0)
        made.addForce(force)
    if kind == "virtual site":
        made.setParticleMass(3, 0.0)
        made.setVirtualSite(3, openmm.TwoParticleAverageSite(1, 2, -1.0, 2.0))
    return made, chain4.topology() if kind == "topology" else None


@pytest.mark.parametrize("kind", ["custom bond", "Drude particle", "virtual site", "topology", "nothing"])
def test_whatever_holds_a_molecule_together_makes_it_whole(kind):
    made, topology = held_by(kind)
    cut = chain4.positions() + [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 2.0, 0]]
    a, b, phi = Range({"phi": chain4.TRANS}), Range({"phi": chain4.GAUCHE}), [Dihedral("phi", (0, 1, 2, 3))]
    mine = RareEventSystem.from_openmm(made, cut, a, b, phi, 300, 5, 0.001, topology=topology)
    expected = cut if kind == "nothing" else chain4.positions()  # negative control
    np.testing.assert_allclose(mine.positions, expected, atol=1e-12)
    assert ("bonds were made whole" in "".join(mine.repairs)) is (kind != "nothing")


@pytest.mark.parametrize("make", [openmm.HarmonicBondForce, lambda: openmm.CustomBondForce("50*(r-0.2)^2")])
def test_molecules_that_are_pulled_together_from_afar_stay_there(make):
    """Restraints between two molecules, soft or of any energy: OpenMM takes no images, and so it is meant."""
    made, topology = chain4.system(box=2.0), chain4.topology()
    residue = topology.addResidue("BUT", next(topology.chains()))
    atoms = [topology.addAtom(f"C{i}", app.element.carbon, residue) for i in range(2)]
    topology.addBond(*atoms)
    for _ in atoms:
        made.addParticle(14.0)
        made.getForce(3).addParticle(0.0, 0.3, 0.0)
    made.getForce(0).addBond(4, 5, 0.153, 100000.0)
    restraint = make()
    restraint.addBond(0, 4, *([0.2, 100.0] if isinstance(restraint, openmm.HarmonicBondForce) else [[]]))
    made.addForce(restraint)
    x = np.concatenate([chain4.positions(), [[0.0, 1.7, 0.0], [0.0, 1.853, 0.0]]])
    a, b, phi = Range({"phi": chain4.TRANS}), Range({"phi": chain4.GAUCHE}), [Dihedral("phi", (0, 1, 2, 3))]
    mine = RareEventSystem.from_openmm(made, x, a, b, phi, 300, 5, 0.001, topology=topology)
    np.testing.assert_array_equal(mine.positions, x)


def test_molecules_that_go_round_the_box_are_refused():
    made = openmm.System()
    bonds, pairs = openmm.HarmonicBondForce(), openmm.NonbondedForce()
    pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    pairs.setCutoffDistance(0.5)
    for i in range(4):
        made.addParticle(12.0)
        pairs.addParticle(0.0, 0.3, 0.0)
        bonds.addBond(i, (i + 1) % 4, 0.5, 1000.0)
    made.addForce(bonds)
    made.addForce(pairs)
    made.setDefaultPeriodicBoxVectors(*BOXES["cube"])
    ring = np.array([[0.5 * i, 0.0, 0.0] for i in range(4)])
    arguments = (ring, Range({"d": (0, 0.6)}), Range({"d": (0.8, 2)}), [Distance("d", (0, 1))], 300, 1, 0.001)
    with pytest.raises(ValueError, match="its molecule goes round it: give its bonds setUsesPeriodicBoundaryConditions"):
        RareEventSystem.from_openmm(made, *arguments)
    bonds_in_system = made.getForce(0)
    bonds_in_system.setUsesPeriodicBoundaryConditions(True)
    RareEventSystem.from_openmm(made, *arguments)
