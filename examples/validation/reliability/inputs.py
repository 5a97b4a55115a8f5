"""What the fuzz campaign mutates: configurations, files of Systems, paths in all formats that mdtraj writes, and models."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
from children import Main, forked, openmm_rare

__all__ = ["BUILTIN", "N_CONFIGURATIONS", "prepare_inputs"]

EXAMPLES = Path(__file__).resolve().parents[2]
BUILTIN: tuple[str, ...] = ("lj7", "double_well_1d", "two_channel_2d", "rugged_14d", "jung_42d")
"""Systems whose configurations are mutated, beside one of files."""

N_CONFIGURATIONS: int = len(BUILTIN) + 4
"""How many ``NUMBER.toml`` there are."""

VARIABLES = """
[variables.d]
type = "distance"
atoms = [0, 3]
box = [3.0, 3.0, 3.0]
[variables.l]
type = "linear_combination"
coefficients = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]
[variables.c]
type = "coordinate"
atom = 1
axis = 2
[variables.m]
type = "coordination_moment"
order = 2
radius = "0.3 nm"
[system.descriptor]
kind = "distances"
"""
CHANNELS = """
[channels]
names = ["plus", "minus"]
[[channels.rules]]
to = "minus"
after = "plus"
range = { phi = ["-180 deg", "0 deg"] }
[[channels.rules]]
to = "plus"
disc = { center = { phi = 0.5 }, radius = 0.1 }
"""
PATHS = """
[path_sampling]
trials = 10
chains = 2
hidden = [8]
initial_path = "auto"
"""
MINE = """import numpy as np
import openmm
from openmm import app

def build():
    pdb = app.PDBFile("start.pdb")
    return openmm.XmlSerializer.deserialize(open("system.xml").read()), pdb.topology, pdb.positions
def inside(positions):
    return positions[:, 0, 0] > 1e9
def values(positions):
    return positions[:, 0, 0]
