"""Kind K11: a path from a file runs from A to B, whichever way the file runs."""

import logging
import re

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("openpathsampling")

from path_files import in_trajectory, paths_of, saved, turned

import chain4
from openmm_rare.cli.main import main
from openmm_rare.states.states import IN_A, IN_B
from openmm_rare.tps.first_paths.find_path import find_path, found_rows
from openmm_rare.tps.trajectories.file import read_path


def assert_from_a_to_b(frames, system):
    assert [system.states.classify(frames.positions[[k]])[0] for k in (0, -1)] == [IN_A, IN_B]


@pytest.mark.parametrize("ending", ["npz", "dcd", "xtc"])
def test_a_file_that_runs_backward_is_turned_around(tmp_path, caplog, ending):
    """Case 13."""
    system, name = chain4.problem(), f"path.{ending}"
    for frames, said in [(turned()[::-1], True), (turned(), False)]:
        path = saved(tmp_path, frames) if ending == "npz" else in_trajectory(tmp_path, frames, name)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = read_path(path, paths_of(system))
        assert_from_a_to_b(found, system)
        assert ("runs from B to A: turned around" in caplog.text) is said
        np.testing.assert_allclose(found.positions[-1], next(x for x in turned() if in_b(system, x)), atol=1e-3)


def in_b(system, positions):
    return system.states.classify(positions[None])[0] == IN_B


def test_frames_boxes_and_labels_go_along(tmp_path):
    system = chain4.problem()
    found = find_path(system, saved(tmp_path, turned()[::-1], "back.npz"), out=tmp_path / "forth.npz")
    assert_from_a_to_b(found.frames, system)
    assert_from_a_to_b(read_path(str(tmp_path / "forth.npz"), paths_of(system)), system)
    shown = [dict(found_rows(found, system))[key] for key in ("first frame, in A", "last frame, in B")]
    first, last = (float(text.removeprefix("phi = ").removesuffix(" deg")) for text in shown)
    assert abs(first) >= 150 and abs(last) <= 90
    relaxed = find_path(system, str(tmp_path / "forth.npz"), relax=1, seed=2)
    assert_from_a_to_b(relaxed.frames, system)


def test_the_first_stretch_of_several_counts(tmp_path):
    """B to A to B: from B to A comes first, and is turned."""
    system = chain4.problem()
    several = np.concatenate([turned()[::-1], turned(20)])
    found = read_path(saved(tmp_path, several), paths_of(system))
    assert_from_a_to_b(found, system)
    assert len(found) == len(read_path(saved(tmp_path, turned()), paths_of(system)))


def test_the_command_says_what_is_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    in_trajectory(tmp_path, turned()[::-1], "backward.dcd")
    done = CliRunner().invoke(main, ["path", str(chain4.write(tmp_path)), "--from", "backward.dcd", "--out", "o.npz"])
    assert done.exit_code == 0, done.output
    rows = dict(re.findall(r"(first frame, in A|last frame, in B) +phi = (\S+) deg", done.output))
    assert abs(float(rows["first frame, in A"])) >= 150 and abs(float(rows["last frame, in B"])) <= 90
    assert_from_a_to_b(read_path("o.npz", paths_of(chain4.problem())), chain4.problem())
