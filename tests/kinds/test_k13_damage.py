"""K13: files that were cut, overwritten or edited are named in one line or change nothing; never are they believed."""

import errno
import hashlib
import json
import re
import shutil
import sqlite3

import numpy as np
import pytest

pytest.importorskip("openpathsampling")

from click.testing import CliRunner
from executors import workers_here

import fabricated
from openmm_rare.cli.main import main
from openmm_rare.config.run import load_config
from openmm_rare.config.stored import restore_config, run_identity, stored_config
from openmm_rare.errors import InputError
from openmm_rare.folders.path_files import read_paths, storage_of_chain, write_paths
from openmm_rare.folders.path_folder import PathRecord, load_path_sampling
from openmm_rare.io import files, run_file
from openmm_rare.io.checksums import SEAL_LENGTH, parse_checked_json, toml_with_checksum, unchecked_note
from openmm_rare.io.files import read_npz, write_json, write_npz
from openmm_rare.io.run_file import RunFile
from openmm_rare.ops.storage_check import damage_of_storage
from openmm_rare.paths.direct_committor import ShotRecord
from openmm_rare.tps import sampler

RNG = np.random.default_rng(7)


def command(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


def refused(done, *patterns):
    """One line, exit status 2."""
    lines = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert done.exit_code == 2 and len(lines) == 1, done.output
    for pattern in patterns:
        assert re.search(pattern, lines[0]), lines[0]


def flatten(value):
    """Something that is equal for equal content, to the bit."""
    if isinstance(value, dict):
        return {key: flatten(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [flatten(each) for each in value]
    return (value.shape, value.dtype.str, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)


def damages(content, n):
    """Cuts, flipped bits and blocks of zeros."""
    size, places = len(content), RNG.integers(0, len(content), n)
    for number, place in enumerate(places.tolist()):
        kind = ("cut", "bit", "end", "zeros", "tail")[number % 5]
        damaged = bytearray(content)
        if kind == "cut":
            del damaged[place:]
        elif kind in ("bit", "end"):
            damaged[place if kind == "bit" else size - 1 - place % min(size, 200)] ^= 1 << int(RNG.integers(8))
        else:
            stop = size if kind == "tail" else min(size, place + int(RNG.choice([512, 4096, 65536])))
            damaged[place:stop] = bytes(stop - place)
        yield f"{kind} at {place} of {size}", bytes(damaged)


def never_believed(path, read, n):
    """Read a file with each damage: an error that names it, or the content as it was. Returns how often it was named."""
    content, whole, named = path.read_bytes(), flatten(read()), 0
    for what, damaged in damages(content, n):
        path.write_bytes(damaged)
        try:
            found = flatten(read())
        except InputError as error:
            assert path.name in str(error) and "\n" not in str(error), what
            named += 1
        else:
            assert found == whole, what
    path.write_bytes(content)
    return named


# --- a rate


@pytest.fixture
def rate(tmp_path):
    return fabricated.run_folder(tmp_path / "rate")


def test_figures_that_a_kill_left_half_are_removed(rate):
    half = rate / "figures" / ".training.77.tmp.png"
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(b"half")
    files.remove_stale(rate)
    assert not half.exists() and (rate / "run.nc").exists()


def load_all(folder):
    run = RunFile.open(folder / "run.nc")
    with run.opened():
        return {"attributes": run.attributes} | {kind: run.load(kind) for kind in run.kinds}


def test_damaged_run_files_are_named(rate):
    assert never_believed(rate / "run.nc", lambda: load_all(rate), 40) >= 38
    run = RunFile.open(rate / "run.nc")
    run.append("flux", {"frames": np.arange(5000), "in_a": np.ones(300)})
    run.append("flux", {"frames": np.arange(5000)})
    part = rate / "run.nc.parts" / f"flux.{0:06d}.nc"
    assert never_believed(part, lambda: load_all(rate), 40) >= 38


def test_zeros_in_a_record_are_seen(tmp_path, monkeypatch):
    """As power loss leaves them. Negative control: without the checksum the record comes back as zeros."""
    run = RunFile.create(tmp_path / "run.nc")
    run.append("flux", {"frames": np.arange(1, 100_001, dtype=np.int64)})
    run.finalize()
    path, content = tmp_path / "run.nc", bytearray((tmp_path / "run.nc").read_bytes())
    start = content.index(np.arange(1, 50, dtype=np.int64).tobytes())
    content[start : start + 800_000] = bytes(800_000)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"run.nc is truncated or damaged \(its checksum does not fit"):
        RunFile.open(path)
    monkeypatch.setattr(run_file, "require_intact", lambda path: True)
    assert not RunFile.open(path).load("flux")[0]["frames"].any()


def test_a_record_is_all_that_is_summed_up_for_it(rate, monkeypatch):
    """However large the run file is."""
    sums, original = [], run_file.seal
    monkeypatch.setattr(run_file, "seal", lambda *content: sums.append(sum(map(len, content))) or original(*content))
    run = RunFile.open(rate / "run.nc")
    run.append("flux", {"frames": np.zeros(10)})
    assert len(sums) == 1 and sums[0] + SEAL_LENGTH == (run.parts / "flux.000000.nc").stat().st_size < 20_000


def test_records_without_their_run_file_begin_no_run(rate):
    RunFile.open(rate / "run.nc").append("flux", {"frames": np.zeros(10)})
    (rate / "run.nc").unlink()
    with pytest.raises(InputError, match=r"run.nc.parts holds records of a run whose run.nc is gone"):
        RunFile.create(rate / "run.nc")


def test_damaged_results_are_named(rate):
    path = rate / "result.json"
    assert never_believed(path, lambda: parse_checked_json(path, "run again"), 40) >= 38
    path.write_text(path.read_text().replace("0.441", "0.541"))
    refused(command("report", rate), "result.json is truncated or damaged", "--resume, which writes it again")


def test_a_checksum_leaves_json_as_it_is(tmp_path):
    values = {"x": 0.5, "deep": {"text": 'with "checksum": and }\n}', "list": [1, {}]}}
    write_json(tmp_path / "a.json", values, checked=True)
    assert parse_checked_json(tmp_path / "a.json", "") == values
    with_sum = json.loads((tmp_path / "a.json").read_text())
    assert with_sum.pop("checksum").startswith("sha256 ") and with_sum == values


def test_a_disk_that_is_full_at_the_first_record_is_told(tmp_path, monkeypatch):
    """Clearing up failed on the folder of records, and said that instead."""
    written = run_file.write_bytes

    def full(path, *content):
        if path.parent.name.endswith(".parts"):
            raise OSError(errno.ENOSPC, "no space left on the disk")
        written(path, *content)

    monkeypatch.setattr(run_file, "write_bytes", full)
    refused(command("rate", "double_well_1d", "--brute-force", "--out", tmp_path / "run"), "no space left on the disk")
    assert not (tmp_path / "run").exists()


# --- configurations


def change(path, old, new, keep_checksum=True):
    text = path.read_text()
    assert old in text
    text = text.replace(old, new)
    path.write_text(text if keep_checksum else re.sub("# sha256 .*\n", "", text))


def test_a_changed_configuration_is_not_believed(tmp_path):
    """A temperature with one bit flipped gave another rate; the message has the key and both values."""
    folder = tmp_path / "run"
    begun = ("rate", "double_well_1d", "--out", folder, "--brute-force")
    assert command(*begun, "--temperature", "900 K", "--target-error", "0.4").exit_code == 0
    config = folder / "config.toml"
    before = config.read_text()
    says = r"config.toml says {0} = {1}, but the run was made with {0} = {2}: put that value back, or remove it"
    for key, old, new in [
        ("system.temperature", '"900.0 K"', '"908.0 K"'),
        ("sampling.seed", "1", "3"),
        ("sampling.n_slots", "1000", "1800"),
    ]:
        short = key.partition(".")[2]
        for kept in (True, False):
            change(config, f"{short} = {old}", f"{short} = {new}", kept)
            for again in (("rate", "double_well_1d", "--out", folder, "--resume"), ("report", folder)):
                refused(command(*again), says.format(re.escape(key), new.strip('"'), old.strip('"')))
            config.write_text(before)
    change(config, "target_error = 0.4", "target_error = 0.3")
    refused(command("report", folder), "damaged or edited.*If you edited it, remove its last line, the checksum")
    change(config, "target_error = 0.3", "target_error = 0.3", keep_checksum=False)
    assert command("report", folder).exit_code == 0
    assert stored_config(folder).sampling.target_error == 0.3
    config.write_bytes(b"\0" * 100)
    refused(command("report", folder), "not valid TOML.*remove it: --resume writes it again")
    config.unlink()
    done = command("rate", "double_well_1d", "--out", folder, "--resume")
    assert done.exit_code == 0 and config.read_text() == before, done.output


def test_a_kill_between_two_files_leaves_no_contradiction(tmp_path):
    """run.nc has the configuration of a continued run before config.toml has it."""
    folder = tmp_path / "run"
    begun = ("rate", "double_well_1d", "--temperature", "900 K", "--out", folder, "--brute-force")
    assert command(*begun, "--target-error", "0.4").exit_code == 0
    before = (folder / "config.toml").read_text()
    assert command(*begun, "--resume", "--target-error", "0.3").exit_code == 0
    (folder / "config.toml").write_text(before)
    assert command("report", folder).exit_code == 0
    done = command(*begun, "--resume", "--target-error", "0.3")
    assert done.exit_code == 0 and load_config(folder / "config.toml").sampling.target_error == 0.3, done.output


def test_a_folder_may_be_moved_and_its_place_written_down(tmp_path):
    text = toml_with_checksum(f'folder = "{tmp_path}"\n\n' + fabricated.CONFIG)
    (tmp_path / "config.toml").write_text(text.replace(str(tmp_path), "."))
    assert stored_config(tmp_path).folder == str(tmp_path)
    (tmp_path / "config.toml").write_text(text.replace("600.0 K", "608.0 K"))
    with pytest.raises(InputError, match="damaged or edited"):
        stored_config(tmp_path)


# --- paths


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """A small path sampling run."""
    folder = tmp_path_factory.mktemp("paths") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "Processes", workers_here)
        done = command("tps", "double_well_1d", "--trials", "10", "--chains", "2", "--out", folder)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def tps(sampled, tmp_path, monkeypatch):
    monkeypatch.setattr(sampler, "Processes", workers_here)
    return shutil.copytree(sampled, tmp_path / "tps")


def load_paths(folder):
    _, model, shots, paths = load_path_sampling(folder)
    record = PathRecord.load(folder)
    known = [record.trials, record.states, dict(record.trainer), record.metadata]
    return [model.tensors(), shots.arrays(), list(paths.paths), paths.weights, known]


def test_damaged_archives_are_named(tps):
    for path, n in ((tps / "shots.npz", 30), (tps / "model.npz", 15), (next(tps.glob("chain-*/paths-*.npz")), 15)):
        assert never_believed(path, lambda: load_paths(tps), n) >= n - 2
    never_believed(tps / "config.toml", lambda: load_paths(tps), 30)


def without_checksum(path):
    """As an older version wrote it."""
    content = bytearray(path.read_bytes()[:-SEAL_LENGTH])
    content[-2:] = bytes(2)
    path.write_bytes(content)


def test_shapes_in_old_archives_are_honest(tps):
    """NumPy does not look at the CRC of an array that it reads in part: one bit in the digits of a shape was not seen."""
    path = tps / "shots.npz"
    without_checksum(path)
    content, tried = path.read_bytes(), 0
    for found in re.finditer(rb"'shape': \(([0-9, ]+)\)", content):
        place = found.start(1)
        for bit in range(3):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            if not chr(damaged[place]).isdigit() or damaged[place] == content[place] or chr(damaged[place]) == "0":
                continue
            path.write_bytes(damaged)
            with pytest.raises(InputError, match="shots.npz is truncated or damaged"):
                PathRecord.load(tps)
            tried += 1
    assert tried > 30


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("state/0/positions", lambda a: a[:, :, :2], "a path has the shape"),
        ("state/1/positions", lambda a: a[:-1], "do not fit"),
        ("shots/positions", lambda a: np.concatenate([a, a], axis=1), "numbers of atoms differ"),
        ("shots/positions", lambda a: a[:-1], "the number of shooting points is not that of the trials with an outcome"),
        ("trials/n_a", lambda a: 0 * a, "the number of shooting points is not that of the trials with an outcome"),
        ("shots/n_passed", lambda a: a + 1, "columns of the passages have different lengths"),
        ("trials/accepted", lambda a: a[:-1], "columns of the trials have different lengths"),
        ("trials/chain", lambda a: a + 1, "chains that are not there"),
        ("shots/positions", lambda a: a * np.nan, "not finite"),
    ],
)
def test_arrays_must_fit_each_other(tps, name, change, message):
    """Whoever wrote them: this file has a right checksum."""
    arrays = read_npz(tps / "shots.npz", "")
    write_npz(tps / "shots.npz", arrays | {name: change(arrays[name])})
    with pytest.raises(InputError, match=f"shots.npz is truncated or damaged .*{message}.*copy a backup of it back"):
        PathRecord.load(tps)


