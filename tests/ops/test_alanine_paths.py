"""Path sampling of alanine dipeptide in water: its first path, its engine, and a few trials from the command line."""

import json

import mdtraj
import numpy as np
import pytest
from click.testing import CliRunner

from openmm_rare.cli.main import main
from openmm_rare.io.tasks import Silent
from openmm_rare.settings.paths import PathSettings
from openmm_rare.systems import alanine_dipeptide, build
from openmm_rare.tps.chains.chain import make_engine
from openmm_rare.tps.chains.task import PathProblem
from openmm_rare.tps.first_paths.initial_path import initial_path


def test_it_starts_from_the_path_that_comes_with_it():
    problem = PathProblem(build("alanine_dipeptide"), PathSettings(), "CPU")
    frames = initial_path(problem, 1, Silent())
    np.testing.assert_allclose(frames.positions, alanine_dipeptide.initial_path(), atol=1e-6)
    assert build("alanine_dipeptide", solvent="none").initial_path is None


def test_frames_know_their_atoms():
    """The topology of OpenMM reaches OpenPathSampling, whose storage then reads as a trajectory of mdtraj."""
    engine = make_engine(PathProblem(build("alanine_dipeptide", solvent="none"), PathSettings(), "Reference"))
    assert isinstance(engine.topology.mdtraj, mdtraj.Topology)
    assert [atom.name for atom in engine.topology.mdtraj.atoms][:6] == ["HH31", "CH3", "HH32", "HH33", "C", "O"]


@pytest.mark.slow
def test_a_few_trials(tmp_path):
    arguments = ["tps", "alanine_dipeptide", "--trials", "4", "--chains", "1", "--platform", "CPU", "--seed", "1"]
    done = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "run")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["trials"] >= 4
    with np.load(tmp_path / "run" / "shots.npz") as archive:
        assert np.isfinite(archive["shots/positions"]).all() and archive["shots/positions"].shape[1:] == (1651, 3)
        assert set((archive["trials/n_a"] + archive["trials/n_b"]).tolist()) <= {0, 2}
