"""Run folders of the time when all modules of the package lay in one folder: later versions read them and go on with them.

tests/data/make_before_the_move.py wrote them: a rate to 30 %, and thirty trials of path sampling with a storage of
OpenPathSampling, which remembers the modules of its classes.
"""

import json
import sqlite3
import tarfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from openmm_rare import CommittorModel
from openmm_rare.cli.main import main
from openmm_rare.config.run import load_config
from openmm_rare.io.toml import read_toml

ARCHIVE = Path(__file__).parent / "data" / "before_the_move.tar.xz"
NEW = {"importance", "block_ps", "few_walkers", "equilibration_ps", "calibration_roots", "calibration_rounds", "tree_roots"}
OWN = {"wall_seconds", "checksum", "versions"}  # of each process that writes a result


@pytest.fixture
def old(tmp_path):
    """A folder with ``rate`` and ``tps``, and the configurations that they were made from."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def run(*words):
    done = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def result(folder, name="result.json"):
    return {key: value for key, value in json.loads((folder / name).read_text()).items() if key not in OWN}


def test_a_rate_is_reported(old):
    run("report", old / "rate")
    assert "data:image/png" in (old / "rate" / "report.html").read_text()
    assert result(old / "rate")["rate_per_ps"] == pytest.approx(0.006051797619971058)


def assert_same(found, value, key):
    """The same to six digits: last ones are of the processor."""
    if isinstance(value, dict):
        for inner in value:
            assert_same(found[inner], value[inner], f"{key} {inner}")
    elif isinstance(value, list) and len(found) == len(value):
        for one, other in zip(found, value, strict=True):
            assert_same(one, other, key)
    else:
        assert found == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), key


def test_a_rate_goes_on_where_it_ended(old):
    before = result(old / "rate")
    run("rate", old / "rate.toml", "--seed", 1, "--out", old / "rate", "--resume")
    again = result(old / "rate")
    for key, value in before.items():  # from the records alone, by the code of today
        assert_same(again[key], value, key)
    run("rate", old / "rate.toml", "--seed", 1, "--target-error", 0.095, "--out", old / "rate", "--resume")
    after = result(old / "rate")
    assert after["rate_stderr"] / after["rate_per_ps"] < 0.095 < before["rate_stderr"] / before["rate_per_ps"]
    assert after["training_walker_steps"] == before["training_walker_steps"] and after["walker_steps"] > before["walker_steps"]


@pytest.mark.parametrize("name", ["rate", "tps"])
def test_a_configuration_is_written_as_it_was(old, name):
    path = old / name / "config.toml"
    before, again = read_toml(path.read_text()), read_toml(load_config(path).to_toml())
    again |= {"folder": before["folder"], "folder_from_here": before["folder_from_here"]}
    new = {key: set(again[key]) - set(before[key]) for key in before if isinstance(before[key], dict)}
    assert {
        key: {k: v for k, v in again[key].items() if k in before[key]} if key in new else again[key] for key in again
    } == before
    assert new.pop("sampling") <= NEW and not any(new.values())  # which have their defaults


def test_a_damaged_record_is_noticed(old):
    """Negative control: what is read is the file."""
    content = bytearray((old / "rate" / "run.nc").read_bytes())
    content[len(content) // 2] ^= 1
    (old / "rate" / "run.nc").write_bytes(content)
    done = CliRunner().invoke(main, ["report", str(old / "rate")])
    assert done.exit_code == 2 and "run.nc" in done.output


def test_a_model_says_what_it_said(old):
    positions = np.zeros((3, 1, 3))
    positions[:, 0, 0] = -0.1, 0.0, 0.1
    logits = CommittorModel.load(old / "rate" / "model.npz").logit(positions)
    assert logits == pytest.approx([-1.54977, -0.42769, 0.62716], abs=1e-4)  # as it said then


def test_path_sampling_is_reported_and_analyzed(old):
    pytest.importorskip("openpathsampling")
    run("report", old / "tps")
    assert "data:image/png" in (old / "tps" / "report.html").read_text()
    run("analyze", old / "tps", "--configurations", 0, "--formula-inputs", 0)
    assert result(old / "tps" / "mechanism", "analysis.json")


def storage_of(folder):
    return folder / "tps" / "chain-0" / "steps.db"


def steps_in(path):
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT COUNT(*) FROM steps").fetchone()[0]


def more_trials(old):
    before = steps_in(storage_of(old))
    output = run("tps", old / "tps.toml", "--seed", 1, "--trials", 32, "--out", old / "tps", "--resume")
    return steps_in(storage_of(old)) - before, output


def test_path_sampling_goes_on_in_its_storage(old):
    pytest.importorskip("openpathsampling")
    more, output = more_trials(old)
    assert more == 2 and "steps.damaged" not in output and not list((old / "tps" / "chain-0").glob("*damaged*"))


def test_a_storage_of_classes_that_have_moved_is_put_away(old):
    """Negative control: the addresses in a storage matter."""
    pytest.importorskip("openpathsampling")
    with sqlite3.connect(storage_of(old)) as connection:
        changed = connection.execute(
            "UPDATE simulation_objects SET json = replace(json, 'openmm_rare.ops.engine', 'openmm_rare.tps.engine')"
        ).rowcount
        connection.execute("DROP TABLE openmm_rare_checksums")
        assert changed and steps_in(storage_of(old))
    done = CliRunner().invoke(
        main, ["tps", str(old / "tps.toml"), "--seed", "1", "--trials", "32", "--out", str(old / "tps"), "--resume"]
    )
    assert done.exit_code != 0 and "openmm_rare.tps.engine" in done.output
