"""Kind K5: a path from a file is judged by more than its states, before dynamics, in one line."""

from dataclasses import replace

import numpy as np
import openmm
import pytest
from click.testing import CliRunner
from openmm import app

pytest.importorskip("openpathsampling")

import mdtraj
from path_files import in_trajectory, paths_of, saved, turned

import chain4
from openmm_rare import Distance, Range, RareEventSystem
from openmm_rare.cli.main import main
from openmm_rare.dynamics.checks import require_runnable
from openmm_rare.errors import InputError
from openmm_rare.folders.path_folder import with_path_settings
from openmm_rare.io.tasks import Silent
from openmm_rare.settings.paths import PathSettings
from openmm_rare.structure.bonds import bonds_of
from openmm_rare.systems import build
from openmm_rare.tps.first_paths.driven_path import dynamics_in_a
from openmm_rare.tps.first_paths.find_path import find_path
from openmm_rare.tps.first_paths.initial_path import initial_path
from openmm_rare.tps.trajectories.bonds import require_bonds
from openmm_rare.tps.trajectories.checks import require_energies, require_long_enough
from openmm_rare.tps.trajectories.file import read_path, require_writable, write_path
from openmm_rare.workflow.path_sampling import run_path_sampling
from openmm_rare.workflow.rate import configuration


def broken(kind):
    """A path with something wrong in it."""
    x = turned()
    if kind == "bond":
        x[4, 3] += [0.3, 0.0, 0.0]
    if kind == "order":
        x = x[:, [0, 2, 1, 3]]
    if kind == "molecule":
        x = np.concatenate([x[:, :3], x[:, 2:3] + 1.7 * (x[:, 3:] - x[:, 2:3])], axis=1)
    if kind == "angstrom":
        x = 10.0 * x
    if kind == "tenth":
        x = 0.1 * x
    return x


@pytest.mark.parametrize("constrain", [False, True])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("bond", r"in frame 4 the bond between atoms 2 and 3 \(C3 of BUT 1, C4 of BUT 1\) is 0\.\d+ nm long, .* 0.153 nm"),
        ("order", r"in most frames the bond between atoms .* should be 0.153 nm .*are its atoms in another order"),
        ("molecule", r"in most frames the bond between atoms 2 and 3 .* is about 0.26 nm long"),
        ("angstrom", r"its bonds are 10 times as long as they should be: are the positions in Angstrom\?"),
        ("tenth", r"its bonds are 0.1 times as long"),
    ],
)
def test_broken_bonds_other_molecules_and_other_units_are_refused(tmp_path, kind, message, constrain):
    mine = chain4.problem(chain4.system(constrain=constrain))
    with pytest.raises(InputError, match=message) as error:
        read_path(saved(tmp_path, broken(kind)), paths_of(mine))
    assert "path.npz" in str(error.value) and "\n" not in str(error.value)
    assert len(read_path(saved(tmp_path, turned()), paths_of(mine))) > 3  # negative control


def test_angstrom_is_guessed_where_there_are_no_bonds(tmp_path):
    mine = paths_of(build("double_well_1d"))
    line = initial_path(mine, 1, Silent()).positions
    assert len(read_path(saved(tmp_path, line), mine)) == len(line)
    with pytest.raises(InputError, match=r"does not connect A and B: .*Divided by 10 they would .*Angstrom"):
        read_path(saved(tmp_path, 10.0 * line[[0, 20, 40, -1]]), mine)


def with_argon(inertial=True):
    """The chain and an argon atom that repels it."""
    made = chain4.system()
    made.addParticle(39.9)
    pairs = openmm.NonbondedForce()
    for _ in range(5):
        pairs.addParticle(0.0, 0.34, 1.0)
    for i in range(4):
        for j in range(i):
            pairs.addException(i, j, 0.0, 1.0, 0.0)
    made.addForce(pairs)
    positions = np.concatenate([chain4.positions(), [[0.2, 1.0, 0.0]]])
    return replace(chain4.problem(), system=made, positions=positions, topology=None, inertial=inertial)


