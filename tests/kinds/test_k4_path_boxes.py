"""Kind K4, files with paths: their boxes are boxes, in OpenMM's reduced form, and those of the System."""

from dataclasses import replace

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import unit
from openmm.app.internal.unitcell import computePeriodicBoxVectors, reducePeriodicBoxVectors

pytest.importorskip("openpathsampling")

from path_files import in_trajectory, paths_of, saved, turned

import chain4
from openmm_rare.errors import InputError
from openmm_rare.ops.snapshots import trajectory_of
from openmm_rare.tps.chains.chain import make_engine
from openmm_rare.tps.first_paths.find_path import find_path
from openmm_rare.tps.trajectories.boxes import boxes_of_file, in_box_of_system
from openmm_rare.tps.trajectories.file import read_path, write_path

SHAPES = {"dodecahedron": (60.0, 60.0, 90.0), "hexagonal dodecahedron": (60.0, 60.0, 60.0), "prism": (90.0, 90.0, 60.0)}
SHAPES |= {"octahedron": (70.528779, 109.471221, 70.528779), "cube": (90.0, 90.0, 90.0)}
EDGES = np.round(np.random.default_rng(3).uniform(2.5, 7.0, 5), 4)


def box_of(shape, edge):
    """In reduced form."""
    angles = [angle * unit.degree for angle in SHAPES[shape]]
    vectors = reducePeriodicBoxVectors(computePeriodicBoxVectors(edge, edge, edge, *angles))
    return np.array([list(vector) for vector in vectors._value])


def in_shape(box, barostat=False):
    made = chain4.system(box=1.5)
    made.setDefaultPeriodicBoxVectors(*box)
    if barostat:
        made.addForce(openmm.MonteCarloBarostat(1.0, 300.0))
    return chain4.problem(made)


def runs(frames, problem):
    """OpenMM takes every frame."""
    engine = make_engine(problem)
    for k in range(len(frames)):
        engine.current_snapshot = trajectory_of(frames[k : k + 1], engine)[0]
    engine.block(1, None, [])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ending", ["xtc", "dcd", "npz", "pdb"])
def test_boxes_rounded_by_a_file_are_those_of_the_system(tmp_path, shape, ending):
    """Case 06."""
    for edge in EDGES:
        box = box_of(shape, float(edge))
        mine, name = paths_of(in_shape(box)), tmp_path / f"{edge}.{ending}"
        whole = find_path(mine.system, saved(tmp_path, turned()), out=name)
        frames = read_path(str(name), mine)
        np.testing.assert_array_equal(frames.boxes, np.repeat(box[None], len(whole.frames), axis=0))
        runs(frames, mine)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_box_may_come_in_any_form_of_its_lattice(shape):
    box = box_of(shape, 2.9173)
    mine = in_shape(box)
    flipped = box + np.array([[0, 0, 0], [-1, 0, 0], [2, 1, 0]]) @ box  # not reduced
    found = boxes_of_file(np.repeat(flipped[None], 2, axis=0), 2, "it", True)
    openmm.System().setDefaultPeriodicBoxVectors(*found[0])
    np.testing.assert_array_equal(in_box_of_system(found, mine.system, "it"), [box, box])


def test_a_vacuum_takes_no_box_from_a_file(tmp_path):
    """Sibling of case 06."""
    mine = paths_of(chain4.problem())
    default = chain4.system().getDefaultPeriodicBoxVectors()
    for ending in ("xtc", "dcd"):
        for box in (box_of("dodecahedron", 2.9173), np.zeros((3, 3))):
            frames = read_path(in_trajectory(tmp_path, turned(), f"path.{ending}", box), mine)
            np.testing.assert_array_equal(frames.boxes[0], [list(vector._value) for vector in default])
            runs(frames, mine)
    assert len(read_path(saved(tmp_path, turned(), boxes=np.zeros((9, 3, 3))), mine)) > 3


