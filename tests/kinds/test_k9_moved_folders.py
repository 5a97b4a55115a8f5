"""Run folders that were moved, with their inputs or alone: they work, or the key of the configuration is named."""

import shutil
from dataclasses import replace

import openmm
import pytest
from click.testing import CliRunner
from executors import workers_here
from openmm import app, unit

import chain4
from openmm_rare.cli.main import main
from openmm_rare.config.place import FROM_HERE
from openmm_rare.config.run import RunConfig, SystemConfig, build_system, load_config, parse_config
from openmm_rare.io.files import write_text

FILES = 'xml = "system.xml"\npdb = "start.pdb"'


def inputs(folder, code=None):
    """A configuration with files, or with a builder."""
    folder.mkdir(parents=True)
    config = chain4.write(folder)
    if code is None:
        builder = next(line for line in config.read_text().splitlines() if line.startswith("builder"))
        config.write_text(config.read_text().replace(builder, FILES))
        (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(chain4.system(barrier=8.0)))
        with open(folder / "start.pdb", "w") as stream:
            app.PDBFile.writeFile(chain4.topology(), chain4.positions() * unit.nanometer, stream)
    return config


def recorded(config, out):
    """A run folder with the configuration as a run writes it."""
    out.mkdir(parents=True)
    write_text(out / "config.toml", load_config(config).to_toml(out))
    return out


@pytest.mark.parametrize(("source", "out"), [(".", "out"), (".", "runs/deep/out"), ("inputs", "runs/out"), ("a", "a")])
@pytest.mark.parametrize("code", [None, "builder"])
def test_inputs_that_moved_along_are_found(tmp_path, source, out, code):
    """Case 23."""
    config = inputs(tmp_path / "old" / source, code)
    if out == source:
        write_text(config, load_config(config).to_toml(config.parent))  # a run into the folder of its inputs
    else:
        recorded(config, tmp_path / "old" / out)
    fingerprint = build_system(load_config(tmp_path / "old" / out / "config.toml", trust=True)).fingerprint()
    shutil.move(tmp_path / "old", tmp_path / "new")
    moved = load_config(tmp_path / "new" / out / "config.toml", trust=True)
    assert moved.folder == str((tmp_path / "new" / source).resolve())
    assert build_system(moved).fingerprint() == fingerprint


def test_a_run_folder_that_moved_alone_still_finds_its_inputs(tmp_path):
    config = inputs(tmp_path / "inputs")
    out = recorded(config, tmp_path / "inputs" / "out")
    moved = shutil.move(out, tmp_path / "elsewhere")
    assert load_config(moved / "config.toml").folder == str(config.parent)


def test_inputs_that_are_gone_are_told_with_the_key(tmp_path):
    config = inputs(tmp_path / "inputs")
    out = shutil.move(recorded(config, tmp_path / "inputs" / "out"), tmp_path / "out")
    config.parent.rename(tmp_path / "somewhere")
    message = (
        f"{out / 'config.toml'}: folder = '{config.parent}' is where this run began, but it has no system.xml and no start.pdb"
    )
    with pytest.raises(ValueError, match=message):
        load_config(out / "config.toml")
    text = (out / "config.toml").read_text().replace(f'folder = "{config.parent}"', 'folder = "../somewhere"')
    (out / "config.toml").write_text(text)
    assert load_config(out / "config.toml").folder == str(tmp_path / "somewhere")  # what the message says to do


def test_folders_of_older_runs_are_read_and_their_loss_is_told(tmp_path):
    config = inputs(tmp_path / "inputs")
    out = recorded(config, tmp_path / "inputs" / "out")
    lines = (out / "config.toml").read_text().splitlines()
    (out / "config.toml").write_text("\n".join(line for line in lines if not line.startswith(FROM_HERE)))
    assert load_config(out / "config.toml") == load_config(config)
    config.parent.rename(tmp_path / "new")
    with pytest.raises(ValueError, match=r"folder = '.*inputs' is where this run began"):
        load_config(tmp_path / "new" / "out" / "config.toml")


def test_a_module_that_is_gone_is_told_with_the_key(tmp_path):
    config = inputs(tmp_path / "inputs", "builder")
    out = shutil.move(recorded(config, tmp_path / "inputs" / "out"), tmp_path / "out")
    shutil.rmtree(config.parent)
    with pytest.raises(ValueError, match=r"no module '.*' in .*inputs \(which is not there: folder = ... in the configuration"):
        build_system(load_config(out / "config.toml"))


def test_a_missing_file_of_ones_own_configuration_is_told_as_before(tmp_path):
    config = inputs(tmp_path / "inputs")
    (config.parent / "start.pdb").unlink()
    with pytest.raises(ValueError, match="system.pdb = 'start.pdb' does not exist; looked for"):
        load_config(config)


def test_what_is_written_is_read_back_wherever_it_lies(tmp_path):
    config = load_config(inputs(tmp_path / "inputs"))
    for place in (None, tmp_path / "inputs" / "out", tmp_path / "other", "/"):
        assert parse_config(config.to_toml(place), tmp_path / "any") == config
    builtin = RunConfig(str(tmp_path), SystemConfig(name="double_well_1d"))
    assert parse_config(builtin.to_toml(tmp_path / "runs" / "x"), "/somewhere") == builtin
    assert FROM_HERE not in config.to_toml("/") and FROM_HERE not in config.to_toml()


def test_a_run_is_reported_analyzed_and_continued_after_a_move(tmp_path, monkeypatch):
    """Case 23, with the commands."""
    pytest.importorskip("openpathsampling")
    from openmm_rare.folders.path_folder import load_path_sampling
    from openmm_rare.tps import sampler
    from openmm_rare.workflow.path_sampling import run_path_sampling

    monkeypatch.setattr(sampler, "Processes", workers_here)
    named = inputs(tmp_path / "old")
    named.write_text(named.read_text().replace('name = "chain"', 'name = "<b>x</b> & y"'))
    config = load_config(named)
    config = replace(config, path_sampling=replace(config.path_sampling, trials=10))
    run_path_sampling(config, tmp_path / "old" / "out")
    shutil.move(tmp_path / "old", tmp_path / "new")
    done = CliRunner().invoke(main, ["report", str(tmp_path / "new" / "out")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "new" / "out" / "report.html").read_text()
    assert "<b>" not in page and "Transition paths of &lt;b&gt;x&lt;/b&gt; &amp; y at 300 K" in page
    moved, out = tmp_path / "new" / "config.toml", tmp_path / "new" / "out"
    sampled, own = load_path_sampling(out)[0], build_system(load_config(moved))
    assert sampled.fingerprint() == own.with_check_interval(10).fingerprint() != own.fingerprint()  # tested at frames
    done = CliRunner().invoke(main, ["tps", str(moved), "--out", str(out), "--resume", "--trials", "15"])
    assert done.exit_code == 0 and "15 in 1 chain" in done.output
    assert load_config(tmp_path / "new" / "out" / "config.toml").folder == str(tmp_path / "new")