@pytest.mark.parametrize(
    ("distance", "message"),
    [
        (0.0, "not finite|energy of .* kT above|forces of frame 4"),
        (0.12, "frame 4 has an energy of .* kT above that of the initial structure"),
        (0.2, "the forces of frame 4 push an atom .* times as hard as heat"),
        (0.28, None),
    ],
)
def test_overlapping_atoms_are_refused(tmp_path, distance, message):
    mine = with_argon()
    mine = replace(mine, timestep=0.02) if distance == 0.2 else mine  # where the same force is too much for the step
    x = np.concatenate([turned(), np.repeat([[[0.2, 1.0, 0.0]]], 9, axis=0)], axis=1)
    x[4, 4] = x[4, 1] + [0.0, distance, 0.0]
    if message is None:
        assert len(read_path(saved(tmp_path, x), paths_of(mine))) > 3
    else:
        with pytest.raises(InputError, match=message):
            read_path(saved(tmp_path, x), paths_of(mine))


def test_hot_paths_and_straight_lines_are_let_in(tmp_path):
    """Negative control: fourteen times the temperature, the hottest that looks for a path, is no fault of a file."""
    mine = paths_of(chain4.problem(timestep=0.0005))
    hot = dynamics_in_a(replace(mine, system=mine.system.with_temperature(4200.0)), 3, 400)
    require_bonds(
        mine.system,
        bonds_of(mine.system.system, mine.system.topology, mine.system.positions, mine.system.kt),
        hot.positions,
        hot.boxes,
        "hot",
        0,
    )
    require_energies(mine, hot.positions, hot.boxes, "hot", 0)
    ends = turned(2)
    straight = ends[0] + np.linspace(0.0, 1.0, 21)[:, None, None] * (ends[1] - ends[0])  # its last bond shrinks
    assert len(read_path(saved(tmp_path, straight), mine)) > 3
    for name in ("double_well_1d", "two_channel_2d", "jung_42d"):
        model = paths_of(build(name))
        found = find_path(model.system, "auto", out=tmp_path / f"{name}.npz")
        np.testing.assert_array_equal(read_path(str(tmp_path / f"{name}.npz"), model).positions, found.frames.positions)


def test_a_file_with_other_elements_is_refused(tmp_path):
    """A path of another molecule with equally many atoms."""
    mine = paths_of(chain4.problem())
    other = app.Topology()
    residue = other.addResidue("ETA", other.addChain())
    for name, element in [("C1", "carbon"), ("C2", "carbon"), ("C3", "carbon"), ("O1", "oxygen")]:
        other.addAtom(name, getattr(app.element, element), residue)
    path = in_trajectory(tmp_path, turned(), "other.pdb", topology=other)
    with pytest.raises(InputError, match=r"atom 3 is O1 \(O\) of ETA, that of the System C4 \(C\) of BUT \(1 of 4 atoms"):
        read_path(path, mine)
    assert len(read_path(in_trajectory(tmp_path, turned(), "same.pdb"), mine)) > 3
    few = mdtraj.Trajectory(turned()[:, :3], mdtraj.Topology.from_openmm(chain4.topology()).subset([0, 1, 2]))
    for name, message in [("few.pdb", "holds 3 atoms, the System 4"), ("few.dcd", "cannot be read by mdtraj")]:
        few.save(str(tmp_path / name))
        with pytest.raises(InputError, match=message) as error:
            read_path(str(tmp_path / name), mine)
        assert "\n" not in str(error.value)


def test_frames_that_are_none_few_or_many_times_the_same(tmp_path):
    mine = paths_of(chain4.problem())
    with pytest.raises(InputError, match="holds no frames"):
        read_path(saved(tmp_path, np.zeros((0, 4, 3))), mine)
    with pytest.raises(InputError, match="does not connect A and B: frame 0 lies in A"):
        read_path(saved(tmp_path, turned()[:1]), mine)
    with pytest.raises(InputError, match="does not connect A and B"):
        read_path(saved(tmp_path, turned()[[0, -1]]), mine)
    thrice = np.repeat(turned(), 3, axis=0)
    assert len(read_path(saved(tmp_path, thrice), mine)) > 6
    there_and_back = np.concatenate([turned(), turned()[::-1], turned()])
    np.testing.assert_allclose(read_path(saved(tmp_path, there_and_back), mine).positions[0], turned()[0], atol=1e-6)
    assert len(read_path(saved(tmp_path, turned().astype(np.float16)), mine)) > 3


