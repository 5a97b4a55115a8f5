"""A file of arrays that grows: killed at any moment it is as it was before or after, and damage in it is noticed."""

import shutil

import numpy as np
import pytest

from openmm_rare.errors import InputError
from openmm_rare.io import growing_file
from openmm_rare.io.files import write_npz
from openmm_rare.io.growing_file import GrowingFile


def rows(first, n=3):
    return {"x": np.arange(first, first + n, dtype=float), "name": np.array([f"row {i}" for i in range(first, first + n)])}


def rest(n):
    return {"state": np.full(4, float(n))}


def grown(folder, n_blocks=4):
    file = GrowingFile(folder / "table.npz", "copy it back")
    file.write({**rows(0), **rest(0), "about": np.array("a run")})
    for block in range(1, n_blocks + 1):
        file.append(rows(3 * block), rest(block))
    return file


def read(folder):
    return GrowingFile(folder / "table.npz", "copy it back").load().joined()


def test_rows_come_back_behind_each_other_and_the_rest_is_the_latest(tmp_path):
    file = grown(tmp_path)
    found = read(tmp_path)
    assert found["x"].tolist() == list(range(15)) and found["name"][-1] == "row 14"
    assert found["state"].tolist() == [4.0] * 4 and found["about"] == "a run"
    with np.load(file.path) as archive:
        assert len(archive["x"]) == 3  # the file itself has not been touched since
    file.write(found)
    assert not file.parts.exists() and read(tmp_path)["x"].tolist() == list(range(15))
    file.append(rows(15), rest(5))
    again = GrowingFile(file.path, "")
    again.load()
    again.append(rows(18), rest(6))  # by another process
    assert read(tmp_path)["x"].tolist() == list(range(21)) and read(tmp_path)["state"][0] == 6.0


def test_columns_that_begin_empty_get_the_shape_of_their_first_rows(tmp_path):
    file = GrowingFile(tmp_path / "table.npz", "")
    file.write({"points": np.array([])})
    file.append({"points": np.array([])}, {})
    assert read(tmp_path)["points"].shape == (0,)
    file.append({"points": np.ones((2, 5, 3))}, {})
    assert read(tmp_path)["points"].shape == (2, 5, 3)


def test_killed_at_any_moment_it_is_as_before_or_after(tmp_path, monkeypatch):
    folder, left, complete = tmp_path / "run", [], []
    folder.mkdir()

    def snapshot(*anything):
        left.append((shutil.copytree(folder, tmp_path / f"left-{len(left)}"), len(complete)))

    def watched(name, owner):
        original = getattr(owner, name)

        def call(*arguments, **options):
            snapshot()
            result = original(*arguments, **options)
            snapshot()
            return result

        monkeypatch.setattr(owner, name, call)

    watched("fsync", growing_file.os)  # also within write_npz and write_bytes
    watched("replace", growing_file.os)
    watched("unlink", type(folder))
    file = GrowingFile(folder / "table.npz", "copy it back")
    file.write({**rows(0), **rest(0)})
    complete.append(3)
    for session in range(2):
        for _ in range(3):
            n = complete[-1]
            file.append(rows(n), rest(n))
            complete.append(n + 3)
        if session == 0:
            file.write(file.load().joined())
    monkeypatch.undo()
    seen = set()
    for copy, done in left:
        if not (copy / "table.npz").exists():
            assert done == 0
            continue
        found = read(copy)
        before, after = ([0, *complete, complete[-1]][done + more] for more in (0, 1))
        n = len(found["x"])
        assert n in (before, after) and found["x"].tolist() == list(range(n))
        assert found["state"][0] == (n - 3 if n > 3 else 0.0)
        seen.add(n - before)
        again = GrowingFile(copy / "table.npz", "copy it back")
        again.load()
        again.append(rows(n), rest(n))  # it goes on from there
        assert read(copy)["x"].tolist() == list(range(n + 3))
    assert seen == {0, 3} and len(left) > 40


def test_every_damage_is_noticed(tmp_path):
    file, rng = grown(tmp_path), np.random.default_rng(1)
    for path in (file.path, file.parts / "rows", file.parts / "rest.npz"):
        content = path.read_bytes()
        for place in rng.integers(0, len(content), 60).tolist():
            for damaged in (
                content[:place],
                content[:place] + bytes([content[place] ^ 1 << rng.integers(8)]) + content[place + 1 :],
            ):
                path.write_bytes(damaged)
                with pytest.raises(InputError, match=f"{path.name} is (truncated or damaged|missing).*copy it back"):
                    read(tmp_path)
        path.write_bytes(content)
    assert len(read(tmp_path)["x"]) == 15  # negative control
    (file.parts / "rows").open("ab").write(b"half a block that was never counted")
    assert len(read(tmp_path)["x"]) == 15


def test_parts_of_something_else_are_refused(tmp_path):
    file = grown(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    different = GrowingFile(other / "table.npz", "")
    different.write({**rows(0), **rest(1)})
    for block in range(1, 5):
        different.append(rows(3 * block), rest(block))
    for name in ("rows", "rest.npz"):
        before = (file.parts / name).read_bytes()
        shutil.copy(different.parts / name, file.parts / name)
        with pytest.raises(InputError, match="rows is truncated or damaged"):
            read(tmp_path)
        (file.parts / name).write_bytes(before)
    before = file.path.read_bytes()
    shutil.copy(different.path, file.path)  # all of it whole, but the rows follow from another beginning
    with pytest.raises(InputError, match="rows is truncated or damaged"):
        read(tmp_path)
    file.path.write_bytes(before)
    (file.parts / "rest.npz").rename(tmp_path / "rest.npz")
    with pytest.raises(InputError, match="rest.npz is missing: copy it back"):
        read(tmp_path)
    arrays = dict(np.load(tmp_path / "rest.npz"))
    write_npz(file.parts / "rest.npz", arrays | {"rows/length": np.array(10**15)})  # made by hand
    with pytest.raises(InputError, match="rows is truncated or damaged .*bytes are missing"):
        read(tmp_path)
    write_npz(file.parts / "rest.npz", arrays)
    assert len(read(tmp_path)["x"]) == 15


def test_what_a_row_takes_does_not_depend_on_how_many_there_are(tmp_path, monkeypatch):
    sizes = []
    original = growing_file.write_npz
    monkeypatch.setattr(
        growing_file, "write_npz", lambda path, arrays: (original(path, arrays), sizes.append(path.stat().st_size))
    )
    file = grown(tmp_path, 30)
    assert len(set(sizes)) == 1  # the rest
    assert (file.parts / "rows").stat().st_size < 1.1 * 10 * length_of(tmp_path / "few", 3)


def length_of(folder, n):
    folder.mkdir()
    return (grown(folder, n).parts / "rows").stat().st_size
