"""The run file survives kills, full disks and damage, and gives back what was put in, bit for bit."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from openmm_rare.io import files
from openmm_rare.io.files import lock_folder, remove_stale, replacing, write_json, write_npz, write_text
from openmm_rare.io.run_file import RunFile

RNG = np.random.default_rng(3)
RECORD = {
    "whole": -7,
    "unsigned": 2**64 - 1,
    "real": 0.1,
    "nan": float("nan"),
    "yes": True,
    "no": False,
    "empty_text": "",
    "text": "μ2 → μ3\nsecond line",
    "int8": np.array([-128, 0, 127], dtype=np.int8),
    "int64": np.array([[-(2**63), 2**63 - 1]]),
    "uint8": np.arange(5, dtype=np.uint8),
    "float32": RNG.normal(size=(4, 7, 3)).astype(np.float32),
    "float64": RNG.normal(size=(11, 3)),
    "special": np.array([np.nan, -0.0, np.inf, -np.inf, 5e-324]),
    "bool": np.array([[True, False, True]]),
    "scalar": np.array(2.5),
    "no_rows": np.zeros((0, 7, 3)),
    "words": np.array(["", "a", "ü"]),
    "big_endian": np.arange(4, dtype=">f8"),
    "model/network.0.weight": RNG.normal(size=(3, 2)).astype(np.float32),
    "model/epochs": 4,
    "adam/0/exp_avg": np.ones(3, dtype=np.float32),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.nc"


def assert_same(record, expected):
    assert set(record) == set(expected)
    for name, value in expected.items():
        found = record[name]
        if isinstance(value, np.ndarray):
            assert found.shape == value.shape
            if value.dtype.kind == "U":
                assert found.tolist() == value.tolist()
            else:
                assert found.dtype == value.dtype.newbyteorder("=")
                assert found.tobytes() == value.astype(found.dtype).tobytes(), name
        else:
            assert type(found) is type(value)
            assert found == value or value != value


def test_records_come_back_bit_for_bit_before_and_after_finalize(path):
    run = RunFile.create(path, {"seed": 5, "config": "a = 1\n", "ratio": 0.5})
    other = {**RECORD, "whole": 8}
    run.append("training", RECORD)
    run.append("flux", other)
    run.append("training", other)
    for reader in (run, RunFile.open(path)):
        assert reader.kinds == {"training": 2, "flux": 1}
        assert_same(reader.load("training")[1], other)
    run.finalize()
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["run.nc"]
    again = RunFile.open(path)
    assert again.attributes == {"seed": 5, "config": "a = 1\n", "ratio": 0.5}
    assert_same(again.load("training")[0], RECORD)
    assert_same(again.load("flux")[0], other)
    assert again.load("pilot") == []


def test_only_what_is_asked_for_is_read(path):
    run = RunFile.create(path)
    run.append("flux", RECORD)
    (record,) = run.load("flux", only=("int8", "whole", "model/epochs", "not there"))
    assert_same(record, {name: RECORD[name] for name in ("int8", "whole", "model/epochs")})


def test_a_finished_file_can_be_continued(path):
    run = RunFile.create(path)
    run.append("flux", {"i": 0})
    run.finalize()
    run.append("flux", {"i": 1})
    again = RunFile.open(path)
    again.append("flux", {"i": 2})
    again.finalize()
    again.finalize()
    again.attributes["config"] = "new"
    again.finalize()
    assert [record["i"] for record in RunFile.open(path).load("flux")] == [0, 1, 2]
    assert RunFile.open(path).attributes == {"config": "new"}


def test_finalize_that_was_killed_before_it_removed_the_parts_counts_nothing_twice(path, monkeypatch):
    run = RunFile.create(path)
    for i in range(3):
        run.append("flux", {"i": i})
    monkeypatch.setattr("openmm_rare.io.run_file.shutil.rmtree", lambda folder: None)
    run.finalize()
    monkeypatch.undo()
    again = RunFile.open(path)
    assert [record["i"] for record in again.load("flux")] == [0, 1, 2]
    again.finalize()
    assert not again.parts.exists()


@pytest.mark.parametrize(
    ("value", "error"),
    [(None, TypeError), ([1, 2], TypeError), (2**70, ValueError), (np.zeros(2, complex), TypeError)],
)
def test_what_cannot_be_stored_is_refused_by_name_and_leaves_no_trace(path, value, error):
    run = RunFile.create(path)
    run.append("flux", {"i": 0})
    with pytest.raises(error, match="'odd'"):
        run.append("flux", {"fine": 1, "odd": value})
    assert RunFile.open(path).kinds == {"flux": 1}
    assert [entry.name for entry in run.parts.iterdir()] == ["flux.000000.nc"]


def test_kinds_are_plain_names(path):
    with pytest.raises(ValueError, match="plain name"):
        RunFile.create(path).append("../flux", {})


def test_create_never_overwrites(path):
    RunFile.create(path)
    with pytest.raises(FileExistsError, match="exists"):
        RunFile.create(path)


def test_missing_file(path):
    with pytest.raises(FileNotFoundError, match="run.nc does not exist"):
        RunFile.open(path)


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.9])
def test_truncated_file_says_what_to_do(path, keep):
    run = RunFile.create(path)
    run.append("flux", {"values": RNG.normal(size=200_000)})
    run.finalize()
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match="truncated or damaged.*start the run again"):
        RunFile.open(path)


def test_flipped_bits_are_noticed_or_harmless(path):
    """Whatever byte is damaged: an error that says so, or the same data; never other data."""
    run = RunFile.create(path)
    values = RNG.normal(size=20_000)
    run.append("flux", {"values": values})
    run.finalize()
    content, noticed = path.read_bytes(), 0
    for place in RNG.integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[place] ^= 0x41
        path.write_bytes(damaged)
        try:
            (record,) = RunFile.open(path).load("flux")
        except ValueError as error:
            assert "damaged" in str(error)
            noticed += 1
        else:
            assert record["values"].tobytes() == values.tobytes()
    assert noticed > 20


def test_another_netcdf_file_is_no_run_file(path):
    import netCDF4

    netCDF4.Dataset(path, "w").close()
    with pytest.raises(ValueError, match="no run file"):
        RunFile.open(path)


def test_a_lost_part_is_noticed(path):
    run = RunFile.create(path)
    for i in range(3):
        run.append("flux", {"i": i})
    (run.parts / "flux.000001.nc").unlink()
    with pytest.raises(ValueError, match=r"flux\.000001\.nc is missing"):
        RunFile.open(path)


KILLED = """
import sys, numpy as np
from openmm_rare.io.run_file import RunFile
run = RunFile.open(sys.argv[1])
i = run.kinds.get("training", 0)
while True:
    run.append("training", {"i": i, "values": np.full(200_000, i)})
    if i % 5 == 4:
        run.finalize()
    i += 1
    print(i, flush=True)