def test_settings_of_sampled_paths_are_those_of_the_record(tps):
    change(tps / "config.toml", "steps_per_frame = 10", "steps_per_frame = 18")
    for again in (("report", tps), ("analyze", tps), ("tps", "double_well_1d", "--out", tps, "--resume")):
        refused(command(*again), "path_sampling.steps_per_frame = 18, but the run was made with .* = 10: put that value back")
    (tps / "config.toml").unlink()
    restore_config(tps, PathRecord.load(tps).config)
    assert stored_config(tps).path_sampling.steps_per_frame == 10


def test_old_folders_open_with_a_note(tps, rate):
    assert unchecked_note(tps) is unchecked_note(rate) is None
    for path in (tps / "shots.npz", tps / "model.npz"):
        without_checksum(path)
    text = (tps / "config.toml").read_text()
    (tps / "config.toml").write_text(re.sub("# sha256 .*\n", "", text))
    assert command("report", tps).exit_code == 0
    said = "config.toml, model.npz, shots.npz in .* have no checksum, so that damage could have gone unnoticed"
    assert re.search(said, (tps / "report.html").read_text())
    done = command("tps", "double_well_1d", "--out", tps, "--resume")
    assert done.exit_code == 0 and "shots.npz" in json.loads((tps / "result.json").read_text())["notes"][0]


