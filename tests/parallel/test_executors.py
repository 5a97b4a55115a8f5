"""Executors: the same results from all, tasks with one key in one place, what they have in common sent once, and deaths."""

import logging
import multiprocessing
import os
import pickle

import executor_tasks
import numpy as np
import pytest

from openmm_rare.errors import InputError, RunError
from openmm_rare.parallel.executors import Here, packed, unpacked
from openmm_rare.parallel.local import Processes
from openmm_rare.parallel.teams import Threads


@pytest.mark.parametrize("name", ["here", "threads", "processes"])
def test_results_are_numbered_wherever_they_are_computed(name, request):
    others = set(multiprocessing.active_children())
    executor = {"here": Here, "threads": Threads}.get(name, lambda: request.getfixturevalue("two"))()
    found = dict(executor.map(executor_tasks.where, [(number, 0.02 * (3 - number)) for number in range(4)]))
    assert [found[number][0] for number in range(4)] == [0, 1, 2, 3]
    pinned = dict(executor.map(executor_tasks.where, [(number,) for number in range(6)], [0, 1, 2, 0, 1, 2]))
    again = dict(executor.map(executor_tasks.where, [(7,)], [1]))
    places = [pinned[number][1] for number in range(6)]
    assert places[:3] == places[3:] and again[0][1] == places[1] and not executor.elsewhere
    if name == "processes":
        assert places[0] == places[2] != places[1] and os.getpid() not in places
        assert len(set(multiprocessing.active_children()) - others) == 2  # and no others for tasks without keys
    else:
        assert set(places) == {os.getpid()}


def test_what_tasks_have_in_common_is_sent_once(two):
    common = executor_tasks.Common(list(range(1000)))
    found = dict(two.map(executor_tasks.sum_of, [(common, number) for number in range(3)], [0, 0, 0]))
    assert [found[number][0] for number in range(3)] == [499500, 499501, 499502]
    assert [found[number][1] for number in range(3)] == [False, True, True]
    common.numbers.append(10**6)
    assert pickle.loads(pickle.dumps(common)).numbers[-1] == 999  # it must not change, and is not looked at again
    other = executor_tasks.Common([1])
    assert pickle.loads(pickle.dumps(other)).numbers == [1]


def test_what_is_common_is_left_out_of_packed_tasks():
    common = executor_tasks.Common(list(range(10_000)))
    first, contents = packed((executor_tasks.sum_of, (common, 1)))
    second, again = packed((executor_tasks.sum_of, (common, 2)))
    assert len(first) < 500 < 10_000 < len(*contents.values()) and contents == again and first != second
    function, (one, number) = unpacked(second, contents)
    assert function is executor_tasks.sum_of and number == 2 and one.numbers == common.numbers
    assert unpacked(first, contents)[1][0] is one  # made once
    assert packed((executor_tasks.Common([1]), 1))[1].keys() != contents.keys()


@pytest.mark.parametrize("make", [Here, Threads, lambda: Processes(2, "Reference")])
def test_what_a_task_raises_is_raised_here(make):
    with pytest.raises(ValueError, match="number 1"), make() as executor:
        list(executor.map(executor_tasks.failing, [(number,) for number in range(3)]))


@pytest.mark.parametrize("keys", [None, [0, 1, 0, 1, 0]])
def test_what_a_killed_process_had_is_computed_again_and_counts_once(two, keys, tmp_path, caplog):
    expected = [executor_tasks.noise(seed, 5) for seed in range(5)]
    tasks = [(str(tmp_path), seed, 5, int(seed == 2)) for seed in range(5)]
    with caplog.at_level(logging.WARNING):
        found = list(two.map(executor_tasks.noise_and_death, tasks, keys))
    assert sorted(number for number, _ in found) == list(range(5))
    assert all(np.array_equal(result, expected[number]) for number, result in found)
    begun = {seed: (tmp_path / f"begun-{seed}.txt").read_text().split() for seed in range(5)}
    assert [len(set(begun[seed])) for seed in range(5)] == [1, 1, 2, 1, 1]
    assert "died at task 2, which is computed again" in caplog.text


def test_a_process_that_was_killed_while_it_waited_is_replaced(two):
    (first,) = dict(two.map(executor_tasks.where, [(0,)], [0])).values()
    os.kill(first[1], 9)
    (second,) = dict(two.map(executor_tasks.where, [(0,)], [0])).values()
    assert second[0] == 0 and second[1] != first[1]


def test_a_task_that_kills_its_process_each_time_is_given_up(tmp_path):
    with pytest.raises(RunError, match="died, 3 times at task 0 .*memory.*--resume"), Processes(1, "Reference") as executor:
        list(executor.map(executor_tasks.noise_and_death, [(str(tmp_path), 0, 5, 99)]))
    assert len((tmp_path / "begun-0.txt").read_text().split()) == 3


def test_a_process_that_ends_by_itself_is_not_asked_again():
    with pytest.raises(RunError, match="a worker process died .what"), Processes(1, "Reference") as executor:
        list(executor.map(executor_tasks.leaving, [()]))


def test_devices_are_given_out_in_turn():
    for devices, platform, words in ((["0"], "CPU", "no devices"), (["0"], None, "no devices"), (["gpu"], "CUDA", "index")):
        with pytest.raises(InputError, match=words):
            Processes(2, platform, devices)
    with pytest.raises(InputError, match="workers = 0"):
        Processes(0)


def test_a_context_is_made_on_the_device_of_its_process(tmp_path):
    import platforms

    reason = platforms.why_absent("OpenCL")
    if reason:
        pytest.skip(reason)
    with Processes(1, "OpenCL", ["0"]) as executor:
        assert dict(executor.map(executor_tasks.device_of_a_context, [()])) == {0: "0"}
    with Processes(1, "OpenCL", ["17"]) as executor, pytest.raises(InputError, match="DeviceIndex.*17"):
        list(executor.map(executor_tasks.device_of_a_context, [()]))
