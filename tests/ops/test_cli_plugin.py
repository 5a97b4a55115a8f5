"""The command line of OpenPathSampling with our plugins: the example's input file, in processes of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch

from line import make_model
from openmm_rare import CommittorModel
from openmm_rare.systems import jung_42d
from openmm_rare.tps import ops_cli
from processes import in_fresh, open_storage  # noqa: F401 (the latter for the processes)

pytest.importorskip("paths_cli", reason="openpathsampling-cli is not installed: pip install openmm-rare[ops,ops-cli]")
pytest.importorskip("yaml", reason="pyyaml is not installed: pip install openmm-rare[ops,ops-cli]")

EXAMPLE = Path(__file__).parents[2] / "examples" / "jung_42d"


def plugins():
    """The module in which the command line finds our plugins."""
    import paths_cli_plugins.openmm_rare

    return paths_cli_plugins.openmm_rare


def openpathsampling(*arguments):
    """Run one command; returns what it says."""
    from click.testing import CliRunner
    from paths_cli.cli import main

    done = CliRunner().invoke(main, [str(each) for each in arguments])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.output


@pytest.fixture
def folder(tmp_path):
    """The example's files, and a model where its input file says."""
    for name in ("config.toml", "tps.yml"):
        shutil.copy(EXAMPLE / name, tmp_path)
    (tmp_path / "runs" / "jung_42d_tps").mkdir(parents=True)
    target = jung_42d.build()
    torch.manual_seed(1)
    model = CommittorModel(target.descriptor_spec(), 14, (8,), target.temperature, target.fingerprint())
    model.save(tmp_path / "runs" / "jung_42d_tps" / "model.npz")
    return tmp_path


def set_up(folder, name, setup):
    """Compile an input file, and find a first path."""
    code = f"""
        from test_cli_plugin import *
        openpathsampling("compile", "{name}", "-o", "{setup}")
        assert "frames is in {setup}" in openpathsampling("first-path", "config.toml", "-a", "{setup}")
    """
    in_fresh(code, folder)


def only_mover(storage, n=3):
    """The mover of the scheme in a storage of n steps, after a look at what it is made of."""
    assert [step.mccycle for step in storage.steps] == list(range(n + 1))
    (mover,) = storage.schemes[0].movers["shooting"]
    assert type(mover.engine).__name__ == "RareEventEngine" and mover.engine.platform_name == "Reference"
    assert [(type(state).__name__, state.name) for state in mover.states] == [("StateVolume", "A"), ("StateVolume", "B")]
    return mover


def test_the_example_is_compiled_and_sampled_and_learns(folder):
    set_up(folder, "tps.yml", "setup.db")
    code = """
        from test_cli_plugin import *
        openpathsampling("pathsampling", "setup.db", "-o", "paths.db", "-n", 3)
        mover = only_mover(open_storage("paths.db", "r"))
        before, kept = mover.selector.model.tensors(), CommittorModel.load("runs/jung_42d_tps/model.npz").tensors()
        assert all((before[name] == kept[name]).all() for name in kept)  # the stored selector has the model of the file
        openpathsampling("committor-sampling", "setup.db", "-o", "learned.db", "-n", 12, "--learned", "new.npz")
        after = CommittorModel.load("new.npz").tensors()
        assert any((after[name] != kept[name]).any() for name in kept)
        only_mover(open_storage("learned.db", "r"), 12)
    """
    in_fresh(code, folder)


def test_aimless_shooting_is_compiled_to_netcdf_and_sampled(folder):
    """The second process has not imported anything of ours but what the command line finds."""
    text = (folder / "tps.yml").read_text(encoding="utf8")
    text = text[: text.index("  - type: committor-shooting")]
    scheme = "  - {type: aimless-shooting, network: network, engine: engine, offset: 2, corrected: false}\n"
    (folder / "aimless.yml").write_text(text + scheme, encoding="utf8")
    set_up(folder, "aimless.yml", "setup.nc")
    command = [sys.executable, "-m", "paths_cli.cli", "pathsampling", "setup.nc", "-o", "paths.nc", "-n", "3"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code = """
        from test_cli_plugin import *
        mover = only_mover(open_storage("paths.nc", "r"))
        assert (type(mover).__name__, mover.offset, mover.corrected) == ("AimlessShootingMover", 2, False)
    """
    in_fresh(code, folder)


@pytest.mark.parametrize(
    ("plugin", "given", "message"),
    [
        ("SELECTOR", {"model": "nothing.npz"}, "model = 'nothing.npz': there is no such file; `openmm-rare tps CONFIG`"),
        ("SELECTOR", {"model": "model.npz", "form": "best"}, "form = 'best' must be one of lorentzian, gaussian, uniform"),
        ("SELECTOR", {"model": "model.npz", "width": 0}, "width = 0.0 must be positive"),
        ("SELECTOR", {"model": "config.toml"}, "config.toml is not a readable committor model"),
        ("CONFIGURED_ENGINE", {"config": "none.toml"}, "config = 'none.toml': there is no such file"),
        ("STATE", {"config": "config.toml", "state": "C"}, "state = 'C' must be one of A, B: the states of config.toml"),
    ],
)
def test_wrong_input_is_named(plugin, given, message, folder, monkeypatch):
    monkeypatch.chdir(folder)
    shutil.copy("runs/jung_42d_tps/model.npz", "model.npz")
    with pytest.raises(click.ClickException, match=message):
        getattr(plugins(), plugin)(given)


def test_objects_that_do_not_fit_are_refused(folder, monkeypatch):
    monkeypatch.chdir(folder)
    engine = ops_cli.configured_engine("config.toml")
    make_model(1.0).save("line.npz")
    selector = ops_cli.selector_with_model("line.npz")
    with pytest.raises(ValueError, match="one for 1 atoms, but the engine has 14: give the model"):
        ops_cli.selector_scheme(None, selector, engine)
    with pytest.raises(ValueError, match="the engine is a NoneType, but these move schemes need one of the types openmm-rare"):
        ops_cli.aimless_scheme(None, None)
