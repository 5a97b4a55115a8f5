"""What pages let people explore is what was computed, and nothing that a user wrote runs."""

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fabricated
from openmm_rare.folders.saved_paths import write_saved_paths
from openmm_rare.paths.ensemble import PathEnsemble
from openmm_rare.rates.keeping.saved_paths import SavedPaths
from openmm_rare.report.committor_map import CommittorMap
from openmm_rare.report.interactive import scripts
from openmm_rare.report.interactive.figures import curve, heatmap, numbers
from openmm_rare.report.interactive.molecules import Track, drawn_atoms, explored_molecule, tracks_of_paths
from openmm_rare.report.paths import _as_named
from openmm_rare.report.rate import write_rate_report
from openmm_rare.report.saved_paths import draw_saved_molecule
from openmm_rare.states.outlines import Outline, limits_with
from openmm_rare.systems import licl

VENDORED = Path(scripts.__file__).with_name("vendored")


@pytest.mark.parametrize("script", [scripts.PLOTS, scripts.MOLECULES], ids=lambda script: script.name)
def test_scripts_are_those_that_their_readme_names(script):
    packed = base64.b64decode(script.base64())
    digest = hashlib.sha256(gzip.decompress(packed)).hexdigest()
    (row,) = (line for line in (VENDORED / "README.md").read_text().splitlines() if f"`{script.file}`" in line)
    assert digest in row and f"`{script.licence}`" in row and "Copyright" in script.licence_text()


def figures_of(page):
    return [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)]


def test_a_page_holds_the_numbers_and_runs_nothing_of_a_user(tmp_path):
    hostile = "</script><script>alert(1)</script><b>"
    known = [{"label": hostile, "rate_per_ps": 0.4}]
    page = write_rate_report(fabricated.run_folder(tmp_path / "run", references=known)).read_text(encoding="utf8")
    assert "<script>" not in page and "<b>" not in page
    convergence, committors = figures_of(page)
    estimate, reference = convergence["data"][2:4]
    assert estimate["y"][-1] == pytest.approx(0.441) and reference["y"] == [0.4, 0.4]
    assert reference["name"] == hostile.replace("<", "&lt;").replace(">", "&gt;")  # plotly.js takes it for text
    assert committors["data"][0]["zmax"] == 1.0 and [each["type"] for each in committors["layout"]["shapes"]] == [
        "circle",
        "rect",
    ]
    text = re.search(r'id="plotly.js">([^<]+)<', page)[1]
    assert gzip.decompress(base64.b64decode(text)).startswith(b"/**\n* plotly.js")


def test_what_is_not_finite_stays_empty():
    assert numbers([1.0, np.nan, np.inf, 123456.789]) == [1.0, None, None, 123460.0]
    low, high, line = curve(np.arange(2.0), np.ones(2), "k", "#0072B2", (np.zeros(2), np.full(2, 2.0)))
    assert low["y"] == [0.0, 0.0] and high["fill"] == "tonexty" and line["customdata"] == [[0.0, 2.0], [0.0, 2.0]]
    cells = heatmap((np.arange(3.0), np.arange(2.0)), np.array([[1.0], [np.nan]]), "q", "%{z}")
    assert cells["z"] == [[1.0, None]]  # row by row of y
    json.dumps(cells, allow_nan=False)


def test_the_map_is_the_mean_over_the_frames_of_each_cell():
    rng = np.random.default_rng(1)
    values = rng.uniform(0.0, 1.0, (4000, 2))
    disc = Outline({"x": (-0.3, 0.1), "y": (0.4, 0.8)}, True, {"x": None, "y": None})
    far = Outline({"x": (5.0, np.inf)}, False, {"x": None})
    found = CommittorMap.of(values, values[:, 0], {"A": disc, "B": far}, ("x", "y"))
    assert found.frames.sum() == 4000 and np.isnan(found.mean[found.frames == 0]).all()
    middle = 0.5 * (found.edges[0][1:] + found.edges[0][:-1])
    full = found.frames > 10
    assert np.abs(found.mean - middle[:, None])[full].max() < 0.5 * np.diff(found.edges[0])[0]
    assert found.limits[0][0] < -0.3 and found.limits[0][1] < 1.2  # room for A, none for what is far
    assert limits_with({}, ("x", "y"), values)[0][0] > -0.1  # negative control


