"""Kind K5: molecules in a path from a file are made whole, with bonds as rigid and sites where the System has them."""

import logging
from dataclasses import replace

import numpy as np
import openmm
import pytest

pytest.importorskip("openpathsampling")

from path_files import in_trajectory, paths_of, saved, turned

import chain4
from openmm_rare import Range
from openmm_rare.errors import InputError
from openmm_rare.states.states import CollectiveVariables, Coordinate, States
from openmm_rare.structure.bonds import bonds_of
from openmm_rare.structure.whole_molecules import WholeMolecules
from openmm_rare.systems import build
from openmm_rare.tps.trajectories.bonds import require_bonds
from openmm_rare.tps.trajectories.file import read_path

EDGE = 2.0
CORNER = np.array([1.75, 1.0, 1.0])  # the last bead hangs out of the box


def in_box(constrain=False):
    """The chain where the boundary cuts it."""
    made = chain4.system(constrain=constrain, box=EDGE)
    return replace(chain4.problem(made), positions=chain4.positions() + CORNER)


def bond_lengths(positions):
    return np.linalg.norm(np.diff(positions, axis=1), axis=2)


@pytest.mark.parametrize("constrain", [False, True])
@pytest.mark.parametrize("ending", ["npz", "xtc", "dcd"])
def test_molecules_cut_by_the_boundary_are_made_whole(tmp_path, caplog, ending, constrain):
    """Case 11, with bonds and with constraints."""
    mine, whole = in_box(constrain), turned() + CORNER
    wrapped = whole % EDGE
    assert bond_lengths(wrapped).max() > 1.5  # negative control
    name = tmp_path / f"wrapped.{ending}"
    if ending == "npz":
        saved(tmp_path, wrapped, name.name)
    else:
        in_trajectory(tmp_path, wrapped, name.name, EDGE * np.eye(3))
    with caplog.at_level(logging.WARNING):
        frames = read_path(str(name), paths_of(mine))
    assert bond_lengths(frames.positions) == pytest.approx(0.153, abs=1e-6 if constrain or ending == "npz" else 2e-3)
    assert "cut by the periodic boundary in 9 frames: made whole" in caplog.text
    caplog.clear()
    np.testing.assert_allclose(read_path(saved(tmp_path, whole), paths_of(mine)).positions, whole, atol=1e-6)
    assert not caplog.text  # nothing to mend, nothing to say


def test_a_molecule_cut_out_of_a_solution_is_made_whole_by_the_box_of_its_file(tmp_path):
    """Sibling of case 11: a System in vacuum."""
    mine = paths_of(chain4.problem())
    wrapped = in_trajectory(tmp_path, (turned() + CORNER) % EDGE, "solute.xtc", EDGE * np.eye(3))
    assert bond_lengths(read_path(wrapped, mine).positions) == pytest.approx(0.153, abs=2e-3)
    unboxed = saved(tmp_path, (turned() + CORNER) % EDGE)
    with pytest.raises(InputError, match=r"path.npz: in most frames the bond between atoms 1 and 2 .* should be 0.153 nm"):
        read_path(unboxed, mine)


def test_atoms_anywhere_in_a_tilted_box_come_together():
    """All molecules of a solution, in a rhombic dodecahedron, whichever images their atoms are in."""
    solution = build("alanine_dipeptide")
    bonds, random = bonds_of(solution.system, solution.topology, solution.positions, solution.kt), np.random.default_rng(5)
    box = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, np.sqrt(0.5)]]) * 3.0
    boxes = np.repeat(box[None], 3, axis=0)
    scattered = solution.positions + random.integers(-2, 3, size=(3, len(solution.positions), 3)) @ box
    mended, n_mended = WholeMolecules(bonds, len(solution.positions)).mend(scattered, boxes)
    assert n_mended == 3
    expected = np.linalg.norm(bonds.vectors(solution.positions[None]), axis=2)
    np.testing.assert_allclose(np.linalg.norm(bonds.vectors(mended), axis=2), np.repeat(expected, 3, axis=0), atol=1e-9)
    again, none = WholeMolecules(bonds, len(solution.positions)).mend(mended, boxes)
    assert again is mended and none == 0


