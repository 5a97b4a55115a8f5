"""Executors: the same results from all, tasks with one key in one place, and what they have in common sent once."""

import os
import pickle

import executor_tasks
import pytest

from openmm_rare.parallel.executors import Here, Processes
from openmm_rare.parallel.teams import Threads


@pytest.mark.parametrize("make", [Here, Threads, lambda: Processes(2, "Reference")])
def test_results_are_numbered_wherever_they_are_computed(make):
    with make() as executor:
        found = dict(executor.map(executor_tasks.where, [(number, 0.02 * (3 - number)) for number in range(4)]))
        assert [found[number][0] for number in range(4)] == [0, 1, 2, 3]
        pinned = dict(executor.map(executor_tasks.where, [(number,) for number in range(6)], [0, 1, 2, 0, 1, 2]))
        again = dict(executor.map(executor_tasks.where, [(7,)], [1]))
    places = [pinned[number][1] for number in range(6)]
    assert places[:3] == places[3:] and again[0][1] == places[1]
    if make in (Here, Threads):
        assert set(places) == {os.getpid()}
    else:
        assert places[0] == places[2] != places[1] and os.getpid() not in places


def test_what_tasks_have_in_common_is_sent_once():
    common = executor_tasks.Common(list(range(1000)))
    with Processes(1, "Reference") as executor:
        found = dict(executor.map(executor_tasks.sum_of, [(common, number) for number in range(3)], [0, 0, 0]))
    assert [found[number][0] for number in range(3)] == [499500, 499501, 499502]
    assert [found[number][1] for number in range(3)] == [False, True, True]
    common.numbers.append(10**6)
    assert pickle.loads(pickle.dumps(common)).numbers[-1] == 999  # it must not change, and is not looked at again
    other = executor_tasks.Common([1])
    assert pickle.loads(pickle.dumps(other)).numbers == [1]


@pytest.mark.parametrize("make", [Here, Threads, lambda: Processes(2, "Reference")])
def test_what_a_task_raises_is_raised_here(make):
    with pytest.raises(ValueError, match="number 1"), make() as executor:
        list(executor.map(executor_tasks.failing, [(number,) for number in range(3)]))