def test_molecules_keep_their_shapes():
    problem, rng = licl.build(), np.random.default_rng(2)
    ions = drawn_atoms(problem)
    assert ions.tolist() == [0, 1]
    frames = np.repeat(problem.positions[None], 6, 0)
    ways = rng.normal(size=(6, 3))
    frames[:, 1] = frames[:, 0] + np.linspace(0.2, 0.5, 6)[:, None] * ways / np.linalg.norm(ways, axis=1)[:, None]
    paths = PathEnsemble([frames, frames[::-1]], np.ones(2), np.zeros(2), 0.5)
    q = np.linspace(-2.0, 2.0, 6)
    tracks = tracks_of_paths(paths, [q, q[::-1]], problem.states)  # of which one went from B to A
    found = explored_molecule(problem, ions, tracks)
    places = np.frombuffer(base64.b64decode(found["picometers"]), "<i2").reshape(12, 2, 3).astype(float)
    apart = np.linalg.norm(frames[:, 1] - frames[:, 0], axis=1)
    np.testing.assert_allclose(np.linalg.norm(places[:6, 1] - places[:6, 0], axis=1), 1e3 * apart, atol=2.0)
    along = places[:, 1] - places[:, 0]
    along /= np.linalg.norm(along, axis=1)[:, None]
    assert (along @ along[0] > 0.999).all() and (ways @ ways[0]).min() < 0.0  # each laid onto the first
    assert found["elements"] == ["Li", "Cl"] and found["tracks"][1]["label"] == "path 2 of 2"
    assert all(each["notes"][5] == "frame 6 of 6, 2.5 ps, predicted committor 0.88" for each in found["tracks"])
    np.testing.assert_allclose(np.linalg.norm(places[6:, 1] - places[6:, 0], axis=1), 1e3 * apart, atol=2.0)  # from A to B
    long = Track("long", np.zeros((1000, 2, 3)), [str(n) for n in range(1000)]).thinned(7)
    assert len(long.frames) == 7 and long.notes[0] == "0" and long.notes[-1] == "999"
    assert explored_molecule(problem, np.array([], dtype=int), tracks) is None


def test_saved_paths_of_ions_can_be_played(tmp_path):
    pytest.importorskip("mdtraj")
    problem = licl.build()
    frames = np.repeat(problem.positions[None], 4, 0)
    frames[:, 1] = frames[:, 0] + np.array([[0.2, 0.3, 0.4, 0.5], [0.1, 0.0, 0.0, 0.0], [0.0, 0.0, 0.2, 0.1]]).T
    shares, zeros, along = np.array([0.2, 0.8]), np.zeros(2, dtype=int), [np.linspace(0.1, 0.9, 4)] * 2
    paths = [frames.astype(np.float32), frames[::-1].astype(np.float32)]
    saved = SavedPaths(paths, shares, shares, zeros, zeros, np.array([30, 30]), 10, along, along, 2)
    result = {"saved_paths": write_saved_paths(tmp_path, saved, problem)}
    run = SimpleNamespace(path=tmp_path / "run.nc")
    _, _, found = draw_saved_molecule(run, result)
    assert found["elements"] == ["Li", "Cl"] and [each["label"][:12] for each in found["tracks"]] == [
        "path-002.dcd",
        "path-001.dcd",
    ]
    assert found["tracks"][0]["notes"][3].startswith("frame 4, ") and found["tracks"][0]["notes"][3].endswith("committor 0.90")
    places = np.frombuffer(base64.b64decode(found["picometers"]), "<i2").reshape(8, 2, 3).astype(float)
    apart = 1e3 * np.linalg.norm(frames[::-1, 1] - frames[::-1, 0], axis=1)
    np.testing.assert_allclose(np.linalg.norm(places[:4, 1] - places[:4, 0], axis=1), apart, atol=2.0)
    table = tmp_path / "paths" / "paths.csv"
    (tmp_path / "away.dcd").write_bytes((tmp_path / "paths" / "path-002.dcd").read_bytes())
    kept = table.read_text()
    table.write_text(kept.replace("path-002.dcd", "../away.dcd"))
    assert draw_saved_molecule(run, result) is None  # what a table names outside of its folder is not read
    table.write_text(kept)
    (tmp_path / "paths" / "path-002.dcd").write_bytes(b"damaged")
    assert draw_saved_molecule(run, result) is None


@pytest.mark.parametrize(
    ("place", "shown"),
    [("biased", "biased"), ("first.npz", "../first.npz"), ("run/own.npz", "own.npz"), ("/else/a.xtc", "a.xtc")],
)
def test_first_paths_are_named_from_the_folder_of_the_run(tmp_path, place, shown):
    given = place if place == "biased" or place.startswith("/") else str(tmp_path / place)
    assert _as_named(tmp_path / "run", given) == shown