def old_run_file(path, monkeypatch):
    """A run file as an older version wrote it."""
    with monkeypatch.context() as patch:
        patch.setattr(run_file, "_FORMAT", run_file._UNSEALED)
        patch.setattr(run_file, "seal", lambda content: b"")
        patch.setattr(run_file.RunFile, "__init__", lambda self, path: None)
        RunFile.create(path, {"config": fabricated.CONFIG})
    return path


def test_old_run_files_open_and_are_sealed_when_they_are_joined(tmp_path, monkeypatch):
    path = old_run_file(tmp_path / "run.nc", monkeypatch)
    run = RunFile.open(path)
    assert "run.nc in" in unchecked_note(tmp_path)
    run.append("flux", {"frames": np.arange(5)})
    run.finalize()
    assert unchecked_note(tmp_path) is None
    assert RunFile.open(path).load("flux")[0]["frames"].tolist() == [0, 1, 2, 3, 4]
    path.write_bytes(path.read_bytes()[: -SEAL_LENGTH // 2])  # a new file whose checksum is cut is no old one
    with pytest.raises(InputError, match="truncated or damaged"):
        RunFile.open(path)


# --- storages of chains


def damage_in(folder, chain):
    return damage_of_storage(storage_of_chain(folder, chain), f"{PathRecord.load(folder).run} {chain}")


def test_damaged_storages_are_named_and_set_aside(tps):
    path = storage_of_chain(tps, 0)
    assert damage_in(tps, 0) is None
    content, named = path.read_bytes(), 0
    for page in RNG.permutation(len(content) // 4096)[:12].tolist():
        damaged = bytearray(content)
        damaged[4096 * page : 4096 * (page + 1)] = bytes(4096)
        path.write_bytes(damaged)
        named += damage_in(tps, 0) is not None
    assert named == 12
    place = content.index(read_npz(tps / "shots.npz", "")["state/0/positions"][3].astype(np.float32).tobytes())  # in a row
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    assert re.search("rows .* of statics0 do not fit their checksum", damage_in(tps, 0))
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE openmm_rare_checksums")  # negative control: SQLite sees nothing
    other.close()
    assert damage_in(tps, 0) is None
    path.write_bytes(content[: len(content) // 2])
    before = {key: value for key, value in json.loads((tps / "result.json").read_text()).items() if key != "checksum"}
    done = command("tps", "double_well_1d", "--out", tps, "--resume")
    after = json.loads((tps / "result.json").read_text())
    (note,) = [each for each in after["notes"] if each not in before["notes"]]
    assert "chain-0/steps.db was damaged" in note and "kept as steps.damaged.db" in note and note in done.output
    assert {key: after[key] for key in before if key != "notes"} == {key: before[key] for key in before if key != "notes"}
    assert path.with_name("steps.damaged.db").exists() and note in (tps / "report.html").read_text() or done.exit_code == 0


def test_the_storage_of_another_chain_is_set_aside(tps):
    path, other = storage_of_chain(tps, 0), storage_of_chain(tps, 1)
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    assert damage_in(tps, 0) == "it is that of another run or chain"
    done = command("tps", "double_well_1d", "--out", tps, "--resume")
    assert done.exit_code == 0 and "steps.db was damaged (it is that of another run or chain)" in done.output
    with sqlite3.connect(other) as unmarked:  # negative control: nothing else tells them apart
        unmarked.execute("DROP TABLE openmm_rare_owner")
    unmarked.close()
    path.write_bytes(other.read_bytes())
    assert damage_in(tps, 0) is None
    path.write_bytes(content)
    assert damage_in(tps, 0) is None


def test_what_a_kill_before_the_first_record_left_is_written_again(tmp_path, monkeypatch):
    folder, call = tmp_path / "t", ("tps", "double_well_1d", "--trials", "5", "--out", tmp_path / "t", "--resume")
    monkeypatch.setattr(sampler, "Processes", workers_here)
    with monkeypatch.context() as patch:
        patch.setattr(sampler.PathSampler, "run", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        command(*call)
    assert PathRecord.load(folder).cycles == 0
    storage_of_chain(folder, 0).write_bytes(b"SQLite format 3, half written")
    (folder / "chain-0" / ".paths-000000.77.tmp.npz").write_bytes(b"half")
    done = command(*call)
    assert done.exit_code == 0 and "steps.db" not in done.output, done.output
    assert PathRecord.load(folder).cycles == 5 and damage_in(folder, 0) is None
    assert not list(folder.rglob(".*.tmp*"))


def test_a_new_storage_takes_the_place_of_a_damaged_one(tps):
    path = storage_of_chain(tps, 1)
    path.write_bytes(b"\0" * 5000)
    done = command("tps", "double_well_1d", "--out", tps, "--resume", "--trials", "15")
    assert done.exit_code == 0, done.output
    assert damage_in(tps, 0) is None and damage_in(tps, 1) is None
    with sqlite3.connect(path) as new:
        assert new.execute("SELECT count(*) FROM steps").fetchone() == (5,)
    new.close()
    assert PathRecord.load(tps).cycles == 15 and any(
        "a new one holds the steps from trial 11" in n for n in PathRecord.load(tps).notes
    )


# --- fresh shots


def test_damaged_lines_of_fresh_shots_are_named(tmp_path):
    path = tmp_path / "shots.jsonl"
    record = ShotRecord(path, {"seed": 1})
    for number in range(4):
        record.add(number, RNG.integers(1, 3, 300).astype(np.int8))
    record.close()

    def read():
        again = ShotRecord(path, {"seed": 1})
        again.close()
        return again.results

    content = path.read_bytes()
    place = content.index(b'"ends": "') + 20
    path.write_bytes(content[:place] + bytes([content[place] ^ 3]) + content[place + 1 :])  # 1 becomes 2
    with pytest.raises(InputError, match=r"shots.jsonl is damaged \(the checksum of block 0 does not fit\): remove it"):
        read()
    path.write_bytes(content)
    assert len(read()) == 4


def test_sums_are_of_the_content(tmp_path):
    write_npz(tmp_path / "a.npz", {"x": np.arange(3)})
    content = (tmp_path / "a.npz").read_bytes()
    assert content.endswith(hashlib.sha256(content[:-SEAL_LENGTH]).hexdigest().encode())
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:  # any reader of archives takes it
        assert archive["x"].tolist() == [0, 1, 2]
    assert files.require_whole_npz(tmp_path / "a.npz")


# --- whole files, of another run or another place


def records(folder, run, value):
    made = RunFile.create(folder / "run.nc", {"run": run})
    for number in range(2):
        made.append("flux", {"frames": np.full(3, 10 * value + number)})
    return folder / "run.nc.parts"


def frames(folder):
    return [each["frames"][0] for each in RunFile.open(folder / "run.nc").load("flux")]


@pytest.mark.parametrize("joined", [False, True])
def test_records_of_another_run_are_refused(tmp_path, joined):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    mine, other = records(tmp_path / "one", "a", 1), records(tmp_path / "other", "b", 2)
    if joined:  # those after a run was finished and continued
        run = RunFile.open(tmp_path / "one" / "run.nc")
        run.finalize()
        run.append("flux", {"frames": np.full(3, 12)})
        RunFile.open(tmp_path / "other" / "run.nc").append("flux", {"frames": np.full(3, 22)})
    last = sorted(mine.iterdir())[-1]
    shutil.copy(other / last.name, last)
    with pytest.raises(InputError, match=rf"{last.name} is a record of another run than .*run.nc; restore it from a copy"):
        frames(tmp_path / "one")
    with pytest.raises(InputError, match="of another run"):
        RunFile.open(tmp_path / "one" / "run.nc").finalize()


def test_records_that_know_no_run_are_taken_as_they_are(tmp_path):
    """Negative control, and the files of earlier versions."""
    for name, value in (("one", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        records(tmp_path / name, "a", value)
    shutil.copy(tmp_path / "other" / "run.nc.parts" / "flux.000001.nc", tmp_path / "one" / "run.nc.parts")
    assert frames(tmp_path / "one") == [10, 21]


@pytest.mark.parametrize(("old", "new"), [("flux.000000.nc", "flux.000001.nc"), ("flux.000001.nc", "pilot.000000.nc")])
def test_renamed_records_are_refused(tmp_path, old, new):
    parts = records(tmp_path, "a", 1)
    shutil.copy(parts / old, parts / new)
    with pytest.raises(InputError, match=rf"{new} holds the record {old[:-3]}, not what its name says; restore"):
        RunFile.open(tmp_path / "run.nc").load(new.partition(".")[0])


def test_what_a_run_is_does_not_change_when_it_goes_on():
    config = fabricated.CONFIG + "target_error = 0.1\n"
    assert run_identity(config, "f") == run_identity(config.replace("0.1", "0.05"), "f")
    others = [(config.replace("seed = 1", "seed = 2"), "f"), (config.replace("600", "601"), "f"), (config, "g")]
    assert len({run_identity(*each) for each in [(config, "f"), *others]}) == 4


def test_paths_of_another_round_or_run_are_refused(tmp_path):
    (tmp_path / "chain-0").mkdir()
    digests, made = {}, {cycle: RNG.normal(size=(4, 1, 3)).astype(np.float32) for cycle in range(1, 5)}
    write_paths(tmp_path, 0, 0, {1: made[1]}, digests)
    write_paths(tmp_path, 0, 1, {3: made[3], 4: made[4]}, digests)
    before = dict(digests)
    write_paths(tmp_path, 0, 0, {2: made[2]}, digests, done=1)
    assert list(read_paths(tmp_path, 0, 0, before, 1)) == [1]  # killed before the trials of the second stretch counted
    assert list(read_paths(tmp_path, 0, 0, digests, 2)) == [1, 2]
    shutil.copy(tmp_path / "chain-0" / "paths-000001.npz", tmp_path / "chain-0" / "paths-000000.npz")
    with pytest.raises(InputError, match="paths-000000.npz does not hold the paths that this run wrote there: copy a backup"):
        read_paths(tmp_path, 0, 0, digests, 4)
    assert list(read_paths(tmp_path, 0, 0, {}, 4)) == [3, 4]  # negative control: without digests
    (tmp_path / "chain-0" / "paths-000000.npz").unlink()
    with pytest.raises(InputError, match="paths-000000.npz is missing: copy a backup of it back"):
        read_paths(tmp_path, 0, 0, digests, 4)


@pytest.fixture(scope="module")
def of_another_seed(tmp_path_factory):
    """As `sampled`, but for the seed."""
    folder = tmp_path_factory.mktemp("other-paths") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "Processes", workers_here)
        done = command("tps", "double_well_1d", "--trials", "10", "--chains", "2", "--seed", "2", "--out", folder)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def other_first_paths(tmp_path):
    """As another run would have them."""
    write_npz(tmp_path / "other.npz", {"0": np.linspace([[-2.0, 0.0, 0.0]], [[2.0, 0.0, 0.0]], 5).astype(np.float32)})
    return tmp_path / "other.npz"


def test_files_of_another_path_sampling_run_are_refused(tps, of_another_seed, other_first_paths):
    accepted, other_accepted = (next(folder.glob("chain-*/paths-*.npz")) for folder in (tps, of_another_seed))
    said = {
        accepted.relative_to(tps): "paths-000000.npz does not hold the paths that this run wrote there",
        "first-paths.npz": "first-paths.npz does not hold the paths that this run wrote there",
        "model.npz": "model.npz is another model than this run wrote there; continue the run with --resume",
        "result.json": "result.json says seed = 2, but the run in its folder has 1; continue the run with --resume",
    }
    resume = ("tps", "double_well_1d", "--out", tps, "--resume")
    for name, message in said.items():
        content = (tps / name).read_bytes()
        others = {accepted.relative_to(tps): other_accepted, "first-paths.npz": other_first_paths}
        shutil.copy(others.get(name, of_another_seed / name), tps / name)
        refused(command("report", tps), message)
        if name != "first-paths.npz":  # which an analysis does not read
            refused(command("analyze", tps), message)
        (tps / name).write_bytes(content)
    (tps / "first-paths.npz").rename(tps / "kept.npz")
    refused(command("report", tps), "first-paths.npz is missing: copy a backup of it back")
    (tps / "kept.npz").rename(tps / "first-paths.npz")
    model, result = (tps / "model.npz").read_bytes(), (tps / "result.json").read_bytes()
    for name in ("model.npz", "result.json"):
        shutil.copy(of_another_seed / name, tps / name)
    assert command(*resume).exit_code == 0  # which is what the message says
    assert (tps / "model.npz").read_bytes() == model and (tps / "result.json").read_bytes() == result


def test_folders_without_digests_are_taken_as_they_are(tps, of_another_seed, other_first_paths):
    """Negative control, and the folders of earlier versions."""
    arrays = read_npz(tps / "shots.npz", "")
    write_npz(tps / "shots.npz", {name: value for name, value in arrays.items() if name not in ("digests", "models", "run")})
    content = json.loads((tps / "result.json").read_text())
    write_json(tps / "result.json", {key: content[key] for key in content if key not in ("run", "checksum")}, checked=True)
    before = load_path_sampling(tps)[1].tensors()
    shutil.copy(other_first_paths, tps / "first-paths.npz")
    shutil.copy(of_another_seed / "model.npz", tps / "model.npz")
    assert command("report", tps).exit_code == 0
    assert flatten(load_path_sampling(tps)[1].tensors()) != flatten(before)


def test_a_missing_record_of_paths_is_said_and_no_path_is_removed(tps):
    (tps / "shots.npz").unlink()
    paths = {path: path.read_bytes() for path in tps.glob("chain-*/paths-*.npz")}
    for again in (("report", tps), ("analyze", tps), ("tps", "double_well_1d", "--out", tps, "--resume")):
        refused(command(*again), "shots.npz, the record of the path sampling run in .*, is missing: copy a backup of it back")
    assert paths and all(path.read_bytes() == content for path, content in paths.items())


def test_results_of_another_rate_are_refused(tmp_path, sampled):
    begun = ("rate", "double_well_1d", "--temperature", "900 K", "--brute-force", "--target-error", "0.4")
    for seed in "12":
        assert command(*begun, "--seed", seed, "--out", tmp_path / seed).exit_code == 0
    own, other = (json.loads((tmp_path / seed / "result.json").read_text()) for seed in "12")
    assert own["run"] == RunFile.open(tmp_path / "1" / "run.nc").attributes["run"] != other["run"]
    content = (tmp_path / "1" / "result.json").read_bytes()
    shutil.copy(tmp_path / "2" / "result.json", tmp_path / "1" / "result.json")
    refused(command("report", tmp_path / "1"), "result.json says seed = 2, but the run in its folder has 1; restore it")
    other.pop("checksum")
    write_json(tmp_path / "1" / "result.json", other | {"seed": 1}, checked=True)  # other settings
    refused(command("report", tmp_path / "1"), "result.json is the result of another run than that in its folder; restore it")
    (tmp_path / "1" / "result.json").write_bytes(content)
    assert command("report", tmp_path / "1").exit_code == 0
    shutil.copy(sampled / "model.npz", tmp_path / "1" / "start_model.npz")
    resumed = command("rate", "double_well_1d", "--out", tmp_path / "1", "--resume")
    refused(resumed, "start_model.npz does not belong to the run in .*, which began without a model: remove it")


def test_a_scan_is_of_the_runs_in_its_folders(tmp_path):
    (tmp_path / "900K").mkdir()
    write_json(tmp_path / "900K" / "result.json", {"run": "a"}, checked=True)
    write_json(tmp_path / "scan.json", {"system": "double_well_1d", "runs": {"900K": "b"}}, checked=True)
    refused(command("report", tmp_path), "scan.json is not of the run in .*900K: restore what was moved there from a copy")
