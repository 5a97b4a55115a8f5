"""What is in files of others ends no process of ours: readers that crash, hang or take all memory; impossible Systems."""

import sys

import numpy as np
import openmm
import pytest
from child_tasks import crash, fail, leave, never_end, take_memory, talk

import chain4
from openmm_rare.dynamics.checks import require_runnable
from openmm_rare.errors import InputError
from openmm_rare.parallel.children import ChildFailure, ask
from openmm_rare.structure.files import read_system
from openmm_rare.tps.trajectories import reading
from openmm_rare.tps.trajectories.reading import read_archive
from openmm_rare.trust import rehearsal

pytest.importorskip("openpathsampling")
from path_files import in_trajectory, saved, turned  # noqa: E402

from openmm_rare.tps.trajectories.formats import read_content  # noqa: E402

# --- the process beside


@pytest.mark.parametrize(
    ("function", "how"),
    [
        (crash, "it crashed, SIGSEGV"),
        (never_end, "it came to no end in 1 s"),
        (take_memory, "it takes more than 0.5 GB of memory"),
        (fail, "in two.*lines"),
        (leave, "it ended without a word, with status 3"),
    ],
)
def test_what_ends_the_process_beside_is_said(function, how):
    with pytest.raises(ChildFailure, match=how) as failure:
        ask(function, memory=5e8, seconds=1)
    assert "\n" not in str(failure.value)


def test_what_comes_back_is_what_was_returned():
    reply = ask(talk, 7, memory=5e8, seconds=10)
    assert (reply["number"], reply["none"]) == (7, None)
    assert np.array_equal(reply["array"], np.arange(6.0).reshape(2, 3))
    assert reply["scalar"].shape == () and reply["scalar"] == 2.5 and reply["empty"].shape == (0, 3)


def test_nothing_beside_a_configuration_stands_in_for_a_module_of_python(tmp_path, monkeypatch):
    for name in ("json", "numpy", "statistics"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.chdir(tmp_path)
    assert ask(talk, 1, memory=5e8, seconds=10)["number"] == 1


# --- frames


def test_a_file_that_crashes_its_reader_is_one_line(tmp_path):
    path = tmp_path / in_trajectory(tmp_path, turned(), "path.trr")
    assert np.allclose(read_content(path, chain4.problem()).positions, turned(), atol=1e-6)
    frames = path.read_bytes().split(b"\x0cGMX_trn_file")
    path.write_bytes(b"\x0cGMX_trn_file".join(frames[:5]) + b"\x08GMX_trn_file" + b"\x0cGMX_trn_file".join(frames[5:]))
    with pytest.raises(InputError, match=r"path.trr cannot be read by mdtraj \("):  # of version 1.11: it divides by zero
        read_content(path, chain4.problem())


@pytest.mark.parametrize("ending", ["xtc", "trr", "dcd", "pdb", "gro", "nc", "xyz", "mdcrd", "lammpstrj", "npz", "arc"])
@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"4\nx\n" + b"nonsense " * 30])
def test_files_that_are_none_are_one_line(ending, content, tmp_path):
    if content and ending not in ("xtc", "trr", "dcd", "npz"):
        pytest.skip("one case is enough where Python reads")
    path = tmp_path / f"path.{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"path.{ending} (cannot be read|holds no frames)"):
        read_content(path, chain4.problem())


def test_an_archive_that_unpacks_to_all_memory_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_MEMORY", 5e7)
    np.savez_compressed(tmp_path / "path.npz", positions=np.zeros((4_000_000, 3)))
    with pytest.raises(ChildFailure, match="it takes more than .* GB of memory"):
        read_archive(tmp_path / "path.npz")


def test_arrays_come_from_an_archive_as_they_are(tmp_path):
    found = read_archive(tmp_path / saved(tmp_path, turned(), frame_time_ps=np.array(0.5)))
    assert np.array_equal(found["positions"], turned()) and float(found["frame_time_ps"]) == 0.5
    with pytest.raises(InputError, match="cannot be read .*no array named positions"):
        np.savez(tmp_path / "other.npz", x=np.zeros(3))
        read_content(tmp_path / "other.npz", chain4.problem())


# --- Systems