def test_a_long_restraint_between_molecules_is_left_alone():
    """Not every bond holds a molecule together: this one is longer than half the box."""
    made = in_box()
    restrained = openmm.XmlSerializer.clone(made.system)
    restrained.getForce(0).addBond(0, 3, 1.3, 2e5)
    custom = openmm.CustomBondForce("0.001*r")
    custom.addBond(0, 3, [])
    restrained.addForce(custom)
    mine = replace(made, system=restrained)
    apart = turned() + CORNER
    apart[:, 3, 0] += 1.0
    bonds = bonds_of(mine.system, mine.topology, mine.positions, mine.kt)
    assert len(bonds) == 4 and bonds.known.sum() == 3
    assert not bonds.known[-1]  # nor is it judged, as long as it is in the initial structure
    far = bonds[np.array([3])]
    assert WholeMolecules(far, 4).mend(apart, np.repeat(EDGE * np.eye(3)[None], 9, axis=0)) == (pytest.approx(apart), 0)


def test_bonds_that_take_images_by_themselves(tmp_path):
    """A molecule is made whole for the sake of variables; a bond that goes around the box is none to mend."""
    mine = in_box()
    for force in mine.system.getForces()[:3]:
        force.setUsesPeriodicBoundaryConditions(True)
    frames = read_path(saved(tmp_path, (turned() + CORNER) % EDGE), paths_of(mine))
    assert bond_lengths(frames.positions) == pytest.approx(0.153, abs=1e-6)
    ring = openmm.System()
    ring.setDefaultPeriodicBoxVectors(*np.eye(3))
    bonds, x = openmm.HarmonicBondForce(), np.array([[0.25 * i, 0.0, 0.0] for i in range(4)])
    bonds.setUsesPeriodicBoundaryConditions(True)
    for i in range(4):
        ring.addParticle(14.0)
        bonds.addBond(i, (i + 1) % 4, 0.25, 1e5)
    ring.addForce(bonds)
    crystal = replace(chain4.problem(), system=ring, positions=x, states=_anywhere(), topology=None)
    around = bonds_of(crystal.system, crystal.topology, crystal.positions, crystal.kt)
    frames, boxes = np.repeat(x[None], 3, axis=0), np.repeat(np.eye(3)[None], 3, axis=0)
    require_bonds(crystal, around, frames, boxes, "crystal", 0)
    assert around.known.all() and WholeMolecules(around, 4).mend(frames, boxes)[1] == 0


def _anywhere():
    """States of the first of four atoms on a line."""
    return States(CollectiveVariables([Coordinate("x", 0, 0)]), Range({"x": (-0.1, 0.1)}), Range({"x": (0.5, 1.0)}))


def test_constraints_of_a_rounded_file_hold_in_the_path(tmp_path, caplog):
    """Three decimals of .xtc, and vibrations of a trajectory that was made without the constraints."""
    mine = paths_of(chain4.problem(chain4.system(constrain=True)))
    rounded = saved(tmp_path, np.round(turned(), 3))
    assert (
        np.abs(bond_lengths(np.load(rounded)["positions"]) - 0.153).max() > 1e-4  # negative control
    )
    assert bond_lengths(read_path(rounded, mine).positions) == pytest.approx(0.153, rel=1e-5)
    assert not caplog.text
    stretched = 1.05 * turned()
    assert bond_lengths(read_path(saved(tmp_path, stretched), mine).positions) == pytest.approx(0.153, rel=1e-5)
    assert "bonds that the System keeps rigid were off by up to 5 %: put right" in caplog.text
    with pytest.raises(InputError, match="in most frames the bond"):
        read_path(saved(tmp_path, 1.5 * turned()), mine)


def test_virtual_sites_are_put_where_their_atoms_are(tmp_path):
    made = chain4.system()
    made.addParticle(0.0)
    made.setVirtualSite(4, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    with_site = np.concatenate([turned(), turned()[:, :2].mean(axis=1, keepdims=True)], axis=1)
    mine = paths_of(replace(chain4.problem(), system=made, positions=with_site[0], topology=None))
    moved = with_site + [[[0.0] * 3] * 4 + [[0.004] * 3]]
    np.testing.assert_allclose(read_path(saved(tmp_path, moved), mine).positions, with_site, atol=1e-9)
