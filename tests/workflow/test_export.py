"""`openmm-rare export`: what a run has sampled, as MDAnalysis and mdtraj read it, and folders that hold nothing to export."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import openmm
import pytest
from click.testing import CliRunner
from openmm import app, unit

pytest.importorskip("openpathsampling")
pytest.importorskip("mdtraj")

import mdtraj
from executors import workers_here

from openmm_rare.cli.main import main
from openmm_rare.folders.path_folder import load_path_sampling
from openmm_rare.io.tasks import Silent
from openmm_rare.report import paths as path_report
from openmm_rare.states.states import IN_A, IN_B
from openmm_rare.structure.trajectory_file import plain_topology, write_structures, write_trajectory
from openmm_rare.systems import build
from openmm_rare.tps import sampler
from openmm_rare.workflow.export import export_run
from openmm_rare.workflow.load import load_run

BOX = np.array([[2.0, 0.0, 0.0], [0.4, 1.8, 0.0], [-0.3, 0.5, 1.7]])  # nm
CONFIG = """
[system]
xml = "system.xml"
pdb = "start.pdb"
temperature = "300 K"
friction = "5 1/ps"
timestep = "5 fs"
inertial = true
[variables.r]
type = "distance"
atoms = [0, 1]
[states.a]
range = { r = ["0 nm", "0.24 nm"] }
[states.b]
range = { r = ["0.36 nm", "0.8 nm"] }
[path_sampling]
trials = 12
steps_per_frame = 5
storage = false
scouting = 0
"""


def write_problem(folder):
    """A molecule of two atoms that is short or long, across the border of a triclinic box, and two atoms beside it."""
    system, bond, pairs = openmm.System(), openmm.CustomBondForce("6*(((r-0.3)/0.1)^2-1)^2"), openmm.NonbondedForce()
    system.setDefaultPeriodicBoxVectors(*BOX)
    for _ in range(4):
        system.addParticle(20.0)
        pairs.addParticle(0.0, 0.1, 0.0)
    bond.addBond(0, 1, [])
    pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    pairs.setCutoffDistance(0.7)
    system.addForce(bond)
    system.addForce(pairs)
    topology = app.Topology()
    chain = topology.addChain()
    for name, atoms in (("DIM", 2), ("AR", 1), ("AR", 1)):
        residue = topology.addResidue(name, chain)
        made = [topology.addAtom(f"A{number}", app.element.argon, residue) for number in range(atoms)]
        if atoms == 2:
            topology.addBond(*made)
    topology.setPeriodicBoxVectors(BOX * unit.nanometer)
    positions = np.array([[0.05, 0.5, 0.5], [1.85, 0.5, 0.5], [1.0, 1.0, 1.0], [0.3, 1.2, 0.3]])
    (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    with open(folder / "start.pdb", "w") as stream:
        app.PDBFile.writeFile(topology, positions * unit.nanometer, stream)
    (folder / "config.toml").write_text(CONFIG)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of path sampling in a triclinic box."""
    folder = tmp_path_factory.mktemp("sampled")
    write_problem(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "Processes", workers_here)
        patch.setattr(path_report, "write_path_report", lambda *about: None)
        done = CliRunner().invoke(main, ["tps", str(folder / "config.toml"), "--out", str(folder / "run")])
    assert done.exit_code == 0, done.output
    return folder / "run"


def rows_of(path):
    with open(path, newline="", encoding="utf8") as stream:
        return list(csv.DictReader(stream))


def b_factors(path):
    return np.array([float(line[60:66]) for line in path.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))])


def distances(positions):
    return np.linalg.norm(positions[:, 1] - positions[:, 0], axis=1)