def test_a_limit_that_no_shot_can_keep_is_refused(tmp_path, monkeypatch):
    """Case 28: the longest length is shorter than the first path."""
    name = saved(tmp_path, turned(40))
    long = len(initial_path(paths_of(chain4.problem(), initial_path=name), 1, Silent()))
    assert long > 20
    with pytest.raises(InputError, match=rf"max_frames = 5 is too short for .*path.npz, which has {long} frames"):
        initial_path(paths_of(chain4.problem(), initial_path=name, max_frames=5), 1, Silent())
    with pytest.raises(InputError, match=r"max_frames = 3 is too short for the path of hot dynamics"):
        initial_path(paths_of(chain4.problem(), initial_path="auto", max_frames=3, steps_per_frame=2), 1, Silent())
    require_long_enough(9, PathSettings(max_frames=5), "it")  # two shots of four frames make one of nine
    with pytest.raises(InputError, match="max_frames = 5"):
        require_long_enough(10, PathSettings(max_frames=5), "it")


def test_another_time_between_frames_is_said(tmp_path, caplog):
    for steps, said in [(10, False), (20, True)]:
        read_path(saved(tmp_path, turned(), frame_time_ps=0.01), paths_of(chain4.problem(), steps_per_frame=steps))
        assert ("a frame every 0.01 ps, and new paths will have one every 0.02 ps" in caplog.text) is said


def test_the_path_survives_a_format_that_fails(tmp_path, monkeypatch):
    """Case 27 is refused at the start; what fails afterwards costs no path."""
    system = chain4.problem()
    bigger = chain4.topology()
    bigger.addAtom("C5", app.element.carbon, next(bigger.residues()))
    for mine, name, message in [
        (with_argon(), "p.xtc", "which has no topology"),
        (system, "p.prmtop", "a path cannot be written as 'p.prmtop': use .npz, or what mdtraj knows"),
        (system, "p.arc", r"a path cannot be written as 'p.arc' \(.*\): use .npz, .xtc or .dcd"),
        (system, "file/p.xtc", "is no folder that can be written to"),
    ]:
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match=message):
            require_writable(tmp_path / name, mine)
    object.__setattr__(system, "topology", bigger)
    with pytest.raises(InputError, match="its topology has 5 atoms, its System 4 particles"):
        require_writable(tmp_path / "p.xtc", system)
    object.__setattr__(system, "topology", chain4.topology())

    def fails(name, frames, problem):
        if str(name).endswith(".xtc"):
            raise InputError("no digits")
        write_path(name, frames, problem)

    monkeypatch.setattr("openmm_rare.tps.first_paths.find_path.write_path", fails)
    start = saved(tmp_path, turned(), "start.npz")
    found = find_path(system, start, out=tmp_path / "p.xtc")
    assert found.file == tmp_path / "p.npz" and "no digits; the path is in " in found.notes[-1]
    np.testing.assert_allclose(read_path(str(found.file), paths_of(system)).positions, found.frames.positions)
    assert find_path(system, start, out=tmp_path / "p.xtc").file == tmp_path / "p-1.npz"


def test_states_that_a_path_jumps_between_get_advice_that_helps(monkeypatch):
    """Case 24, where no pull could help."""
    pair = openmm.System()
    for _ in range(2):
        pair.addParticle(20.0)
    spring = openmm.HarmonicBondForce()
    spring.addBond(0, 1, 0.3, 500.0)
    pair.addForce(spring)
    mine = RareEventSystem.from_openmm(
        pair, [[0, 0, 0], [0.3, 0, 0]], Range({"r": (0.0, 0.36)}), Range({"r": (0.3601, 9.0)}), [Distance("r", (0, 1))],
        300, 5, 0.002, inertial=True,
    )  # fmt: skip
    monkeypatch.setattr("openmm_rare.tps.first_paths.driven_path._STIFFNESS", (4.0,))
    with pytest.raises(InputError, match="from A to B with no frame between them: leave a gap between the states"):
        initial_path(paths_of(mine, initial_path="biased"), 1, Silent())


