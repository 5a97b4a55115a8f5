"""The throughput table: shape and content, no speeds asserted, and what it measures."""

import json
import threading
import time

import numpy as np
import pytest

from openmm_rare.bias.bias import Bias
from openmm_rare.bias.importance import FastImportance
from openmm_rare.cli import benchmark
from openmm_rare.dynamics import native
from openmm_rare.settings.rates import RateSettings
from openmm_rare.systems import lj7
from stats import assert_within, mean_and_stderr

needs_plugin = pytest.mark.skipif(not native.plugin().available, reason="; ".join(native.plugin().problems))


def test_rows_and_json(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "_SECONDS", 0.001)
    monkeypatch.setattr(benchmark, "_REPEATS", 1)
    monkeypatch.setattr(benchmark, "_YARDSTICK_WALKERS", 5)
    variants = [("python", 3, True, True, 1), ("python", 2, False, False, 1)]
    if "Reference" in native.plugin().platforms:
        variants += [("native", 3, True, True, 1), ("native", 3, True, True, 2), (benchmark._PLAIN, 9, True, True, 1)]
    monkeypatch.setattr(benchmark, "_variants", lambda platform: variants if platform == "Reference" else [])
    yardsticks, brownian = [], benchmark._brownian

    def watched(target, n_slots, platform):
        yardsticks.append(platform)
        return brownian(target, n_slots, platform)

    monkeypatch.setattr(benchmark, "_brownian", watched)
    seen = []
    rows = benchmark.run_benchmark(tmp_path / "rows.json", seen.append)
    assert rows == seen and len(rows) == len(variants)
    assert yardsticks == ["Reference"]  # nothing is measured where there is nothing to compare
    row, unbiased = rows[:2]
    assert [(each["backend"], each["threads"]) for each in rows] == [(variant[0], variant[-1]) for variant in variants]
    assert (row["system"], row["platform"], row["backend"], row["walkers"]) == ("lj7", "Reference", "python", 3)
    assert row["bias_interval"] == RateSettings().bias_interval and "bias_interval" not in unbiased
    for each in rows:
        assert each["walker_steps_per_cpu_second"] > 0.0 and each["walker_steps_per_second"] > 0.0
        assert each["relative_to_brownian"] > 0.0
        assert len(benchmark.format_row(each)) == len(benchmark.HEADER)
    assert json.loads((tmp_path / "rows.json").read_text())["rows"] == rows


def biased(temperature, interval=4):
    target = lj7.build(temperature=temperature, radius_a=0.15)
    return target, Bias(FastImportance(benchmark._model(target), target.num_dimensions), interval=interval)


def scattered(target, n):
    return target.positions + np.random.default_rng(3).normal(0.0, 0.02, (n, 7, 3)) * [1.0, 1.0, 0.0]


@needs_plugin
def test_the_plain_loop_follows_the_same_forces():
    target, bias = biased(1e-9)  # K: next to no noise, and a bias that is limited by nothing but the largest shift
    start = scattered(target, 13)
    plain = benchmark._Plain(target, 13, bias, benchmark._out_of_reach(target))
    walkers = benchmark._native(target, 13, "Reference", bias, True)
    plain._positions[:] = start.reshape(-1, 3)
    walkers._context.setPositions(start.reshape(-1, 3))
    for each in (plain, walkers):
        each.step(5)
    np.testing.assert_allclose(plain.positions(), walkers.positions(), rtol=0.0, atol=1e-6)
    assert np.abs(plain.positions() - start.reshape(-1, 3)).max() > 1e-4  # negative control: they have moved


@needs_plugin
def test_the_weights_of_the_plain_loop_are_exact():
    target, bias = biased(600.0)
    bias.importance.weights[-1].mul_(1000.0)
    plain = benchmark._Plain(target, 4000, bias, benchmark._out_of_reach(target))
    plain.step(50)
    mean, error = mean_and_stderr(np.exp(plain.log_weights))
    assert_within(mean, 1.0, error)
    with pytest.raises(AssertionError):  # negative control: weights that are squared
        assert_within(*(lambda m, e: (m, 1.0, e))(*mean_and_stderr(np.exp(2.0 * plain.log_weights))))


@needs_plugin
def test_threads_do_not_disturb_each_other():
    target, bias = biased(600.0)

    def moved(together):
        sets = [benchmark._native(target, 50, "Reference", bias, True) for _ in range(2)]
        threads = benchmark._Threads(sets)
        for _ in range(10):
            if together:
                threads.step(10)
            else:
                for each in sets:
                    each.step(10)
        return threads.positions()

    np.testing.assert_array_equal(moved(True), moved(False))


@needs_plugin
def test_other_threads_run_during_a_step():
    target, bias = biased(600.0)
    walkers, ticks = benchmark._native(target, 200, "Reference", bias, True), 0
    thread = threading.Thread(target=walkers.step, args=(500,))
    thread.start()
    while thread.is_alive():
        time.sleep(0.001)
        ticks += 1
    assert ticks > 10