@pytest.mark.parametrize("kind", ["xtc", "dcd", "pdb"])
def test_mdtraj_and_mdanalysis_read_paths_with_boxes_and_times(run, tmp_path, kind):
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["export", str(run), "--format", kind, "--out", str(out)])
    assert done.exit_code == 0, done.output
    problem, model, shots, sampled = load_path_sampling(run)
    assert any(problem.states.classify(path[:1])[0] == IN_B for path in sampled.paths)  # which are turned round
    sampled = sampled.from_a_to_b(problem.states)
    assert all(problem.states.classify(path[[0, -1]]).tolist() == [IN_A, IN_B] for path in sampled.paths)
    table, along = rows_of(out / "paths.csv"), rows_of(out / "frames.csv")
    assert [float(row["weight"]) for row in table] == sampled.weights.tolist()
    assert sum(float(row["share"]) for row in table) == pytest.approx(1.0)
    assert [float(row["duration_ps"]) for row in table] == pytest.approx(sampled.durations)
    record = load_run(run)
    assert [int(row["trial"]) for row in table] == record.trials["cycle"][record.trials["accepted"]].tolist()
    for row, path in zip(table, sampled.paths, strict=True):
        own = [each for each in along if each["file"] == row["file"]]
        committor = 1.0 / (1.0 + np.exp(-model.logit(path)))
        assert [float(each["committor"]) for each in own] == pytest.approx(committor, abs=1e-5)
        assert [float(each["time_ps"]) for each in own] == pytest.approx(0.025 * np.arange(len(path)))
        found = mdtraj.load(out / row["file"], **({} if kind == "pdb" else {"top": out / "topology.pdb"}))
        assert found.n_frames == len(path) and [atom.name for atom in found.topology.atoms] == ["A0", "A1", "A0", "A0"]
        assert [(one.index, other.index) for one, other in found.topology.bonds] == [(0, 1)]
        np.testing.assert_allclose(found.unitcell_vectors, np.broadcast_to(BOX, (len(path), 3, 3)), atol=2e-4)
        r = problem.states.variables(path.astype(float))[:, 0]
        np.testing.assert_allclose(distances(found.xyz), r, atol=3e-3)  # whole: without any box
        np.testing.assert_allclose([float(each["r"]) for each in own], r, atol=1e-6)
        if kind == "xtc":
            np.testing.assert_allclose(found.time, 0.025 * np.arange(len(path)), atol=1e-5)
        if kind == "pdb":
            expected = np.repeat(99.99 * committor, 4)
            np.testing.assert_allclose(b_factors(out / row["file"]), expected, atol=0.01)
    check_mdanalysis(out, table, sampled, kind)
    points = mdtraj.load(out / f"shooting-points.{kind}", **({} if kind == "pdb" else {"top": out / "topology.pdb"}))
    listed = rows_of(out / "shooting-points.csv")
    assert points.n_frames == len(listed) == len(shots)
    assert [[int(row["reached_a"]), int(row["reached_b"])] for row in listed] == np.array(shots.reached).tolist()
    np.testing.assert_allclose(distances(points.xyz), [float(row["r"]) for row in listed], atol=3e-3)
    atoms = b_factors(out / "transition-states.pdb").reshape(-1, 4)
    assert (atoms[:, :2].max(axis=1) > 99.0).all() and (atoms[:, 2:] == 0.0).all()  # r alone tells the committor
    assert all(f"`{name}`" in (out / "README.md").read_text() for name in ("topology.pdb", f"path-*.{kind}", "frames.csv"))


def check_mdanalysis(out, table, sampled, kind):
    """Angstrom, lengths and angles of the box, times."""
    mdanalysis = pytest.importorskip("MDAnalysis")
    expected = mdanalysis.lib.mdamath.triclinic_vectors(mdanalysis.lib.mdamath.triclinic_box(*(10 * BOX)))
    for row, path in zip(table, sampled.paths, strict=True):
        universe = mdanalysis.Universe(str(out / "topology.pdb"), str(out / row["file"]))
        assert len(universe.trajectory) == len(path) and universe.atoms.names.tolist() == ["A0", "A1", "A0", "A0"]
        for frame, step in enumerate(universe.trajectory):
            np.testing.assert_allclose(mdanalysis.lib.mdamath.triclinic_vectors(step.dimensions), expected, atol=0.01)
            if kind != "pdb":
                assert step.time == pytest.approx(0.025 * frame, rel=1e-4, abs=1e-6)
        universe.trajectory[-1]
        np.testing.assert_allclose(distances(universe.atoms.positions[None])[0], 10 * path_end(path), atol=0.03)


def path_end(path):
    """Distance in the last frame, of the molecule that dynamics has kept whole."""
    return np.linalg.norm(path[-1, 1] - path[-1, 0])


def test_times_that_are_wrong_would_be_seen(run, tmp_path):
    """Negative control: the same frames, written as if they were twice as far apart, and in another box."""
    universe_of = pytest.importorskip("MDAnalysis").Universe
    topology, positions = plain_topology(4), load_path_sampling(run)[3].paths[0]
    topology.setPeriodicBoxVectors([openmm.Vec3(*row) for row in 1.1 * BOX] * unit.nanometer)
    write_structures(tmp_path / "t.pdb", topology, positions[:1])
    for kind in ("xtc", "dcd"):
        write_trajectory(tmp_path / f"p.{kind}", topology, positions, 0.05)
        universe = universe_of(str(tmp_path / "t.pdb"), str(tmp_path / f"p.{kind}"))
        times = [step.time for step in universe.trajectory]
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(times, 0.025 * np.arange(len(positions)), atol=1e-4)
        assert not np.isclose(universe.trajectory.ts.dimensions[0], 20.0, atol=0.01)