def test_commands_refuse_in_one_line_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = chain4.write(tmp_path)
    saved(tmp_path, broken("bond"), "broken.npz")
    for words in (
        ["path", config, "--from", "broken.npz", "--relax", 1, "--out", "o.npz"],
        ["tps", config, "--initial-path", "broken.npz", "--out", "run"],
    ):
        done = CliRunner().invoke(main, [*map(str, words)])
        assert done.exit_code == 2 and "broken.npz: in frame 4 the bond" in done.output and "Traceback" not in done.output
        assert len([line for line in done.output.splitlines() if line.startswith("Error")]) == 1
    assert not (tmp_path / "o.npz").exists() and not (tmp_path / "run").exists()


def test_what_was_put_right_stands_in_the_result(tmp_path, capsys):
    """Also of a run that is continued, which does not read the file again."""
    path = saved(tmp_path, turned()[::-1])
    config = with_path_settings(configuration(str(chain4.write(tmp_path))), initial_path=path, trials=2)
    first = run_path_sampling(config, tmp_path / "out", progress=Silent())
    assert first["notes"] == [f"{path} runs from B to A: turned around."]
    more = with_path_settings(config, trials=3)
    assert run_path_sampling(more, tmp_path / "out", resume=True)["notes"] == first["notes"]
    assert "turned around" in (tmp_path / "out" / "report.html").read_text() and "turned around" not in capsys.readouterr().err
    assert find_path(chain4.problem(), path).notes == tuple(first["notes"])
    assert "Note: " in capsys.readouterr().err


def test_particles_without_mass_stay_in_a_path_from_a_file(tmp_path):
    """No shot moves them: each path would keep the place that they have in the frame it began from."""
    system = chain4.system()
    system.setParticleMass(0, 0.0)
    system.setParticleMass(1, 0.0)
    problem = paths_of(chain4.problem(system))
    good, said = turned(), []
    found = read_path(saved(tmp_path, good), problem, said.append)
    np.testing.assert_array_equal(found.positions[:, :2], np.repeat(chain4.positions()[None, :2], len(found), axis=0))
    assert said == []
    moved = read_path(saved(tmp_path, good + [0.3, 0.0, 0.1]), problem, said.append)
    np.testing.assert_allclose(moved.positions, found.positions, atol=1e-12)
    assert "9 frames were moved as a whole" in said[0]
    good[3, 1, 1] += 0.02
    with pytest.raises(InputError, match="atom 1, which has no mass, is 0.02 nm from its place in frame 3: give a path"):
        read_path(saved(tmp_path, good), problem)


@pytest.mark.parametrize(("factor", "hint"), [(10.0, "in Angstrom"), (0.1, "must be in nm")])
@pytest.mark.parametrize("constrain", [False, True])
def test_a_structure_in_another_unit_is_refused(factor, hint, constrain):
    """Its torsion says nothing about that."""
    problem = replace(chain4.problem(chain4.system(constrain=constrain)), positions=factor * chain4.positions())
    with pytest.raises(ValueError, match=f"of the initial structure are {factor:g} times as long as they should be.*{hint}"):
        require_runnable(problem, "paths")


def test_atoms_in_another_order_are_said():
    problem = replace(chain4.problem(), positions=chain4.positions()[[0, 2, 1, 3]])
    (note,) = require_runnable(problem, "paths")
    assert "2 of 3 bonds are far from their length" in note


def test_a_restraint_may_begin_far_from_its_length():
    system = chain4.system()
    restraint = openmm.HarmonicBondForce()
    for _ in range(9):
        restraint.addBond(0, 3, 0.04, 1000.0)
    system.addForce(restraint)
    assert require_runnable(chain4.problem(system), "paths") == []
