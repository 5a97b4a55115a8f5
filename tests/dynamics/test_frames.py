"""Frames with velocities and boxes come through everything that handles them, or say that they do not."""

from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

from openmm_rare.dynamics.frames import Frames
from openmm_rare.flux.cooling import Cooled
from openmm_rare.flux.flux import FluxState
from openmm_rare.flux.pool import Pool
from openmm_rare.io.run_file import RunFile
from openmm_rare.learning.segment_data import SegmentData
from openmm_rare.walkers.population import Moved, Walkers


def some(n, seed=1, parts=("velocities", "boxes")):
    rng = np.random.default_rng(seed)
    shapes = {"positions": (n, 4, 3), "velocities": (n, 4, 3), "boxes": (n, 3, 3)}
    return Frames(**{name: rng.normal(size=shape) for name, shape in shapes.items() if name in ("positions", *parts)})


def same(one, other, dtype=np.float64):
    """Whether two sets of frames are equal in everything, the second one rounded to a precision."""
    pairs = ((getattr(one, field.name), getattr(other, field.name)) for field in fields(Frames))
    return all(
        (a is None) == (b is None) and (a is None or np.array_equal(a.astype(dtype), np.asarray(b, dtype))) for a, b in pairs
    )


def without(frames, name):
    return Frames(**{**vars(frames), name: None})


def tables(frames):
    """One of each table that has frames among its columns."""
    n = len(frames)
    whole, numbers, flags = np.arange(n), np.linspace(0.0, 1.0, n), np.arange(n) % 2 == 0
    return [
        Walkers(frames, numbers, whole, whole, whole),
        Moved(frames, numbers, whole.astype(np.int8), whole, whole),
        FluxState(frames, flags, ~flags, whole, numbers, whole),
        SegmentData(frames, frames[::-1], numbers, whole.astype(np.int8), frames.positions),
    ]


@pytest.mark.parametrize("which", [slice(1, 4), [2, 2, 0], np.array([4, 1]), np.array([True, False, True, False, False])])
@pytest.mark.parametrize("parts", [(), ("velocities",), ("boxes",), ("velocities", "boxes")])
def test_any_rows_are_taken_of_all(which, parts):
    frames = some(5, parts=parts)
    taken = frames[which]
    for field in fields(Frames):
        whole = getattr(frames, field.name)
        assert (
            (getattr(taken, field.name) is None) if whole is None else np.array_equal(getattr(taken, field.name), whole[which])
        )
    assert same(Frames.join([frames[:2], frames[2:2], frames[2:]]), frames)
    copy = frames.astype(np.float64)
    copy[which] = some(5, seed=2, parts=parts)[which]
    assert same(copy[which], some(5, seed=2, parts=parts)[which]) and not same(copy, frames)
    assert same(frames[3], frames[3:4]) and len(frames[np.int64(3)]) == 1


def test_backward_in_time_velocities_turn_round():
    frames = some(3)
    assert same(frames.reversed.reversed, frames)
    assert np.array_equal(frames.reversed.velocities[0], -frames.velocities[2])
    assert np.array_equal(frames.reversed.boxes[0], frames.boxes[2])
    broken = some(3)
    broken.velocities[1, 0, 0] = np.nan
    assert frames.n_finite() == 3 and broken.n_finite() == 1 and without(broken, "velocities").n_finite() == 3


@pytest.mark.parametrize("name", ["velocities", "boxes"])
def test_nothing_is_made_up_or_lost_when_frames_are_joined(name):
    frames = some(4)
    with pytest.raises(ValueError, match=f"frames with {name} and without"):
        Frames.join([frames, without(frames, name)])
    with pytest.raises(ValueError, match=f"frames with {name} and without"):
        frames[:2] = without(frames, name)[2:]
    for table, other in zip(tables(frames), tables(without(frames, name)), strict=True):
        with pytest.raises(ValueError, match=f"frames with {name} and without"):
            table.join(other)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("prefix", ["", "pending_"])
def test_tables_are_taken_joined_and_recorded_with_their_frames(tmp_path, number, prefix):
    frames = some(5)
    table = tables(frames)[number]
    (column,) = [field.name for field in fields(table) if field.name in ("frames", "start")]
    assert same(getattr(table.take([4, 4, 1]), column), frames[[4, 4, 1]])
    assert same(getattr(table.take([0, 1]).join(table.take([2]), table.take([3, 4])), column), frames)
    path = tmp_path / "run.nc"
    run = RunFile.create(path)
    run.append("rows", table.record(prefix))
    again = type(table).of_record(run.load("rows")[0], prefix)
    assert same(getattr(again, column), frames)
    assert all(
        np.array_equal(getattr(again, f.name), getattr(table, f.name))
        for f in fields(table)
        if f.name not in ("frames", "start", "end")
    )
    plain = without(without(frames, "velocities"), "boxes")
    bare = tables(plain)[number].record(prefix)
    names = {f"{prefix}{'positions' if field.name == 'frames' else field.name}" for field in fields(table)}
    assert set(bare) == names < set(table.record(prefix))  # as files of problems without either always were
    lost = type(table).of_record(bare, prefix)  # negative control
    assert same(getattr(lost, column), plain) and not same(getattr(lost, column), frames)


def test_names_in_files_are_as_they_were():
    frames = some(2)
    assert list(frames.arrays()) == ["positions", "velocities", "boxes"]
    assert list(frames.arrays("exits")) == ["exits", "exits_velocities", "exits_boxes"]
    assert list(frames.arrays("pending_positions")) == ["pending_positions", "pending_velocities", "pending_boxes"]
    assert list(Cooled(frames, np.zeros(2), np.arange(2), 1.0, 3).record()) == [
        *("positions", "velocities", "boxes", "log_weights", "family", "beta", "walker_steps")
    ]
    with pytest.raises(KeyError, match="positions"):
        Frames.from_arrays({"velocities": frames.velocities})


def test_walkers_begin_at_copies():
    frames = some(3)
    walkers = Walkers.start(frames, np.arange(3))
    assert same(walkers.frames, frames)
    walkers.frames.velocities[:] = 0.0
    assert not same(walkers.frames, frames)


def test_exits_keep_their_velocities_and_boxes_in_the_pool():
    frames, pool = some(6), Pool.empty(some(2), 3)
    model = SimpleNamespace(log_importance=lambda positions, velocities: positions[:, 0, 0])

    def record(exits):
        who = np.arange(len(exits)) % 3
        counted = {"exit_cluster": who, "exit_weight": np.ones(len(exits)), "weighted_frames": np.ones((1, 3))}
        return {**exits.astype(np.float32).arrays("exits"), **counted}

    for stretch in (frames[:4], frames[4:]):
        pool.extend(record(stretch), model, 1.0)
    assert len(pool.exits) == 6 and same(frames, pool.exits, np.float32)
    with pytest.raises(ValueError, match="velocities and without"):  # negative control
        pool.extend(record(without(frames, "velocities")), model, 1.0)
