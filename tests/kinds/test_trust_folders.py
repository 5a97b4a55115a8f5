"""Kind 12: run folders of somebody else: they are reported on and analyzed without any of their code, or with all of it."""

import html
import json
import os
import re
import shutil
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner
from executors import workers_here

import chain4
from openmm_rare.cli.main import main
from openmm_rare.config.run import load_config
from openmm_rare.errors import UntrustedCodeError
from openmm_rare.folders.path_folder import PathRecord, load_path_sampling, read_path_ensemble

pytest.importorskip("openpathsampling")

BUILDER = chain4.BUILDER + (
    "\n\ndef counted():\n    import pathlib\n"
    "    with open(pathlib.Path(__file__).with_name('calls'), 'a') as stream:\n        stream.write('1')\n    return build()\n"
)


def calls(folder):
    """How often the builder has run."""
    return len((folder / "calls").read_text()) if (folder / "calls").exists() else 0


def command(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of ten trials whose System comes from a function."""
    from openmm_rare.tps import sampler
    from openmm_rare.workflow.path_sampling import run_path_sampling

    home = tmp_path_factory.mktemp("home")
    path = chain4.write(home, BUILDER)
    path.write_text(path.read_text().replace(":build", ":counted"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "Processes", workers_here)
        run_path_sampling(load_config(path), home / "out")
    return home


@pytest.fixture
def run(made, tmp_path):
    """A copy of the folder of the run alone, which names the builder of the other."""
    assert calls(made) > 0  # negative control
    return shutil.copytree(made / "out", tmp_path / "out")


def test_a_report_runs_nothing(made, run):
    before = calls(made)
    (run / "report.html").unlink()
    done = command("report", run)
    assert done.exit_code == 0 and "--trust" not in done.output
    page = html.unescape((run / "report.html").read_text())
    there = html.unescape((made / "out" / "report.html").read_text()).replace(str(made / "out"), str(run))
    there = there.replace('= ".."', f'= "{os.path.relpath(made, run)}"')
    tables, details = (r"<table.*?</table>|<img.*?>|<figcaption.*?</figcaption>", r"<details>.*?</details>")
    assert all(re.findall(tables, each, re.DOTALL) for each in (page, there)) and 'class="molecule"' in there
    for kind in (tables, details):  # but for a molecule to turn, which the code of the folder would make
        assert [part for part in re.findall(kind, there, re.DOTALL) if "largest weights" not in part] == re.findall(
            kind, page, re.DOTALL
        )
    (run / "figures" / "paths.png").unlink()
    done = command("report", run)
    said = "Without code of this folder there is no figure of paths in the variables of the states"
    assert done.exit_code == 0 and said in done.output and "--trust" in done.output
    page = (run / "report.html").read_text()
    assert said in page and "Where paths run" not in page and "Yield and acceptance" in page
    assert calls(made) == before
    done = command("report", run, "--trust")
    assert done.exit_code == 0 and "--trust" not in done.output and calls(made) == before + 1
    assert "Where paths run" in (run / "report.html").read_text()


def test_an_analysis_runs_nothing(made, run):
    before = calls(made)
    done = command("analyze", run, "--configurations", "0", "--formula-inputs", "0")
    assert done.exit_code == 2 and done.output.startswith("Error: ") and done.output.count("\n") == 1
    assert "names code, and none runs here: if you trust whoever made it, give --trust" in done.output
    with pytest.raises(UntrustedCodeError):
        load_path_sampling(run)
    assert len(read_path_ensemble(run).paths) > 0  # numbers
    assert calls(made) == before
    assert load_path_sampling(run, trust=True)[0].name == "chain" and calls(made) == before + 1


def test_a_folder_with_its_own_builder_runs_nothing_either(made, run):
    """Nor is a module of the folder taken, for a command that only reads."""
    text = (run / "config.toml").read_text()
    module = next(line for line in text.splitlines() if line.startswith("builder")).split('"')[1].partition(":")[0]
    (run / f"{module}_too.py").write_text("import pathlib\npathlib.Path(__file__).with_name('canary').mkdir()\n" + BUILDER)
    lines = [line for line in text.splitlines() if not line.startswith(("folder", "# sha256"))]
    record = PathRecord.load(run)
    record.config = None  # what it says of the builder can be forged, too
    record.save(run)
    (run / "config.toml").write_text("\n".join(lines).replace(f"{module}:", f"{module}_too:"))
    assert command("report", run).exit_code == 0 and command("analyze", run).exit_code == 2
    assert not (run / "canary").exists()
    assert command("report", run, "--trust").exit_code == 0 and (run / "canary").is_dir()  # negative control


def test_a_run_is_continued_by_the_code_of_who_continues_it(made, run, tmp_path, monkeypatch):
    """The code that the folder names is not even looked at."""
    from openmm_rare.tps import sampler

    monkeypatch.setattr(sampler, "Processes", workers_here)
    mine = tmp_path / "mine"
    mine.mkdir()
    path = chain4.write(mine)
    before = calls(made)
    done = command("tps", path, "--out", run, "--resume", "--trials", "12")
    assert done.exit_code == 0 and "12 in 1 chain" in done.output, done.output
    assert calls(made) == before
    path = chain4.write(mine, timestep='"2 fs"')
    done = command("tps", path, "--out", run, "--resume", "--trials", "14")
    assert done.exit_code == 2 and "is of another system, other states or other dynamics" in done.output


def storage(
    path, rows=(), kinds=("simtk(unit.nanometer/unit.picosecond)*ndarray.float32(4,3)",), modules=("openpathsampling.sample",)
):
    """A file as SimStore writes them, in miniature."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE schema ('table' VARCHAR, schema VARCHAR)")
        connection.execute("CREATE TABLE tables (name VARCHAR, idx INTEGER, module VARCHAR, class_name VARCHAR)")
        connection.execute("CREATE TABLE simulation_objects (idx INTEGER, uuid VARCHAR, json VARCHAR)")
        connection.executemany("INSERT INTO schema VALUES ('t', ?)", [(json.dumps([["x", kind]]),) for kind in kinds])
        connection.executemany("INSERT INTO tables VALUES ('t', 0, ?, 'C')", [(module,) for module in modules])
        connection.executemany("INSERT INTO simulation_objects VALUES (0, 'u', ?)", [(json.dumps(row),) for row in rows])
        connection.commit()
    return path


