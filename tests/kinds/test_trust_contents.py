"""Kind 12: files made by hand, with right checksums: contents that no run writes are named in one line, in little memory."""

import json
import os
import re
import shutil
import struct
import time

import numpy as np
import openmm
import pytest
from click.testing import CliRunner

import fabricated
from openmm_rare.cli.main import main
from openmm_rare.config.run import load_config
from openmm_rare.errors import InputError
from openmm_rare.folders.path_record import PathRecord
from openmm_rare.io.files import npy_array, read_npz, write_json, write_npz
from openmm_rare.io.regular_file import regular_file
from openmm_rare.io.run_file import RunFile
from openmm_rare.io.text import format_columns, format_table
from openmm_rare.io.toml import read_toml
from openmm_rare.structure.files import read_system
from openmm_rare.trust.system_xml import checked_xml


def refused(done, *patterns):
    """One line, exit status 2."""
    lines = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert done.exit_code == 2 and len(lines) == 1, done.output
    for pattern in patterns:
        assert re.search(pattern, lines[0]), lines[0]


# --- System


def plain_system():
    made = openmm.System()
    made.addParticle(1.0)
    made.addForce(openmm.HarmonicBondForce())
    return openmm.XmlSerializer.serialize(made)


def test_an_element_that_never_ends_is_refused_in_a_moment(tmp_path):
    """An attribute of 50 MB took minutes: expat began again with each 2 kB."""
    path = tmp_path / "system.xml"
    text = plain_system()
    path.write_text(text.replace("<System ", f'<System x="{"a" * 50_000_000}" ', 1))
    began = time.process_time()
    with pytest.raises(InputError, match="an element of more than 4 MB"):
        checked_xml(path)
    assert time.process_time() - began < 2.0
    path.write_text(text.replace("<System ", f'<System x="{"a" * 1_000_000}" ', 1))  # negative control
    assert len(checked_xml(path)) > 1_000_000


def test_large_systems_are_rehearsed_too(tmp_path):
    """What crashes OpenMM is no better in a large file."""
    deep = "(" * 100_000 + "x" + ")" * 100_000
    force = (
        f'<Force dimension="0" type="CustomExternalForce" version="1" energy="{deep}" forceGroup="0" name="a">'
        f"<PerParticleParameters/><GlobalParameters/><EnergyParameterDerivatives/><Particles>{{}}</Particles></Force></Forces>"
    )
    path = tmp_path / "system.xml"
    path.write_text(plain_system().replace("</Forces>", force.format('<Particle index="0"/>' * 300_000)))
    assert path.stat().st_size > 6e6
    with pytest.raises(InputError, match="no System that OpenMM can run"):
        read_system(path)


def test_files_of_the_operating_system_are_not_read(tmp_path):
    (tmp_path / "start.pdb").symlink_to("/proc/kmsg")
    with pytest.raises(InputError, match="is a file of the operating system"):
        regular_file(tmp_path / "start.pdb")


# --- configuration


@pytest.mark.parametrize(
    "line", ["system" + ".a" * 3000 + " = 1", "variables" + ".a" * 100 + " = 1", "[system.descriptor" + ".part" * 5000 + "]"]
)
def test_dotted_keys_lie_no_deeper_than_brackets(tmp_path, line):
    (tmp_path / "config.toml").write_text(f"{line}\n")
    with pytest.raises(InputError, match="too deep within each other"):
        load_config(tmp_path / "config.toml")
    assert read_toml("a" + ".a" * 40 + " = 1")  # negative control


@pytest.mark.parametrize("value", [f"0x{'f' * 5000}", f"[0, 0x{'f' * 17}]", "-9223372036854775809"])
def test_whole_numbers_have_64_bits(value):
    with pytest.raises(InputError, match="more than 64 bits"):
        read_toml(f"[sampling]\ntarget_error = {value}")
    assert read_toml("a = [9223372036854775807, -9223372036854775808]")


