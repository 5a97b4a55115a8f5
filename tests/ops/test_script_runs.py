"""`openmm-rare analyze` on what a script of OpenPathSampling with our hook has left."""

import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("openpathsampling")

SCRIPT = """
import numpy as np
import openpathsampling as paths
from openmm_rare import CommittorModel, Silent
from openmm_rare.ops import CommittorSelector, ShootingStrategy, TrainingHook, open_simstore
from openmm_rare.ops import seed_path_sampling, shooting_scheme, state_volumes, trajectory_of
from openmm_rare.ops.snapshots import frames_of
from openmm_rare.settings.paths import PathSettings
from openmm_rare.systems import build
from openmm_rare.tps.chains.chain import make_engine
from openmm_rare.tps.chains.task import PathProblem
from openmm_rare.tps.first_paths.initial_path import initial_path

target = build("double_well_1d")
storage = open_simstore("steps.db", "w")
problem = PathProblem(target, PathSettings(steps_per_frame=10), "Reference")
first = initial_path(problem, 1, Silent())
noise = seed_path_sampling(1)
engine = make_engine(problem)
engine.integrator.setRandomNumberSeed(noise)
a, b = state_volumes(target.states)
model = CommittorModel(target.descriptor_spec(), len(target.positions), (8,), target.temperature, "mine")
model.standardize(first.positions)
selector = CommittorSelector(model).named("selector")
strategy = ShootingStrategy(selector, paths.NoModification(), engine)
scheme = shooting_scheme(paths.TPSNetwork.from_states_all_to_all([a, b]), strategy)
trajectory = trajectory_of(first, engine)
start = scheme.initial_conditions_from_trajectories(trajectory)
simulation = paths.PathSampling(storage=storage, move_scheme=scheme, sample_set=start)
hook = TrainingHook(selector, [a, b], "shots.npz")
simulation.attach_hook(hook)
simulation.run(40)
accepted = [bool(step.change.accepted) for step in storage.steps[1:]]
last = frames_of(simulation.sample_set[0].trajectory, with_velocities=False).positions
np.savez("truth.npz", accepted=accepted, last=last, reached=hook.shots.reached)
storage.close()
"""
ANALYZE = ["--configurations", "6", "--fresh-shots", "10", "--formula-inputs", "0"]
READ = """
import numpy as np
from pathlib import Path
from openmm_rare.workflow.to_analyze import load_script_run

problem, model, shots, paths = load_script_run(Path("shots.npz"), Path("steps.db"), "double_well_1d")
first = [path[0, 0, 0] < 0 for path in paths.paths]
np.savez("read.npz", weights=paths.weights, last=paths.paths[-1], reached=shots.reached, frame=paths.frame_time,
         interval=problem.check_interval, logit=model.logit(np.array([[[-0.3, 0, 0]], [[0.3, 0, 0]]])), same=first)
"""
CONFIG = """
[system]
xml = "system.xml"
pdb = "start.pdb"
temperature = "300 K"
friction = "{friction} 1/ps"
timestep = "{timestep} ps"
num_dimensions = 1
[variables.x]
type = "coordinate"
atom = 0
axis = 0
[states.a]
range = {{ x = [-inf, "{edge} nm"] }}
[states.b]
range = {{ x = ["{edge_b} nm", inf] }}
"""


def run(folder, *words):
    """A process of its own: SimStore changes OpenPathSampling for all of it."""
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True)


def command(folder, *words):
    return run(folder, "-c", "from openmm_rare.cli.main import main; main()", *words)


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """The folder of a script that has ended."""
    folder = tmp_path_factory.mktemp("script")
    done = run(folder, "-c", SCRIPT)
    assert done.returncode == 0, done.stderr
    return folder


def test_what_a_script_left_is_read_as_it_was(left):
    done = run(left, "-c", READ)
    assert done.returncode == 0, done.stderr
    with np.load(left / "truth.npz") as truth, np.load(left / "read.npz") as read:
        accepted = truth["accepted"]
        assert len(accepted) == 40 and len(read["weights"]) == accepted.sum() > 3
        current = np.diff([*np.flatnonzero(accepted), len(accepted)])
        np.testing.assert_array_equal(read["weights"], current)
        np.testing.assert_allclose(read["last"], truth["last"], atol=1e-6)
        np.testing.assert_array_equal(read["reached"], truth["reached"])
        assert read["interval"] == 10 and read["frame"] == pytest.approx(0.1)
        assert read["logit"][0] < read["logit"][1]  # it has learned the direction


def test_an_analysis_ends_in_a_report(left):
    done = command(left, "analyze", "shots.npz", "--storage", "steps.db", "--system", "double_well_1d", *ANALYZE)
    assert done.returncode == 0, done.stderr
    assert "report: mechanism/report.html" in done.stdout
    page = (left / "mechanism" / "report.html").read_text(encoding="utf8")
    found = json.loads((left / "mechanism" / "analysis.json").read_text())
    assert "<html" in page and "data:image/png" in page and found["relevance"]


def test_what_is_missing_or_of_another_problem_is_one_line(left):
    other = {"friction": 10, "timestep": 0.01, "edge": -0.4, "edge_b": 0.4}
    write_system(left)
    for name, changes in (("other_states", {"edge": -0.6}), ("other_step", {"timestep": 0.005})):
        (left / f"{name}.toml").write_text(CONFIG.format(**(other | changes)))
    (left / "paths.nc").write_bytes(b"")
    cases = [
        (["shots.npz"], "three things are needed: shots.npz as the file"),
        (["nothing.npz", "--storage", "steps.db", "--system", "double_well_1d"], "three things are needed"),
        (["truth.npz", "--storage", "steps.db", "--system", "double_well_1d"], "truth.npz"),
        (["shots.npz", "--storage", "none.db", "--system", "double_well_1d"], "none.db does not exist"),
        (["shots.npz", "--storage", "paths.nc", "--system", "double_well_1d"], "may hold programs: if you trust"),
        (["shots.npz", "--storage", "steps.db", "--system", "lj7"], "but lj7"),
        (["shots.npz", "--storage", "steps.db", "--system", "other_states.toml"], "the script had other states"),
        (["shots.npz", "--storage", "steps.db", "--system", "other_step.toml"], "but user one of 0.005 ps"),
    ]
    lines = "".join(f"invoke(main, {['analyze', *words, '--out', 'never']!r})\n" for words, _ in cases)
    code = f"""
from click.testing import CliRunner
from openmm_rare.cli.main import main
def invoke(*words):
    done = CliRunner().invoke(*words)
    print("|".join([str(done.exit_code), *done.output.splitlines()]))
{lines}"""
    done = run(left, "-c", code)
    said = done.stdout.splitlines()
    assert len(said) == len(cases), done.stderr
    for line, (_, message) in zip(said, cases, strict=True):
        assert line.startswith("2|") and message in line and "Traceback" not in line, line
    assert not (left / "never").exists()


def write_system(folder):
    """The built-in system as files."""
    import openmm
    from openmm import app, unit

    from openmm_rare.structure.trajectory_file import plain_topology
    from openmm_rare.systems import build

    problem = build("double_well_1d")
    (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(problem.system))
    with open(folder / "start.pdb", "w") as stream:
        app.PDBFile.writeFile(plain_topology(1), [[-0.7, 0.0, 0.0]] * unit.nanometer, stream)