def written(folder, change):
    """The XML of a System of two particles that has been changed."""
    system = openmm.System()
    for _ in range(2):
        system.addParticle(10.0)
    change(system)
    path = folder / "system.xml"
    path.write_text(openmm.XmlSerializer.serialize(system))
    return path


def without_value(system):
    """OpenMM writes beyond an array when a pair energy has no computed value."""
    force = openmm.CustomGBForce()
    force.addComputedValue("B", "1/r", force.ParticlePair)
    force.addEnergyTerm("B", force.SingleParticle)
    for _ in range(2):
        force.addParticle([])
    system.addForce(force)


def misplaced(system):
    """A reference that is not finite turns the search for the best rotation round for ever."""
    system.addForce(openmm.RMSDForce([[0, 0, 0], [0.1, 0, 0]]))


def huge_grid(system):
    system.setDefaultPeriodicBoxVectors([3, 0, 0], [0, 3, 0], [0, 0, 3])
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(force.PME)
    force.setPMEParameters(3.0, 900, 900, 900)
    for _ in range(2):
        force.addParticle(0.1, 0.3, 0.5)
    system.addForce(force)


@pytest.mark.parametrize(
    ("change", "old", "new", "how"),
    [
        (without_value, '<Value expression="1/r" name="B" type="1"/>', "", "it crashed, SIG"),
        (misplaced, 'x=".1"', 'x="-inf"', "it came to no end in 1 s"),
        (huge_grid, "", "", "it takes more than .* GB"),
    ],
)
def test_a_system_that_openmm_cannot_run_is_one_line(change, old, new, how, tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsal, "_SECONDS", 1.0)
    path = written(tmp_path, change)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=f"system.xml is no System that OpenMM can run .{how}"):
        read_system(path)


def test_sound_systems_and_errors_that_openmm_raises_pass_the_rehearsal(tmp_path):
    assert read_system(written(tmp_path, lambda system: None)).getNumParticles() == 2
    read_system(written(tmp_path, without_value))  # negative control
    bond = openmm.HarmonicBondForce()
    bond.addBond(0, 7, 0.1, 1.0)
    read_system(written(tmp_path, lambda system: system.addForce(bond)))  # is refused by name later
    (tmp_path / "system.xml").write_bytes(b"\xff\xfe no text")
    with pytest.raises(InputError, match="is no serialized OpenMM object"):
        read_system(tmp_path / "system.xml")


def angle(system):
    system.addForce(openmm.HarmonicAngleForce())
    system.getForces()[-1].addAngle(0, 1, 9, 2.0, 1.0)


def torsion(system):
    system.addForce(openmm.PeriodicTorsionForce())
    system.getForces()[-1].addTorsion(0, 1, 2, -1, 1, 0.0, 1.0)


def charges(system):
    system.addForce(openmm.NonbondedForce())
    system.getForces()[-1].addParticle(0.1, 0.3, 0.5)


def custom(system):
    system.addForce(openmm.CustomBondForce("r"))
    system.getForces()[-1].addBond(0, 2**31 - 1, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda system: system.getForce(0).addBond(1, 7, 0.1, 1e5), "a harmonic bond of particle 7.*it has 4"),
        (lambda system: system.getForce(0).addBond(-1, 2, 0.1, 1e5), "a harmonic bond of particle -1"),
        (lambda system: system.addConstraint(0, 4, 0.1), "a constraint of particle 4"),
        (custom, "a bond of particle 2147483647|OpenMM cannot run .*particle"),
        (angle, "OpenMM cannot run .*HarmonicAngleForce.*particle"),
        (torsion, "OpenMM cannot run .*PeriodicTorsionForce.*particle"),
        (charges, "OpenMM cannot run .*NonbondedForce.*particles"),
    ],
)
@pytest.mark.parametrize("purpose", ["rate", "paths"])
def test_forces_on_particles_that_are_not_there_are_one_line(change, message, purpose):
    system = chain4.system()
    change(system)
    with pytest.raises(InputError, match=message) as error:
        require_runnable(chain4.problem(system, inertial=purpose == "paths"), purpose)
    assert "\n" not in str(error.value)


def test_forces_beyond_all_numbers_are_one_line():
    system = chain4.system()
    system.getForce(0).setBondParameters(0, 0, 1, 1e200, 1e200)
    with pytest.raises(InputError, match="forces.*initial structure"):
        require_runnable(chain4.problem(system, inertial=False))
