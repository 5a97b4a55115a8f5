"""The commands `latent check`, `fit` and `sample`: what they leave, what they refuse, and that a kill loses nothing."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from openmm_rare.cli.main import main
from openmm_rare.committor.load import load_committor
from openmm_rare.config.run import load_config
from openmm_rare.errors import InputError
from openmm_rare.io.files import write_npz
from openmm_rare.io.run_file import RunFile
from openmm_rare.io.tasks import Silent
from openmm_rare.io.toml import Section
from openmm_rare.latent.potential import LatentPotential
from openmm_rare.settings.latent import LatentSettings
from openmm_rare.systems import two_channel_2d
from openmm_rare.workflow.latent.fit import run_latent_fit
from openmm_rare.workflow.latent.sample import sample_latent

ALANINE = """
[system]
name = "alanine_dipeptide"
temperature = "600 K"
parameters = { solvent = "none", transition = "phi" }

[latent]
runs = 2
frames = 300
steps_per_frame = 5
equilibration = 500
training_steps = 40
latent_steps = 20
walkers = 50
"""
METHYLS = """
[latent.descriptor]
kind = "group_centers"
groups = [[0, 1, 2, 3], "name CB or name HB1 or name HB2 or name HB3", [18, 19, 20, 21]]
part = { kind = "pair_distances", labels = ["ACE", "CB", "NME"] }
"""
PLANE = """
[system]
name = "two_channel_2d"
temperature = "600 K"

[latent]
trajectories = ["spread.npz"]
biased = true
training_steps = 800
latent_steps = 50
walkers = 50
"""


def written(folder, text):
    path = Path(folder) / "config.toml"
    path.write_text(text)
    return path


def fit(path, out, **options):
    return run_latent_fit(load_config(path), out, progress=Silent(), **options)


@pytest.fixture(scope="module")
def alanine(tmp_path_factory):
    """A short fit, with its configuration."""
    folder = tmp_path_factory.mktemp("alanine")
    path = written(folder, ALANINE + METHYLS)
    return path, folder / "out", fit(path, folder / "out")


def test_a_fit_leaves_a_model_a_page_and_honest_numbers(alanine):
    _, out, result = alanine
    assert result["coordinates"] == ["r ACE-CB", "r ACE-NME", "r CB-NME"] and result["unit"] == "nm"
    assert result["condition"]["verdict"].startswith("admissible") and result["metric"] == "pair_distances"
    assert result["frames"] == 600 and result["comparison"]["kl_floor"] > 0.0 and len(result["left_out"]) == 2
    assert "no frame is in B" in result["committor"]["none"]
    potential = LatentPotential.load(out / "model.npz", 600.0)
    assert potential.digest() == result["model"] and len(potential.starts) == 256
    page = (out / "report.html").read_text(encoding="utf8")
    assert "ACE-NME" in page and "data:image/png" in page and "1/ps" not in page
    assert not any("rate" in key or key.endswith("_ps") for key in json.loads((out / "latent.json").read_text()))
    (out / "report.html").unlink()
    done = CliRunner().invoke(main, ["report", str(out)])
    assert done.exit_code == 0 and (out / "report.html").is_file()


def test_a_fit_can_be_made_again_from_recorded_frames_with_other_coordinates(alanine, tmp_path):
    path, out, first = alanine
    again = fit(path, out, resume=True)
    assert again["model"] == first["model"]
    two = METHYLS.replace(", [18, 19, 20, 21]]", "]").replace('"CB", "NME"', '"CB"')
    other = fit(written(tmp_path, ALANINE + two), out, resume=True)
    assert other["coordinates"] == ["r ACE-CB"] and other["metric"] == "pair_distances"
    assert RunFile.open(out / "run.nc").kinds["frames"] == first["records"]["frames"]
    with pytest.raises(InputError, match=r"latent.frames = 301 differs"):
        fit(written(tmp_path, ALANINE.replace("= 300", "= 301") + two), out, resume=True)
    fit(path, out, resume=True)


def test_a_killed_fit_goes_on_as_if_it_had_not_been(alanine, tmp_path):
    path, _, first = alanine
    arguments = ["latent", "fit", str(path), "--out", str(tmp_path / "out")]
    code = f"from openmm_rare.cli.main import main; main({arguments!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    parts = tmp_path / "out" / "run.nc.parts"
    until = time.monotonic() + 60
    while not (parts.is_dir() and any(parts.glob("frames.*.nc"))) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / "latent.json").exists()
    assert fit(path, tmp_path / "out", resume=True)["model"] == first["model"]


def test_sampling_says_what_was_rejected_and_refuses_another_temperature(alanine, tmp_path):
    _, out, _ = alanine
    told = sample_latent(out, tmp_path / "frames.npz", 600.0, walkers=40, steps=30, progress=Silent())
    with np.load(tmp_path / "frames.npz") as archive:
        assert archive["coordinates"].shape[1] == 3 and list(archive["names"])[0] == "r ACE-CB"
    assert told["acceptance"] > 0.5 and set(told["rejected"]) == {"energy", "unconverged", "irreversible", "outside"}
    done = CliRunner().invoke(main, ["latent", "sample", str(out), "--temperature", "300 K"])
    assert done.exit_code == 2 and "a free energy at 600 K and says nothing at 300 K" in done.output
    done = CliRunner().invoke(main, ["latent", "sample", str(out / "model.npz"), "--steps", "5", "--walkers", "5"])
    assert done.exit_code == 0 and "rates, times, durations" in done.output


def test_what_cannot_be_is_refused_in_one_line_before_any_dynamics(tmp_path):
    cases = {
        "crosses the boundary of a group": '[latent.descriptor]\nkind = "dihedrals"\natoms = [[4, 6, 8, 14]]\n',
        "follows from the others": METHYLS.replace("{ kind", '{ kind = "concatenate", parts = [{ kind').replace(
            " }", ' }, { kind = "pair_distances" }] }'
        ),
        "must list different atoms": METHYLS.replace("[18, 19", "[0, 19"),
        "[18.5, 19, 20, 21]] do not": METHYLS.replace("[18, 19", "[18.5, 19"),
        "of 1 sites has no coordinates": METHYLS.replace(
            ', "name CB or name HB1 or name HB2 or name HB3", [18, 19, 20, 21]', ""
        ).replace(', labels = ["ACE", "CB", "NME"]', ""),
        "is known for all distances": 'metric = "exact"\nlatents = 2\n' + METHYLS,
        "has unknown keys ['grups']": METHYLS.replace("groups", "grups"),
        "must be one of auto": 'metric = "euclid"\n' + METHYLS,
        "unknown key 'frame'": "frame = 3\n" + METHYLS,
        "is of frames in latent.trajectories": "biased = true\n" + METHYLS,
        "there.npz does not exist": 'trajectories = ["there.npz"]\n' + METHYLS,
    }
    for said, text in cases.items():
        out = tmp_path / "out"
        done = CliRunner().invoke(main, ["latent", "fit", str(written(tmp_path, ALANINE + text)), "--out", str(out)])
        assert done.exit_code == 2 and said in done.output and len(done.output.splitlines()) == 1, (said, done.output)
        assert not out.exists()


def test_frames_too_few_or_all_the_same_are_refused_before_anything_is_written(tmp_path):
    few = written(tmp_path, ALANINE.replace("frames = 300", "frames = 12") + METHYLS)
    with pytest.raises(InputError, match="24 frames are too few for a free energy: give 40 at least"):
        fit(few, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write_npz(tmp_path / "spread.npz", {"positions": np.tile(two_channel_2d.build().positions, (60, 1, 1))})
    with pytest.raises(InputError, match="is the same in all frames"):
        fit(written(tmp_path, PLANE), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_any_share_may_be_held_out_and_shares_are_plain_numbers(tmp_path):
    result = fit(written(tmp_path, ALANINE + "held_out = 0.999\n" + METHYLS), tmp_path / "out")
    assert 0 < result["fit"]["n_held_out"] < result["frames"]
    assert not any("e+" in sentence for sentence in result["warnings"])
    with pytest.raises(InputError, match="in a folder that is there"):
        sample_latent(tmp_path / "out", tmp_path / "nowhere" / "frames.npz", progress=Silent())


def test_check_tells_candidates_apart_and_exits_with_3(tmp_path):
    text = ALANINE + 'strict = false\n[latent.descriptor]\nkind = "coordinates"\ncolumns = [0]\n'
    refused = CliRunner().invoke(main, ["latent", "check", str(written(tmp_path, text))])
    assert refused.exit_code == 3 and "refused: the constraint between" in refused.output
    candidates = """