# --- arrays


def npy(kind, shape, data=b""):
    text = str({"descr": kind, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (64 - (11 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize("kind", ["<U0", "|S0", "|V0", "|V4", "<M8[ns]"])
def test_arrays_are_of_numbers_or_text_that_take_space(kind):
    """A text of no letters takes no space in the file, but 4 bytes in memory: 10^9 of them were 4 GB."""
    with pytest.raises(ValueError, match="holds no numbers or text"):
        npy_array(npy(kind, (10**9,) if kind[-1] == "0" else (1,), bytes(0 if kind[-1] == "0" else int(kind[2]))), "x")
    assert npy_array(npy("<U1", (2,), "ab".encode("utf-32-le")), "x").tolist() == ["a", "b"]


RECORDS = {
    "metadata": ('["a"]', "{}", '{"fingerprint": 5}'),
    "digests": ("[1]", "null", '{"a": 1}'),
    "models": ("5", "null", "[1]"),
    "notes": ("[1]", '{"a": 1}'),
}
COLUMNS = {
    "cycle": lambda column: column[:, None],
    "chain": lambda column: column.astype(complex),
    "weight": lambda column: column * np.nan,
    "n_frames": lambda column: column - 10**6,
    "accepted": lambda column: column.astype(str),
}


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """A small path sampling run."""
    pytest.importorskip("openpathsampling")
    from executors import workers_here

    from openmm_rare.tps import sampler

    folder = tmp_path_factory.mktemp("paths") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "Processes", workers_here)
        done = CliRunner().invoke(main, ["tps", "double_well_1d", "--trials", "5", "--out", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


def test_records_of_paths_hold_what_a_run_writes(sampled, tmp_path):
    folder = shutil.copytree(sampled, tmp_path / "run")
    arrays = read_npz(folder / "shots.npz", "")
    changes = [(name, np.array(text)) for name, texts in RECORDS.items() for text in texts]
    changes += [(f"trials/{name}", change(arrays[f"trials/{name}"])) for name, change in COLUMNS.items()]
    changes += [("run", np.array(5)), ("config", np.array(["a"]))]
    for name, value in changes:
        write_npz(folder / "shots.npz", arrays | {name: value})
        with pytest.raises(InputError, match="shots.npz is truncated or damaged") as caught:
            PathRecord.load(folder)
        assert "\n" not in str(caught.value), name
    write_npz(folder / "shots.npz", arrays)
    assert PathRecord.load(folder).cycles == 5


# --- results and records of rates


@pytest.mark.parametrize("name", ["foo.nc", "flux.abc.nc", "flux.000000 (1).nc", "a.b.c.nc", "flux.-1.nc"])
def test_only_records_lie_beside_a_run_file(tmp_path, name):
    folder = fabricated.run_folder(tmp_path / "run")
    (folder / "run.nc.parts").mkdir(exist_ok=True)
    (folder / "run.nc.parts" / name).write_bytes(b"x")
    refused(CliRunner().invoke(main, ["report", str(folder)]), "is none of the records of a run.*: remove it")


@pytest.mark.parametrize(
    "changed",
    [{"rate_per_ps": "a"}, {"notes": 5}, {"channels": [1]}, {"versions": ["a"]}, {"method": "a"}, {"wall_seconds": "a"}, None],
)
def test_results_that_no_run_writes_are_named(tmp_path, changed):
    folder = fabricated.run_folder(tmp_path / "run")
    result = json.loads((folder / "result.json").read_text())
    result.pop("checksum")
    write_json(folder / "result.json", {"a": 1} if changed is None else result | changed, checked=True)
    done = CliRunner().invoke(main, ["report", str(folder)])
    refused(done, "files in .* hold what no run writes there .*: restore them from a copy")


def test_records_that_no_run_writes_are_named(tmp_path):
    folder = fabricated.run_folder(tmp_path / "run")
    run = RunFile.open(folder / "run.nc")
    run.append("reference", {"x": 1})
    run.finalize()
    refused(CliRunner().invoke(main, ["report", str(folder)]), "the record reference .* has no 'rate_per_ps'|has no 'label'")


def test_a_result_and_records_of_different_times_are_refused(tmp_path):
    """Each is whole and of the run, but the report would show the numbers of one and the figures of the other."""
    folder, before = tmp_path / "run", tmp_path / "before"
    command = ["rate", "double_well_1d", "--temperature", "900 K", "--brute-force", "--out", str(folder)]
    report = ["report", str(folder)]
    assert CliRunner().invoke(main, [*command, "--target-error", "0.4"]).exit_code == 0
    shutil.copytree(folder, before)
    assert CliRunner().invoke(main, [*command, "--target-error", "0.05", "--resume"]).exit_code == 0
    result = json.loads((folder / "result.json").read_text())
    assert CliRunner().invoke(main, report).exit_code == 0  # negative control
    for name in ("result.json", "run.nc"):
        content = (folder / name).read_bytes()
        shutil.copy(before / name, folder / name)
        refused(CliRunner().invoke(main, report), "are of different times.*continue it with --resume")
        done = CliRunner().invoke(main, [*command, "--target-error", "0.05", "--resume"])
        assert done.exit_code == 0, done.output
        again = json.loads((folder / "result.json").read_text())
        assert again["rate_per_ps"] == result["rate_per_ps"] and again["records"] == result["records"]
        (folder / name).write_bytes(content)


@pytest.mark.skipif(os.sep != "/", reason="names of files with a backslash")
def test_names_of_folders_that_netcdf_takes_for_others(tmp_path, monkeypatch):
    for name in ("a\\b", "file:", "a#b", "a b?c"):
        folder = fabricated.run_folder(tmp_path / "here")
        folder.rename(tmp_path / name)
        monkeypatch.chdir(tmp_path)
        done = CliRunner().invoke(main, ["report", name])
        if "\\" in name:
            refused(done, "netCDF takes .* in names for /: give the folder another name")
        else:
            assert done.exit_code == 0, done.output


def test_no_tex_runs_whatever_a_matplotlibrc_says(tmp_path, monkeypatch):
    """One in the present folder counts before all others, and TeX runs programs; labels asked for it when they were made."""
    import matplotlib
    from matplotlib.texmanager import TexManager

    from openmm_rare.report.style import new_figure, save_figure

    asked = []
    monkeypatch.setattr(
        TexManager, "get_text_width_height_descent", lambda *given, **named: asked.append(given) or (1.0, 1.0, 0.0)
    )
    with matplotlib.rc_context({"text.usetex": True}):
        figure, (ax,) = new_figure()
        ax.set_xlabel("x")
        ax.text(0.5, 0.5, "text")
        assert ax.xaxis.label.get_usetex() or ax.texts[0].get_usetex()  # negative control
        save_figure(figure, tmp_path / "figure.png")
    assert not asked and (tmp_path / "figure.png").stat().st_size > 1000


# --- the terminal


def test_names_command_no_terminal(tmp_path):
    """Click strips escapes where there is no terminal, and only those of one kind."""
    evil = "\x1b[2J\x9b31m\r\u202eabc"
    spelled = r"\x1b[2J\x9b31m\r\u202eabc"
    assert format_table([("System", [("name", evil)])]) == f"System\n  name  {spelled}"
    assert format_columns(["a"], [[evil]]).endswith(spelled)
    (tmp_path / "config.toml").write_text('[system]\nxml = "\\u001b[2J\\u009b31m"\npdb = "x"\n')
    done = CliRunner().invoke(main, ["rate", str(tmp_path / "config.toml")], color=True)
    refused(done, re.escape(r"\x1b[2J\x9b31m"))
    assert done.output.strip().isprintable()
