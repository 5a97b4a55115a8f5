"""How many atoms of one group are around another: against a loop over pairs, in a box, in a configuration, around an ion."""

import numpy as np
import openmm
import pytest

from openmm_rare import Coordination, Distance, Range, RareEventSystem
from openmm_rare.config.states import build_states, read_states
from openmm_rare.dynamics.native_states import has_native_states
from openmm_rare.io.toml import Section, read_toml
from openmm_rare.states.states import CollectiveVariables, States
from openmm_rare.systems import build, licl
from openmm_rare.trust.policy import NO_CODE

BOX = np.diag([2.0, 2.1, 2.2])
ATOMS, NEIGHBORS = (0, 3), (1, 2, 5, 6)


def in_loops(positions, radius, power, images=(0,)):
    """One pair after the other; of all images in a box the nearest."""
    values = []
    for frame in positions:
        total = 0.0
        for i in ATOMS:
            for j in NEIGHBORS:
                cells = [np.array([a, b, c]) @ BOX for a in images for b in images for c in images]
                r = min(np.linalg.norm(frame[j] - frame[i] + cell) for cell in cells)
                x = r / radius
                total += 0.5 if abs(x - 1.0) < 1e-12 else (1.0 - x**power) / (1.0 - x ** (2 * power))
        values.append(total)
    return np.array(values)


@pytest.mark.parametrize("power", [2, 8, 12])
def test_it_is_the_sum_over_pairs(power):
    positions = np.random.default_rng(3).uniform(-2.0, 2.0, size=(5, 7, 3))
    plain = Coordination("n", ATOMS, NEIGHBORS, 0.9, power)
    np.testing.assert_allclose(plain(positions), in_loops(positions, 0.9, power), rtol=1e-12)
    periodic = Coordination("n", ATOMS, NEIGHBORS, 0.9, power, box=BOX)
    expected = in_loops(positions, 0.9, power, images=(-3, -2, -1, 0, 1, 2, 3))
    np.testing.assert_allclose(periodic(positions), expected, rtol=1e-12)
    assert not np.allclose(plain(positions), expected, rtol=0.05)  # negative control: without images
    assert plain(positions[:0]).shape == (0,)


def test_many_frames_are_those_of_each_alone(monkeypatch):
    positions = np.random.default_rng(4).uniform(0.0, 1.0, size=(11, 7, 3))
    variable = Coordination("n", ATOMS, NEIGHBORS, 0.4)
    alone = [variable(frame[None])[0] for frame in positions]
    monkeypatch.setattr("openmm_rare.states.group_coordination._BLOCK", 12)
    np.testing.assert_array_equal(variable(positions), alone)


def test_an_ion_has_its_shell():
    """Around Li in water: four water molecules less the one whose place Cl takes, to the end of the first shell."""
    target = build("licl")
    solution = licl.SOLUTIONS["small", "Li"]
    oxygen = tuple(range(2, solution.n_atoms, 3))
    variable = Coordination("n", (0,), oxygen, 0.28, 24).in_box(solution.box * np.eye(3))
    away = target.positions[list(oxygen)] - target.positions[0]
    within = np.linalg.norm(away - solution.box * np.round(away / solution.box), axis=1) < 0.28
    assert within.sum() in (3, 4)
    assert variable(target.positions[None])[0] == pytest.approx(within.sum(), abs=0.3)


def test_it_takes_the_box_of_the_system():
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*(2.0 * np.eye(3)))
    for _ in range(3):
        system.addParticle(1.0)
    force = openmm.CustomExternalForce("0*x")
    force.addParticle(0, [])
    system.addForce(force)
    bond = openmm.CustomBondForce("0*r")
    bond.setUsesPeriodicBoundaryConditions(True)
    system.addForce(bond)
    a, b = Range({"n": (0.9, 2.0)}), Range({"n": (0.0, 0.1)})
    positions = [[0.0, 0.0, 0.0], [1.9, 0.0, 0.0], [1.0, 1.0, 1.0]]
    problem = RareEventSystem.from_openmm(system, positions, a, b, Coordination("n", (0,), (1, 2), 0.4), 300, 1, 0.001)
    assert problem.states.variables(problem.positions[None])[0, 0] == pytest.approx(1.0, abs=1e-3)
    assert not has_native_states(problem.states)  # tested from Python
    with pytest.raises(ValueError, match="names an atom that does not exist: the system has 3 atoms"):
        RareEventSystem.from_openmm(system, positions, a, b, Coordination("n", (0,), (1, 3), 0.4), 300, 1, 0.001)


def test_a_configuration_has_it_with_selections():
    text = """
        [variables.n]
        type = "coordination"
        atoms = "resname LI"
        neighbors = "water and name O"
        radius = "2.8 angstrom"
        power = 12
        [states.a]
        range = { n = [3.5, 5.0] }
        [states.b]
        range = { n = [0.0, 3.0] }
    """
    top = Section(read_toml(text))
    states = build_states(*read_states(top), ".", NO_CODE, licl.topology(licl.SOLUTIONS["small", "Li"], "Li"))
    (variable,) = states.variables.variables
    assert variable.atoms == (0,) and len(variable.neighbors) == 370 and variable.neighbors[:2] == (2, 5)
    assert (variable.radius, variable.power) == (pytest.approx(0.28), 12)
    again = CollectiveVariables.from_description(states.variables.describe())
    assert again.describe() == states.variables.describe()
    with pytest.raises(ValueError, match="did you mean 'coordination'"):
        read_states(Section(read_toml('[variables.n]\ntype = "coordination_number"')))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbors": (0, 1)}, "atom 0 is in both atoms and neighbors"),
        ({"neighbors": ()}, "neighbors must be at least one atom"),
        ({"atoms": (1, 1)}, "must be 2 different indices"),
        ({"radius": 0.0}, "radius must be a positive length"),
        ({"power": 7}, "power must be an even number from 2 to 24, not 7"),
        ({"power": 26}, "power must be an even number from 2 to 24, not 26"),
    ],
)
def test_nonsense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Coordination("n", **({"atoms": (0,), "neighbors": (2, 3), "radius": 0.3} | options))


def test_it_is_no_other_variable():
    states = States([Coordination("n", (0,), (1,), 0.3), Distance("r", (0, 1))], Range({"r": (0, 1)}), Range({"r": (2, 3)}))
    described = states.variables.describe()["n"]
    assert described == {"type": "coordination", "atoms": (0,), "neighbors": (1,), "radius": 0.3, "power": 8}