def test_paths_from_points_have_their_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(sampler, "Processes", workers_here)
    monkeypatch.setattr(path_report, "write_path_report", lambda *about: None)
    (tmp_path / "c.toml").write_text(
        '[system]\nname = "double_well_1d"\n[path_sampling]\nmethod = "points"\nwalkers = 2\ntrials = 40\nstart_up = 2\n'
        "storage = false\nscouting = 0\n"
    )
    done = CliRunner().invoke(main, ["tps", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    made = export_run(tmp_path / "run", progress=Silent())
    sampled = load_run(tmp_path / "run").ensemble.from_a_to_b(build("double_well_1d").states)
    table = rows_of(made.folder / "paths.csv")
    assert made.folder == tmp_path / "run" / "export" and len(table) == made.n_paths == len(sampled.paths)
    assert [float(row["weight"]) for row in table] == sampled.weights.tolist()
    assert [(int(row["walker"]), int(row["trial"])) for row in table] == list(zip(sampled.chains, sampled.trials, strict=True))
    found = mdtraj.load(made.folder / "path-001.xtc", top=made.folder / "topology.pdb")
    assert found.unitcell_lengths is None and found.n_atoms == 1  # there is no box
    np.testing.assert_allclose(found.xyz, sampled.paths[0], atol=6e-4)


def test_paths_of_a_rate_are_those_that_it_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_text(
        '[system]\nname = "langevin_well"\nparameters = { barrier = 3.0 }\n[sampling]\nimportance = "x"\ntarget_error = 0.4\n'
        "flux_walkers = 50\nblock_ps = 5.0\npilot_roots = 100\nproduction_roots = 200\nsave_paths = 3\n"
    )
    invoke = CliRunner().invoke
    assert invoke(main, ["rate", "my.toml", "--out", "o"]).exit_code == 0
    done = invoke(main, ["export", "o", "--format", "dcd"])
    assert done.exit_code == 0 and "vmd o/export/topology.pdb o/export/path-001.dcd" in done.output, done.output
    for name in ("paths.csv", "frames.csv", "path-001.dcd", "path-003.dcd"):  # heads of trajectories have the time
        assert (tmp_path / "o/export" / name).read_bytes()[-300:] == (tmp_path / "o/paths" / name).read_bytes()[-300:], name
    assert "one arrival is kept" in (tmp_path / "o/export/README.md").read_text()
    text = (tmp_path / "o/paths/frames.csv").read_text().splitlines(keepends=True)
    (tmp_path / "o/paths/frames.csv").write_text("".join(text[:-1]))
    done = invoke(main, ["export", "o", "--out", "again"])
    assert done.exit_code == 2 and "rate --resume writes it anew" in done.output and not (tmp_path / "again").exists()


def sample_without_paths():
    """One trial, by the first seed for which it is not accepted, in the folder young."""
    for seed in range(1, 11):
        done = CliRunner().invoke(main, ["tps", "config.toml", "--trials", "1", "--seed", str(seed), "--out", "young"])
        assert done.exit_code == 0, done.output
        if not load_run("young").trials["accepted"].any():
            return True
        shutil.rmtree("young")
    return False


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["nowhere"], "nowhere is no folder: give that of a run"),
        (["empty"], "empty holds no run with transition paths"),
        (
            ["empty", "--format", "xyz"],
            "paths are not written as 'xyz', and many formats hold no periodic box: choose one of xtc",
        ),
        (["RUN", "--out", "empty"], "empty exists: choose another folder with --out, or remove it"),
        (["start.pdb"], "start.pdb is no folder"),
        (["young"], "no transition path has been accepted in young yet: run more trials with --resume"),
        (["counted"], "counted is a rate by the method 'brute_force', which keeps no paths"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(run, tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    write_problem(tmp_path)
    (tmp_path / "empty").mkdir()
    if given == ["young"]:
        monkeypatch.setattr(sampler, "Processes", workers_here)
        monkeypatch.setattr(path_report, "write_path_report", lambda *about: None)
        assert sample_without_paths()
    if given == ["counted"]:
        said = CliRunner().invoke(
            main,
            ["rate", "double_well_1d", "--temperature", "900 K", "--brute-force", "--target-error", "0.5", "--out", "counted"],
        )
        assert said.exit_code == 0, said.output
    before = sorted(os.listdir())
    done = CliRunner().invoke(main, ["export", *(str(run) if each == "RUN" else each for each in given)])
    assert done.exit_code == 2 and message in done.output and len(done.output.splitlines()) == 1, done.output
    assert sorted(os.listdir()) == before and not os.listdir("empty")


@pytest.mark.parametrize("example", ["jung_42d", "alanine_dipeptide"])
def test_notebooks_import_what_there_is(example):
    """Their cells are run by hand: what they import from this package must be there."""
    page = json.loads((Path(__file__).parents[2] / "examples" / example / "paths.ipynb").read_text(encoding="utf8"))
    code = "\n".join("".join(cell["source"]) for cell in page["cells"] if cell["cell_type"] == "code")
    ours = [line for line in code.splitlines() if line.startswith("from openmm_rare")]
    assert len(ours) > 3 and "nglview.show_mdtraj" in code
    exec("\n".join(ours), {})
    with pytest.raises(ModuleNotFoundError):  # negative control
        exec("from openmm_rare.ops.frames import Frames", {})
