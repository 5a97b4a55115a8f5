"""Tasks are computed once and replayed in order, with the wall time of every session."""

import time

import numpy as np
import pytest

from openmm_rare.io.tasks import Memory, TaskLog


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def session(recorder, clock, kinds, seconds):
    """A session that starts at its own time, computes or replays these tasks, and takes a second between them."""
    clock[0] += 500.0
    log = TaskLog(recorder, seed=7)
    clock[0] += 500.0
    log.start_clock()

    def compute(seed):
        clock[0] += seconds
        return {"number": np.random.default_rng(seed).random()}

    numbers = []
    for kind in kinds:
        numbers.append(log(kind, compute)["number"])
        clock[0] += 1.0
    return numbers, log.wall_seconds()


def test_tasks_are_replayed_in_order_and_continued_with_their_own_random_numbers(clock):
    whole, _ = session(Memory(), clock, "aabab", 10.0)
    recorder = Memory()
    begun, _ = session(recorder, clock, "aab", 10.0)
    resumed, _ = session(recorder, clock, "aabab", 10.0)
    assert begun == whole[:3] and resumed == whole
    assert len(set(whole)) == len(whole)  # negative control: every task has numbers of its own


def test_wall_time_is_that_of_all_sessions(clock):
    recorder = Memory()
    assert session(recorder, clock, "ab", 10.0)[1] == 22.0
    # the second after the last record of the first session is lost, as if it had been killed there
    assert session(recorder, clock, "abab", 100.0)[1] == 21.0 + 204.0
    assert session(recorder, clock, "abab", 100.0)[1] == 21.0 + 203.0 + 4.0  # replayed from end to end


def test_records_without_wall_time_can_be_continued(clock):
    recorder = Memory()
    recorder.append("a", {"number": 0.5})
    assert session(recorder, clock, "aa", 10.0)[1] == 12.0
