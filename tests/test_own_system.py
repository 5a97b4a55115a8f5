"""A rare-event problem of one's own: accepted with quantities, refused with reasons."""

import numpy as np
import openmm
import pytest
from openmm import unit as u

from openmm_rare.problem import RareEventSystem
from openmm_rare.states.states import Distance, Range


def spring(group=0):
    """Two particles and a spring of 0.3 nm."""
    system = openmm.System()
    for _ in range(2):
        system.addParticle(10.0)
    bond = openmm.HarmonicBondForce()
    bond.addBond(0, 1, 0.3, 100.0)
    bond.setForceGroup(group)
    system.addForce(bond)
    return system


def spring_problem(system=None, positions=((0, 0, 0), (0.3, 0, 0)), edges=(0.35, 0.6), box=None, **changes):
    arguments = dict(temperature=300.0, friction=10.0, timestep=0.001) | changes
    return RareEventSystem.from_openmm(
        system or spring(),
        np.array(positions, dtype=float),
        Range({"r": (0, edges[0])}),
        Range({"r": (edges[1], 9)}),
        [Distance("r", (0, 1), box=box)],
        **arguments,
    )


def test_from_openmm_takes_quantities():
    problem = spring_problem(
        positions=np.array([[0, 0, 0], [3, 0, 0]]) / 10,
        temperature=300 * u.kelvin,
        friction=0.01 / u.femtosecond,
        timestep=1 * u.femtosecond,
    )
    assert (problem.temperature, problem.friction) == (300.0, pytest.approx(10.0))
    assert problem.timestep == pytest.approx(0.001)
    assert problem.descriptor_spec() == {"kind": "pair_distances"}
    in_angstrom = RareEventSystem.from_openmm(
        spring(),
        [[0, 0, 0], [3, 0, 0]] * u.angstrom,
        problem.states.a,
        problem.states.b,
        [Distance("r", (0, 1))],
        300,
        1,
        1,
    )
    np.testing.assert_allclose(in_angstrom.positions, problem.positions)


def test_a_box_of_a_variable_must_be_that_of_the_system():
    system = spring()
    system.getForce(0).setUsesPeriodicBoundaryConditions(True)
    system.setDefaultPeriodicBoxVectors(*np.diag([2.0, 2.0, 2.0]))
    apart = dict(system=system, positions=((0, 0, 0), (2.3, 0, 0)))
    problem = spring_problem(**apart, box=system.getDefaultPeriodicBoxVectors())
    assert problem.states.variables(problem.positions[None])[0, 0] == pytest.approx(0.3)
    with pytest.raises(ValueError, match=r"variable 'r' has the box .*1.9.* the System .*give it system.getDefault"):
        spring_problem(**apart, box=[1.9, 2.0, 2.0])
    assert spring_problem(**apart).states.variables(problem.positions[None])[0, 0] == pytest.approx(0.3)
    with pytest.raises(ValueError, match="positions must lie in A"):  # negative control: without the nearest image
        spring_problem(**apart, box="none")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(positions=((0, 0, 0), (0.7, 0, 0))), r"positions must lie in A, but are in B"),
        (dict(positions=((0, 0, 0), (0.5, 0, 0))), r"in neither state: r = 0.5 nm; A is r from 0 nm to 0.35 nm"),
        (dict(edges=(0.5, 0.2)), "states A and B overlap"),
        (dict(positions=((0, 0, 0),)), r"shape \(2, 3\), not of \(1, 3\)"),
        (dict(positions=((0, 0, 0), (np.nan, 0, 0))), "positions must be finite"),
        (dict(system=spring(group=1)), "HarmonicBondForce is in force group 1"),
        (dict(temperature=-300.0), "temperature = -300.0 K must be positive"),
        (dict(temperature=300 * u.picosecond), "temperature = 300 ps has the wrong unit"),
        (dict(friction=0.0), "friction = 0.0 /ps must be positive"),
        (dict(timestep=np.nan), "timestep = nan is not finite"),
        (dict(num_dimensions=4), "num_dimensions = 4 must be 1, 2 or 3"),
        (dict(check_interval=0), "check_interval = 0 must be a whole number"),
    ],
)
def test_problems_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        spring_problem(**changes)