@pytest.mark.parametrize("boxes", [(3,), (9, 3), (3, 3), (9, 3, 3)])
def test_edges_or_vectors_for_each_frame_or_for_all_are_clear(tmp_path, boxes):
    mine = paths_of(in_shape(2.4 * np.eye(3)))
    given = np.broadcast_to(2.4 * np.eye(3), boxes) if boxes[-2:] == (3, 3) else np.full(boxes, 2.4)
    frames = read_path(saved(tmp_path, turned(), boxes=given), mine)
    np.testing.assert_array_equal(frames.boxes, np.repeat(2.4 * np.eye(3)[None], len(frames), axis=0))
    three = turned(3)
    edges = np.full((3, 3), 2.4)
    assert len(read_path(saved(tmp_path, three, boxes=edges), mine)) == 3
    assert len(read_path(saved(tmp_path, three, boxes=2.4 * np.eye(3)), mine)) == 3


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (np.zeros((3, 3)), "is no box"),
        (np.zeros(3), "is no box"),
        (2.4 * np.ones((3, 9, 3)), r"boxes must have the shape \(n_frames, 3, 3\)"),
        (2.4 * np.ones((8, 3)), r"boxes must have the shape \(n_frames, 3, 3\)"),
        (2.4 * np.ones((9, 6)), r"boxes must have the shape .*, not \(9, 6\)"),
        (2.4, "boxes must have the shape"),
        (np.array(["a"] * 9), "boxes must have the shape"),
        (np.nan * np.eye(3), "the box of frame 0, .* is no box"),
        (-2.4 * np.eye(3), "is no box"),
        (2.4 * np.eye(3)[[1, 2, 0]], "is no box"),
        (np.where(np.arange(9)[:, None, None] == 5, 0.0, 2.4 * np.eye(3)), "the box of frame 5"),
    ],
)
def test_what_is_no_box_is_refused_in_one_line(tmp_path, boxes, message, periodic):
    """Case 15."""
    mine = paths_of(in_shape(2.4 * np.eye(3)) if periodic else chain4.problem())
    with pytest.raises(InputError, match=message) as error:
        read_path(saved(tmp_path, turned(), boxes=boxes), mine)
    assert "path.npz" in str(error.value) and "\n" not in str(error.value)


def test_a_periodic_system_needs_boxes_that_are_some(tmp_path):
    mine = paths_of(in_shape(2.4 * np.eye(3)))
    with pytest.raises(InputError, match="is no box"):
        read_path(saved(tmp_path, turned(), boxes=np.zeros((9, 3, 3))), mine)
    for path in (saved(tmp_path, turned()), in_trajectory(tmp_path, turned(), "none.xtc")):  # none: that of the System
        np.testing.assert_array_equal(read_path(path, mine).boxes[0], 2.4 * np.eye(3))


@pytest.mark.parametrize("ending", ["npz", "xtc", "dcd"])
def test_a_path_at_constant_pressure_is_refused_without_a_barostat(tmp_path, ending):
    """Case 29."""
    mine = in_shape(2.4 * np.eye(3))
    for edges, shown in [(np.linspace(2.75, 2.65, 9), r"from 2.6.* nm to 2.7.* nm"), (np.full(9, 2.5), r"2.5 x 2.5 x 2.5 nm")]:
        boxes = edges[:, None, None] * np.eye(3)
        path = tmp_path / f"npt.{ending}"
        if ending == "npz":
            saved(tmp_path, turned(), path.name, boxes=boxes)
        else:
            made = mdtraj.Trajectory(turned(), mdtraj.Topology.from_openmm(chain4.topology()))
            made.unitcell_vectors = boxes
            made.save(str(path))
        with pytest.raises(InputError, match=rf"its boxes are {shown}, that of the System is 2.4 .*setDefaultPeriodicBoxVec"):
            read_path(str(path), paths_of(mine))
        kept = read_path(str(path), paths_of(in_shape(2.4 * np.eye(3), barostat=True)))  # where the box may change
        assert kept.boxes[:, 0, 0] == pytest.approx(edges, abs=1e-4)


def test_boxes_of_a_barostat_stay_and_are_reduced(tmp_path):
    box = box_of("dodecahedron", 2.9173)
    mine = paths_of(in_shape(box, barostat=True))
    boxes = np.linspace(1.0, 1.02, 9)[:, None, None] * box
    frames = read_path(saved(tmp_path, turned()), mine)
    frames = replace(frames, boxes=boxes[: len(frames)])
    for ending in ("npz", "xtc", "dcd"):
        write_path(tmp_path / f"npt.{ending}", frames, mine)
        back = read_path(str(tmp_path / f"npt.{ending}"), mine)
        volumes = np.linalg.det(back.boxes)
        np.testing.assert_allclose(volumes, np.linalg.det(frames.boxes), rtol=1e-5)
        runs(back, mine)