"""


def prepare_inputs(work: Path, main: Main = openmm_rare) -> None:
    """Write it to ``inputs`` below `work`, once.

    Raises
    ------
    RuntimeError
        If that fails.
    """
    inputs = (work / "inputs").resolve()
    if (inputs / "ready").exists():
        return
    shutil.rmtree(inputs, ignore_errors=True)
    inputs.mkdir(parents=True)
    # in a fork: OpenMM starts threads, which later forks would lack
    made = forked(partial(_make_inputs, inputs, main), work / "inputs.txt", inputs)
    if made.failure:
        raise RuntimeError(f"the inputs of the fuzz campaign could not be made: {made.text[-2000:]}")
    (inputs / "ready").touch()


def _make_inputs(inputs: Path, main: Main) -> None:
    own = (EXAMPLES / "own_system" / "config.toml").read_text(encoding="utf-8")
    configurations = [own, *((EXAMPLES / name / "config.toml").read_text(encoding="utf-8") for name in BUILTIN)]
    configurations += [own + CHANNELS + PATHS, own.replace("[states.a]", f"{VARIABLES}[states.a]")]
    configurations += [own.replace('range = { phi = ["-90 deg", "90 deg"] }', 'function = "mine:inside"')]
    for number, text in enumerate(configurations):
        (inputs / f"{number}.toml").write_text(text, encoding="utf-8")
    (inputs / "mine.py").write_text(MINE)
    for name in ("system.xml", "start.pdb"):
        shutil.copy(EXAMPLES / "own_system" / name, inputs)
    (inputs / "config.toml").write_text(own, encoding="utf-8")
    lines = [line for line in own.splitlines() if not line.startswith(("xml =", "pdb ="))]
    (inputs / "built.toml").write_text(
        "\n".join(lines).replace("[system]", '[system]\nbuilder = "mine:build"', 1), encoding="utf-8"
    )
    _write_structures(inputs)
    _write_models(inputs)
    (inputs / "many_forces.xml").write_text(_many_forces(), encoding="utf-8")
    try:
        main(["path", str(inputs / "config.toml"), "--from", "hot", "--out", str(inputs / "path.npz")])
    except SystemExit as error:
        if error.code:
            raise
    _write_trajectories(inputs)


def _write_structures(inputs: Path) -> None:
    from openmm.app import PDBFile, PDBxFile

    pdb = PDBFile(str(inputs / "start.pdb"))
    with open(inputs / "start.cif", "w", encoding="utf-8") as stream:
        PDBxFile.writeFile(pdb.topology, pdb.positions, stream)


def _write_models(inputs: Path) -> None:
    from openmm_rare.committor.ensemble import CommittorEnsemble
    from openmm_rare.committor.model import CommittorModel
    from openmm_rare.config.run import build_system, load_config

    system = build_system(load_config(inputs / f"{BUILTIN.index('double_well_1d') + 1}.toml"))
    members = []
    for kind in ("mlp", "residual"):
        options = (system.descriptor_spec(), len(system.positions), (8, 8), system.temperature, system.fingerprint())
        member = CommittorModel(*options, network={"kind": kind})
        member.standardize(system.positions + 0.02 * np.random.default_rng(1).normal(size=(20, *system.positions.shape)))
        member.save(inputs / f"model_{kind}.npz")
        members.append(member)
    CommittorEnsemble([members[0], members[0].copy()]).save(inputs / "model_ensemble.npz")


def _many_forces() -> str:
    """A System of four particles with most kinds of forces."""
    import openmm

    system = openmm.System()
    for _ in range(4):
        system.addParticle(14.0)
    bond, angle, torsion = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    for i in range(3):
        bond.addBond(i, i + 1, 0.15, 1e5)
    angle.addAngle(0, 1, 2, 1.9, 400.0)
    torsion.addTorsion(0, 1, 2, 3, 3, 0.0, 5.0)
    ryckaert = openmm.RBTorsionForce()
    ryckaert.addTorsion(0, 1, 2, 3, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0)
    pairs, born = openmm.NonbondedForce(), openmm.GBSAOBCForce()
    own_pairs = openmm.CustomNonbondedForce("scale*table(r)*(q1*q2)")
    own_pairs.addPerParticleParameter("q")
    own_pairs.addGlobalParameter("scale", 1.0)
    own_pairs.addTabulatedFunction("table", openmm.Continuous1DFunction([3.0, 2.0, 1.0, 0.0], 0.1, 2.0))
    for i in range(4):
        pairs.addParticle(0.1 * (-1) ** i, 0.3, 0.5)
        born.addParticle(0.1 * (-1) ** i, 0.15, 0.8)
        own_pairs.addParticle([0.1])
    pairs.addException(0, 1, 0.0, 0.3, 0.0)
    own_pairs.addExclusion(0, 1)
    own_bond, outside = openmm.CustomBondForce("k*(r-r0)^2"), openmm.CustomExternalForce("k*x^2")
    for name in ("k", "r0"):
        own_bond.addPerBondParameter(name)
    own_bond.addBond(0, 3, [1.0, 0.4])
    outside.addGlobalParameter("k", 0.1)
    outside.addParticle(0, [])
    compound = openmm.CustomCompoundBondForce(2, "distance(p1,p2)^2")
    compound.addBond([0, 2], [])
    centers = openmm.CustomCentroidBondForce(2, "distance(g1,g2)")
    centers.addGroup([0, 1])
    centers.addGroup([2, 3])
    centers.addBond([0, 1], [])
    grid = openmm.CMAPTorsionForce()
    grid.addMap(4, [0.0] * 16)
    grid.addTorsion(0, 0, 1, 2, 3, 0, 1, 2, 3)
    for force in (bond, angle, torsion, ryckaert, pairs, born, own_pairs, own_bond, outside, compound, centers, grid):
        system.addForce(force)
    return openmm.XmlSerializer.serialize(system)


def _write_trajectories(inputs: Path) -> None:
    """The path in every format that mdtraj writes."""
    import mdtraj
    from openmm.app import PDBFile

    folder = inputs / "trajectories"
    folder.mkdir()
    shutil.copy(inputs / "path.npz", folder / "path.npz")
    topology = mdtraj.Topology.from_openmm(PDBFile(str(inputs / "start.pdb")).topology)
    positions = np.load(inputs / "path.npz")["positions"]
    trajectory = mdtraj.Trajectory(positions, topology, time=np.arange(float(len(positions))))
    trajectory.unitcell_vectors = np.tile(2.0 * np.eye(3, dtype=np.float32), (len(positions), 1, 1))
    for ending in sorted(mdtraj.formats.registry.FormatRegistry.fileobjects):
        file = folder / f"path{ending}"
        try:
            trajectory.save(str(file))
        except Exception:  # a format that mdtraj only reads
            shutil.rmtree(file, ignore_errors=True)
        if not file.is_file():
            for part in folder.glob(f"path{ending}*"):  # one file for each frame
                part.unlink() if part.is_file() else shutil.rmtree(part)