[latent.candidates.shared]
kind = "group_centers"
groups = [[0, 1, 2, 3], [10, 11, 12, 13], [18, 19, 20, 21]]
part = { kind = "subset", atoms = [0, 1], part = { kind = "pair_distances" } }
"""
    done = CliRunner().invoke(main, ["latent", "check", str(written(tmp_path, ALANINE + METHYLS + candidates))])
    assert done.exit_code == 0 and done.output.count("admissible: Q and its velocities are exact") == 2


def test_strict_refuses_what_is_not_admissible(tmp_path):
    bent = """
[latent.descriptor]
kind = "group_centers"
groups = [[0, 1, 2, 3], [10, 11, 12, 13], [18, 19, 20, 21]]
part = { kind = "internal_coordinates", angles = [[0, 1, 2]] }
"""
    with pytest.raises(InputError, match=r"not admissible: Q exact, velocities not"):
        fit(written(tmp_path, ALANINE + "strict = true\n" + bent), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result = fit(written(tmp_path, ALANINE + bent), tmp_path / "out")
    assert any("Q exact, velocities not (violation" in sentence for sentence in result["warnings"])
    assert result["metric"] == "constant" and not result["reliable"]


def test_spread_frames_of_a_plane_give_the_exact_committor(tmp_path):
    """The coordinates are all there is: the model that a rate may start from is the committor itself."""
    spread = np.random.default_rng(1).uniform([-1.5, -1.3, 0.0], [1.5, 1.3, 0.0], (8000, 1, 3))
    np.savez(tmp_path / "spread.npz", positions=spread)
    result = fit(written(tmp_path, PLANE), tmp_path / "out")
    assert result["comparison"] is None and result["committor"]["file"] == "committor.npz"
    problem = two_channel_2d.build(600.0)
    model = load_committor(tmp_path / "out" / "committor.npz", problem.fingerprint())
    exact = two_channel_2d.exact(600.0)
    x, y = np.meshgrid(exact.x, exact.y, indexing="ij")
    likely = (exact.committor > 1e-6) & (exact.committor < 1.0 - 1e-6) & (exact.density > 1e-14 * exact.density.max())
    points = np.stack([x[likely], y[likely], 0.0 * x[likely]], 1)[:, None]
    off = model.log_importance(points) - np.log(exact.committor[likely])
    assert likely.sum() > 1000 and np.sqrt(np.mean(off**2)) < 0.5
    at_random = np.random.default_rng(0).permutation(off + np.log(exact.committor[likely])) - np.log(exact.committor[likely])
    assert np.sqrt(np.mean(at_random**2)) > 2.0  # negative control


def test_one_trajectory_may_be_named_without_a_list():
    for given in ("one.dcd", ["one.dcd"]):
        assert LatentSettings.parse(Section({"trajectories": given}, "latent")).trajectories == ("one.dcd",)