"""


def test_kill_9_at_any_moment_leaves_a_valid_file(path):
    RunFile.create(path, {"seed": 1})
    count = 0
    for lines, delay in zip(RNG.integers(1, 6, 8), RNG.uniform(0.0, 0.02, 8), strict=True):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as process:
            for _ in range(lines):
                process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        records = RunFile.open(path).load("training")
        assert len(records) >= count + lines
        count = len(records)
        assert [record["i"] for record in records] == list(range(count))
        assert all((record["values"] == record["i"]).all() for record in records)


class FullDisk:
    """A stream on a disk that has room for so many more bytes."""

    def __init__(self, stream, room):
        self.stream, self.room = stream, room

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self.stream.close()

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, content):
        self.stream.write(bytes(content)[: self.room])
        if len(content) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full_disk(monkeypatch):
    def install():
        monkeypatch.setattr(files, "open", lambda path, mode: FullDisk(open(path, mode), 1000), raising=False)

    return install


def test_full_disk_is_said_clearly_and_nothing_is_lost(path, full_disk, monkeypatch):
    run = RunFile.create(path)
    run.append("flux", RECORD)
    full_disk()
    with pytest.raises(OSError, match="no space left.*intact.*--resume"):
        run.append("flux", RECORD)
    with pytest.raises(OSError, match="no space left"):
        run.finalize()
    monkeypatch.undo()
    assert sorted(entry.name for entry in run.parts.iterdir()) == ["flux.000000.nc"]
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["run.nc", "run.nc.parts"]
    run.append("flux", RECORD)  # after space was made, the same object goes on
    run.finalize()
    assert len(RunFile.open(path).load("flux")) == 2


def test_real_full_disk():
    """On a real file system without space: /dev/full accepts no byte."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(OSError) as caught, open("/dev/full", "wb") as stream:
        stream.write(b"x")
        stream.flush()
    assert caught.value.errno in files._DISK_FULL


def test_a_failing_writer_keeps_the_old_file_and_cleans_up(tmp_path):
    target = tmp_path / "figure.png"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="no luck"), replacing(target) as temporary:
        assert temporary.suffix == ".png" and temporary.parent == tmp_path
        temporary.write_text("half")
        raise RuntimeError("no luck")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_write_json_is_strict_json(tmp_path):
    data = {"x": np.float32(0.5), "n": np.arange(2), "t": (1, "μ"), "bad": float("nan"), "deep": {"k": -np.inf}}
    write_json(tmp_path / "a.json", data)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"x": 0.5, "n": [0, 1], "t": [1, "μ"], "bad": None, "deep": {"k": None}}
    assert "NaN" not in text


@pytest.mark.parametrize("name", ["a.npz", "a"])
def test_write_npz(tmp_path, name):
    write_npz(tmp_path / name, {"x": np.arange(3)})
    with np.load(tmp_path / name) as archive:
        assert archive["x"].tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_stale_temporary_files_are_removed(tmp_path):
    write_text(tmp_path / "keep.txt", "")
    (tmp_path / ".run.77.tmp.nc").write_text("half")
    (tmp_path / ".name.77.tmp").write_text("half")
    remove_stale(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["keep.txt"]


def test_one_writer_per_folder(tmp_path):
    pytest.importorskip("fcntl")
    with lock_folder(tmp_path):
        with pytest.raises(ValueError, match="another process"), lock_folder(tmp_path):
            pass
    with lock_folder(tmp_path):
        pass
