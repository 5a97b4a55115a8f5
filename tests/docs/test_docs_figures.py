"""Figures of the docs are drawn by the script beside them, here from a short run; those that are shown are there, and small."""

import json
import re
import runpy
import sys

import numpy as np
from click.testing import CliRunner

from code_blocks import CHEAP, ROOT
from openmm_rare.cli.main import main

FIGURES = ROOT / "docs" / "figures"


def test_figures_are_drawn_from_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = "\n".join(f"{key} = {json.dumps(value)}" for key, value in CHEAP.items())
    system = '[system]\nname = "two_channel_2d"\ntemperature = "3000 K"\n'
    (tmp_path / "run.toml").write_text(f"{system}[sampling]\ntarget_error = 0.4\nsave_paths = 3\n{settings}\n")
    done = CliRunner().invoke(main, ["rate", "run.toml", "--out", "two"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (tmp_path / "well").mkdir()
    curve = {"levels": [-1.6, -0.8, 0.0], "rate_per_ps": [0.5, 0.01, 0.004], "stderr": [0.01, 0.001, 0.001]}
    (tmp_path / "well" / "result.json").write_text(json.dumps({"curve": curve}))
    monkeypatch.setattr(sys, "argv", ["draw.py", "two", "well", "--repeats", "1", "--out", str(tmp_path)])
    runpy.run_path(str(FIGURES / "draw.py"), run_name="__main__")
    names = {path.name for path in FIGURES.glob("*.png") if not path.name.startswith("gallery")}
    assert {path.name for path in tmp_path.glob("*.png")} == names
    from matplotlib.image import imread

    assert all(np.ptp(imread(tmp_path / name)) > 0.5 for name in names)  # something is on them


def test_figures_that_are_shown_are_those_that_are_there():
    text = "".join(path.read_text(encoding="utf8") for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")])
    shown = set(re.findall(r"figures/(\w+\.png)", text))
    assert shown == {path.name for path in FIGURES.glob("*.png")}
    assert sum(path.stat().st_size for path in FIGURES.glob("*.png")) < 1.5e6