def plain(**about):
    return {"__class__": "PathSampling", "__module__": "openpathsampling.pathsimulators.path_sampling", **about}


STATE = json.dumps({"variables": [], "region": {"kind": "FunctionRegion", "function": "somewhere:f"}})
STORED = {
    "a function": {"rows": [plain(hook=[{"__callable_name__": "f", "_dilled": "gASV"}])]},
    "an object of 'os'": {"rows": [{"__class__": "system", "__module__": "os"}]},
    "an object of 'openpathsampling.engines.gromacs": {
        "rows": [plain(engine=[plain(__module__="openpathsampling.engines.gromacs")])]
    },
    "a program in its system": {"rows": [plain(system_xml='<System type="System"><Force type="Python&#x46;orce"/></System>')]},
    "a state with a function": {"rows": [plain(definition=STATE)]},
    "the type": {"kinds": ["simtk(unit.sys.modules['os'].system('true'))*ndarray.float32(4,3)"]},
    "a table of 'antigravity'": {"modules": ["antigravity"]},
}


@pytest.mark.parametrize("said", list(STORED))
def test_a_storage_with_code_is_not_opened(tmp_path, said):
    from openmm_rare.ops.storage_code import require_no_code

    with pytest.raises(
        UntrustedCodeError, match="which reading it would run and this run did not write: move it away"
    ) as caught:
        require_no_code(storage(tmp_path / "steps.db", **STORED[said]))
    assert f"holds {said}" in str(caught.value) and "\n" not in str(caught.value)


def test_a_storage_of_the_run_itself_is_opened(tmp_path):
    from openmm_rare.ops.storage_code import require_no_code

    system = '<System type="System"><Force type="PythonForce"/></System>'
    rows = [plain(definition=STATE, system_xml=system, of=[{"__class__": "tuple", "__module__": "builtins", "list": [1]}])]
    require_no_code(storage(tmp_path / "steps.db", rows), [STATE, system])
    (tmp_path / "damaged.db").write_bytes(b"SQLite format 3\0" + bytes(1000))
    with pytest.raises(ValueError, match="is no readable storage of OpenPathSampling"):
        require_no_code(tmp_path / "damaged.db")
