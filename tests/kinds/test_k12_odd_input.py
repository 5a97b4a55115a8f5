"""Numbers that are none, links that lead to themselves, endless brackets: one line that names the key or the file."""

import os
import re

import pytest

import chain4
from openmm_rare.config.run import build_system, load_config, parse_config
from openmm_rare.errors import InputError
from openmm_rare.folders.path_folder import PathRecord, initial_paths_of
from openmm_rare.report.results import read_json
from openmm_rare.systems import build
from openmm_rare.workflow.rate import configuration

pytest.importorskip("mdtraj")
from openmm_rare.tps.trajectories.formats import read_content  # noqa: E402


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("double_well_1d", {"barrier": "25 nm"}, "barrier = '25 nm' has a unit of another dimension, 'nm'; .*kJ/mol"),
        ("double_well_1d", {"barrier": "high"}, "barrier = 'high' is not a number with a unit"),
        ("double_well_1d", {"barrier": {"x": 1}}, "barrier = .* is not a number"),
        ("double_well_1d", {"barrier": float("nan")}, "barrier = nan is not finite"),
        ("double_well_1d", {"barrier": 10**400}, "barrier = 1.* is not finite"),
        ("double_well_1d", {"barrier": "-3 kJ/mol"}, "barrier = -3 kJ/mol must be a positive energy"),
        ("double_well_1d", {"timestep": [1]}, "timestep = .* is not a number"),
        ("two_channel_2d", {"temperature": True}, "temperature = True is not a number"),
        ("lj7", {"radius_a": [0.1]}, "radius_a = .* is not a number"),
        ("lj7", {"radius_a": 1e300}, "radius_a = 1e.300 must be below"),
        (
            "lj7",
            {"radius_b": "0.1 nm"},
            "radius_b = '0.1 nm' has a unit of another dimension.*: a number without unit",
        ),
        ("lj7", {"kt_over_epsilon": "hot"}, "kt_over_epsilon = 'hot' is not a number"),
        ("lj7", {"timestep_reduced": "x"}, "timestep_reduced = 'x' is not a number"),
        ("jung_42d", {"n_oscillators": 10**9}, "n_oscillators = 1000000000 must be a whole number from 0 to 10000"),
        ("jung_42d", {"n_oscillators": "40"}, "n_oscillators = '40' must be a whole number"),
        ("jung_42d", {"n_oscillators": True}, "n_oscillators = True must be a whole number"),
        ("alanine_dipeptide", {"solvent": ["water"]}, "solvent = .* must be"),
    ],
)
def test_parameters_of_built_in_systems_are_named(name, parameters, message):
    with pytest.raises(InputError, match=message):
        build(name, **parameters)


def test_parameters_may_have_units():
    plain = build("double_well_1d", temperature=400.0, barrier=25.104, timestep=0.01)
    assert (
        build("double_well_1d", temperature="400 K", barrier="6 kcal/mol", timestep="10 fs").fingerprint()
        == plain.fingerprint()
    )
    assert build("lj7", radius_a="0.15").fingerprint() == build("lj7").fingerprint()


@pytest.fixture
def loop(tmp_path):
    """A link that leads to itself."""
    link = tmp_path / "loop"
    try:
        link.symlink_to(link.name)
    except OSError:
        pytest.skip("no links here")
    return link


def test_a_link_that_leads_to_itself_is_no_file(loop, tmp_path):
    config = chain4.write(tmp_path)
    with pytest.raises(OSError, match="symbolic links"):
        load_config(loop)
    with pytest.raises(InputError, match="neither a system nor a file|does not exist"):
        configuration(str(loop.rename(tmp_path / "loop.toml")))
    (tmp_path / "loop.toml").unlink()
    text = config.read_text().replace("[path_sampling]", '[path_sampling]\ninitial_path = "link.npz"')
    (tmp_path / "link.npz").symlink_to("link.npz")
    assert initial_paths_of(parse_config(text, tmp_path))[0].endswith("link.npz")
    files = re.sub(r"builder = .*", 'xml = "link.npz"\npdb = "link.npz"', text)
    with pytest.raises(InputError, match="system.xml = 'link.npz' does not exist"):
        build_system(parse_config(files, tmp_path))


def test_a_name_that_no_file_can_have_is_one_line(tmp_path):
    text = chain4.write(tmp_path).read_text().replace("[path_sampling]", '[path_sampling]\ninitial_path = "a\\u0000b"')
    with pytest.raises(InputError, match=r"'.*a\\x00b' is no name that a file can have"):
        initial_paths_of(parse_config(text, tmp_path))


def test_brackets_and_digits_without_end_are_one_line(tmp_path):
    (tmp_path / "deep.toml").write_text("x = " + "[" * 20_000 + "]" * 20_000)
    with pytest.raises(InputError, match="deep.toml: this is no configuration: its lists and tables lie too deep"):
        load_config(tmp_path / "deep.toml")
    (tmp_path / "long.toml").write_text("x = " + "9" * 6000)
    with pytest.raises(InputError, match="long.toml: .*digits"):
        load_config(tmp_path / "long.toml")
    (tmp_path / "deep.json").write_text("[" * 200_000 + "]" * 200_000)
    with pytest.raises(InputError, match="deep.json is truncated or damaged"):
        read_json(tmp_path / "deep.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
def test_pipes_and_folders_in_the_place_of_files_are_not_waited_for(tmp_path):
    for name in ("config.toml", "shots.npz", "result.json", "path.npz", "path.xtc"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError, match="config.toml is a pipe, a socket or a device: give a file"):
        load_config(tmp_path / "config.toml")
    with pytest.raises(InputError, match="folder.toml is a folder: give a file"):
        load_config(tmp_path / "folder.toml")
    with pytest.raises(InputError, match="shots.npz is a pipe, a socket or a device: give a file"):
        PathRecord.load(tmp_path)
    with pytest.raises(InputError, match="result.json is a pipe, a socket or a device: give a file"):
        read_json(tmp_path / "result.json")
    for name in ("path.npz", "path.xtc"):
        with pytest.raises(InputError, match="there is no such file"):
            read_content(tmp_path / name, chain4.problem())
