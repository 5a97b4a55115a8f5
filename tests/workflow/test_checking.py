"""`openmm-rare check`: one table about a configuration, by the checks that the methods themselves call."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from test_export import write_problem

from openmm_rare.cli.main import main
from openmm_rare.folders.path_folder import with_path_settings
from openmm_rare.states.disjoint import gaps, widths
from openmm_rare.states.states import CollectiveVariables, Coordinate, Dihedral, Disc, Range
from openmm_rare.systems import build
from openmm_rare.workflow.checking import check, methods
from openmm_rare.workflow.checking.check import recommended_steps
from openmm_rare.workflow.checking.rows import Checked
from openmm_rare.workflow.rate import configuration

invoke = CliRunner().invoke


def rows_of(path):
    """Verdicts and texts by what they are about."""
    found = {}
    for row in json.loads(path.read_text())["rows"]:
        found.setdefault(row["about"], []).append((row["verdict"], row["said"]))
    return found


def test_all_is_well_with_a_built_in_system(tmp_path):
    done = invoke(main, ["check", "double_well_1d", "--steps", "1e7", "--json", str(tmp_path / "c.json")])
    assert done.exit_code == 0 and ", 0 warning, 0 refused" in done.output, done.output
    rows, numbers = rows_of(tmp_path / "c.json"), json.loads((tmp_path / "c.json").read_text())["numbers"]
    assert {verdict for each in rows.values() for verdict, _ in each} == {"ok"}
    assert [about for about in rows if about.startswith("openmm-rare")] == [
        "openmm-rare rate",
        "openmm-rare tps",
        "openmm-rare rate --method barrier",
        "openmm-rare rate --brute-force",
    ]
    assert numbers["gaps"] == {"x": pytest.approx(0.8)} and numbers["inputs"] == 1
    assert numbers["hours"] == pytest.approx(1e7 / numbers["steps_per_second"] / 3600)
    problem = build("double_well_1d")
    step = np.sqrt(2.0 * problem.kt * problem.timestep / (problem.friction * problem.system.getParticleMass(0)._value))
    free = (0.08 / step) ** 2  # steps that a free particle takes for a tenth of the gap
    assert 0.2 * free < numbers["recommended_steps_per_frame"] < 3.0 * free


def edited(folder, *changes):
    write_problem(folder)
    text = (folder / "config.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "config.toml").write_text(text)


def test_what_a_method_refuses_is_what_it_says_itself(tmp_path, monkeypatch):
    """Too long a time step, in the words of the command that would run."""
    monkeypatch.chdir(tmp_path)
    edited(tmp_path, ('timestep = "5 fs"', 'timestep = "500 fs"'))
    done = invoke(main, ["check", "config.toml", "--for", "tps", "--for", "brute-force", "--json", "c.json"])
    assert done.exit_code == 2, done.output
    rows = rows_of(tmp_path / "c.json")
    (verdict, said), *_ = rows["structure, time step"]
    assert verdict == "refused" and said.startswith("a time step of 0.5 ps is too large for user: from")
    for command in (["tps", "config.toml"], ["rate", "config.toml", "--brute-force"]):
        assert said in " ".join(invoke(main, [*command, "--out", "o"]).output.split())
    assert rows["openmm-rare tps"] == [("refused", 'the same as for "structure, time step"')]
    assert not (tmp_path / "o").exists()
    assert "openmm-rare rate" not in rows  # was not asked for


def test_a_direction_that_is_missing_is_told_and_no_refusal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    edited(tmp_path)
    done = invoke(main, ["check", "config.toml", "--for", "rate", "--for", "barrier", "--json", "c.json"])
    rows = rows_of(tmp_path / "c.json")
    assert done.exit_code == 0, done.output
    ((verdict, said),) = rows["openmm-rare rate"]
    assert verdict == "warning" and "needs a direction from A to B: first run openmm-rare tps" in said
    assert rows["openmm-rare rate --method barrier"][0][0] == "ok"
    (_, repaired) = rows["structure"][0]
    assert repaired == "The structure was cut by its periodic box: 1 bonds were made whole."
    ((verdict, said),) = rows["time step"]
    assert verdict == "ok" and "without friction the total energy scatters by" in said
    edited(tmp_path, ("[path_sampling]", '[sampling]\nimportance = "q"\n[path_sampling]'))
    wrong = invoke(main, ["check", "config.toml", "--for", "rate", "--json", "c.json"])  # negative control
    assert wrong.exit_code == 2 and rows_of(tmp_path / "c.json")["openmm-rare rate"][0][0] == "refused"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["0.36 nm", "0.8 nm"]', '["0.2 nm", "0.8 nm"]', "states A and B overlap: A is r from 0 nm to 0.24 nm"),
        ('["0 nm", "0.24 nm"]', '["0 nm", "0.19 nm"]', "must lie in A, but are in neither state"),
        ('["0 nm", "0.24 nm"]', '["0 nm", "0.36 nm"]', "share a border, and leave no frames between them"),
    ],
)
def test_states_that_make_no_problem_are_one_row(tmp_path, monkeypatch, old, new, message):
    monkeypatch.chdir(tmp_path)
    edited(tmp_path, (old, new))
    done = invoke(main, ["check", "config.toml", "--json", "c.json"])
    assert done.exit_code == 2 and "1 refused" in done.output
    ((about, ((verdict, said),)),) = rows_of(tmp_path / "c.json").items()
    assert about == "system, states, start" and verdict == "refused" and message in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[system\nname = "lj7"',
            "broken.toml: this is not valid TOML: Expected ']' at the end of a table declaration (at line 1",
        ),
        ('[system]\nxml = "no.xml"\npdb = "no.pdb"', "no.xml"),
        ('[system]\nname = "lj8"', "unknown system 'lj8'; choose one of"),
        (None, "broken.toml does not exist (looked for"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "broken.toml").write_text(text)
    done = invoke(main, ["check", "broken.toml"])
    assert done.exit_code == 2 and message in done.output, done.output
    assert "Traceback" not in done.output
    wrong = invoke(main, ["check", "double_well_1d", "--for", "magic"])
    assert wrong.exit_code == 2 and "'magic' is no method: choose among rate, tps, barrier, brute-force" in wrong.output


def test_dynamics_that_breaks_down_is_a_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    edited(tmp_path, ('timestep = "5 fs"', 'timestep = "100 ps"'))
    checked = Checked("config.toml")
    config = configuration("config.toml")
    assert not check._dynamics(checked, check.build_system(config), check.Machine("Reference"), config)
    assert checked.rows[-1].verdict == "refused" and "use a shorter time step, or minimize the energy" in checked.rows[-1].said


def test_descriptors_that_take_gigabytes_are_warned_of():
    problem, config = build("licl"), with_path_settings(configuration("licl"), trials=5000)
    pairs = {"kind": "pair_distances"}
    for spec, verdict in (
        (pairs, "refused"),
        ({"kind": "subset", "atoms": [*range(200)], "part": pairs}, "warning"),
        (None, "ok"),
    ):
        checked = Checked("licl")
        check._descriptor(checked, replace(problem, descriptor=spec) if spec else problem, config)
        assert checked.rows[-1].verdict == verdict, checked.rows
    assert checked.numbers["memory_bytes"] < 1e9


def test_gaps_and_widths_of_regions():
    variables = CollectiveVariables([Coordinate("x", 0, 0), Coordinate("y", 0, 1), Dihedral("phi", (0, 1, 2, 3))])
    low, high = Range({"x": (-np.inf, -0.4)}), Range({"x": (0.4, np.inf), "y": (0.0, 1.0)})
    assert gaps(variables, low, high) == {"x": pytest.approx(0.8)} == gaps(variables, high, low)
    assert widths(variables, low) == {} and widths(variables, high) == {"y": 1.0}
    trans, gauche = Range({"phi": (2.8, -2.8)}), Range({"phi": (-1.5, 1.5)})
    assert gaps(variables, trans, gauche) == {"phi": pytest.approx(1.3)} == gaps(variables, gauche, trans)
    assert widths(variables, trans) == {"phi": pytest.approx(2 * np.pi - 5.6)}
    one, other = Disc({"x": 0.0, "y": 0.0}, 0.1), Disc({"x": 0.3, "y": 0.4}, 0.2)
    assert gaps(variables, one, other) == {"x": pytest.approx(0.2), "y": pytest.approx(0.2)}
    assert gaps(variables, one, Range({"x": (0.5, 1.0), "y": (-1.0, 1.0)}))["x"] == pytest.approx(0.4)
    assert gaps(variables, low, Range({"x": (-0.4, 1.0)})) == {}  # they touch
    assert gaps(variables, one, low) is None


def test_frames_are_as_far_apart_as_the_variables_need():
    """A random walk of known steps: its root mean square in k steps is s sqrt(k)."""
    problem = build("double_well_1d")  # a gap of 0.8 nm: 0.08 nm in (0.08/s)^2 steps
    walk = np.cumsum(np.random.default_rng(1).normal(0.0, 0.0079, 40_000))[:, None]
    assert recommended_steps(problem, [(1, walk[:60]), (10, walk[::10])]) == (100, True)
    assert recommended_steps(problem, [(1, walk[:60]), (10, 10 * walk[::10])]) == (20, True)
    assert recommended_steps(problem, [(1, walk[:60]), (10, 1e-3 * walk[::10])]) == (10_000, False)


def test_an_axis_without_force_is_one_row_that_all_methods_point_to(tmp_path):
    (tmp_path / "flat.toml").write_text('[system]\nname = "double_well_1d"\nnum_dimensions = 2\n')
    done = invoke(main, ["check", str(tmp_path / "flat.toml"), "--json", str(tmp_path / "c.json")])
    assert done.exit_code != 0
    rows = rows_of(tmp_path / "c.json")
    ((verdict, said),) = rows["structure, time step"]
    assert verdict == "refused" and said.startswith("no force acts along y, ") and "set it to 1 in [system]" in said
    of_methods = [each for about, each in rows.items() if about.startswith("openmm-rare")]
    assert of_methods == [[("refused", 'the same as for "structure, time step"')]] * 4


def test_every_method_is_looked_at():
    assert set(methods.METHODS) == set(methods._COMMANDS)
