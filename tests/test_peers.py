"""The peers that our rate is compared with find exact rates, and their table counts what it must."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stats import assert_within, mean_and_stderr

FOLDER = Path(__file__).parents[1] / "examples" / "validation" / "peers"
sys.path.append(str(FOLDER))

import peers  # noqa: E402
import weighted_ensemble  # noqa: E402
from comparison import Record, row, scored  # noqa: E402
from forward_flux import forward_flux  # noqa: E402
from problems import PROBLEMS, Truth  # noqa: E402

LINE = PROBLEMS["double_well_1d"]()
SEEDS = range(6)


def test_forward_flux_finds_an_exact_rate():
    found = [forward_flux(LINE, 0.3, seed) for seed in SEEDS]
    rates = np.array([each.rate for each in found])
    assert_within(rates.mean(), LINE.truth.rate_per_ps, mean_and_stderr(rates)[1])
    assert_within(rates, LINE.truth.rate_per_ps, [each.relative_error * each.rate for each in found])
    with pytest.raises(AssertionError):  # negative control: two stages left out
        short = rates / [each.parts[-1] * each.parts[-2] for each in found]
        assert_within(short.mean(), LINE.truth.rate_per_ps, mean_and_stderr(short)[1])
    assert all(each.steps > 50 * 4000 + 50 * 3600 for each in found)  # equilibration and flux, and the shots on top


def rate_by_weighted_ensemble():
    return mean_and_stderr([weighted_ensemble.weighted_ensemble(LINE, 0.1, seed).rate for seed in SEEDS])


def test_weighted_ensemble_finds_an_exact_rate(monkeypatch):
    rate, stderr = rate_by_weighted_ensemble()
    assert_within(rate, LINE.truth.rate_per_ps, stderr)

    def alike(*arguments, of=weighted_ensemble.resample):  # negative control: walkers count alike from then on
        parents, new = of(*arguments)
        return parents, np.full(len(new), new.mean())

    monkeypatch.setattr(weighted_ensemble, "resample", alike)
    rate, stderr = rate_by_weighted_ensemble()
    with pytest.raises(AssertionError):
        assert_within(rate, LINE.truth.rate_per_ps, stderr)


def mean_weights(weights, bins, per_bin, repeats=1500):
    """Weight that each walker's copies have after resampling, in every repeat."""
    rng, kept = np.random.default_rng(1), np.zeros((repeats, len(weights)))
    for after in kept:
        parents, new = weighted_ensemble.resample(weights, bins, per_bin, rng)
        assert np.isclose(new.sum(), weights.sum())
        assert np.all(np.bincount(bins[parents], minlength=bins.max() + 1)[np.unique(bins)] == per_bin)
        after += np.bincount(parents, new, minlength=len(weights))
    return kept


@pytest.mark.parametrize("per_bin", [1, 3, 10])
def test_walkers_keep_their_weight_on_average(per_bin, monkeypatch):
    weights, bins = np.array([0.001, 0.3, 0.02, 0.1, 0.05, 0.2, 0.004, 1e-9]), np.array([3, 0, 3, 0, 3, 0, 3, 5])
    changing = mean_weights(weights, bins, per_bin)
    drawn = changing.std(axis=0) > 1e-12
    assert_within(*(values[drawn] for values in (changing.mean(0), weights, mean_and_stderr(changing)[1])))
    assert np.allclose(changing.mean(0)[~drawn], weights[~drawn])
    monkeypatch.setattr(weighted_ensemble, "_drawn", lambda weight, other, rng: rng.random() < 0.5)  # negative control
    wrong = mean_weights(weights, bins, min(per_bin, 3))
    with pytest.raises(AssertionError):
        assert_within(*(values[drawn] for values in (wrong.mean(0), weights, mean_and_stderr(wrong)[1])))


def test_massless_marks_and_stopped_walkers_change_nothing():
    plane = PROBLEMS["two_channel_2d"]()
    assert np.allclose(plane.progress(plane.walkers.positions[None]), 0.0)
    assert plane.walkers.states.a.describe() == plane.system.states.a.describe()
    values = plane.walkers.states.variables(plane.walkers.positions[None])
    assert plane.only_b.states.a.contains(plane.walkers.positions[None], values, plane.walkers.states.variables).all()


def line(rate, low, high, **more):
    return {"rate": rate, "relative_error": 0.1, "low": low, "high": high, "steps": 1000, "training_steps": 400} | more


def test_scores():
    truth = Truth("known", 2.0)
    lines = [line(2.2, 1.9, 2.5, cpu_seconds=1.0), line(1.6, 1.4, 1.9, cpu_seconds=3.0), {"failure": "no"}]
    numbers = scored(lines, truth)
    assert (numbers["repeats"], numbers["failed"], numbers["covered"]) == (2, 1, 1)
    assert np.isclose(numbers["found"], math.sqrt((0.1**2 + 0.2**2) / 2)) and np.isclose(numbers["mean"], 0.95)
    assert np.isclose(numbers["c_found"], 25.0) and np.isclose(numbers["c_claimed"], 10.0)
    assert np.isclose(numbers["c_sampling"], 6.0) and numbers["cpu_seconds"] == 2.0
    assert scored(lines, replace(truth, rate_stderr=0.06))["covered"] == 2  # the truth has an error, too
    assert row("m", numbers)[:2] == ("m", "2 (1 failed)") and row("m", scored(lines[2:], truth))[1] == "0 (1 failed)"


def test_a_comparison_goes_on_where_it_stopped(tmp_path, capsys, monkeypatch):
    out = tmp_path / "peers.jsonl"
    peers.main(["--quick", "--out", str(out)])
    table = capsys.readouterr().out
    assert "| ffs | 2 |" in table and "| we | 2 |" in table
    whole = out.read_bytes()
    out.write_bytes(whole[:-20])  # killed while it wrote the last repeat
    assert len(Record(out).lines) == 3
    begun = []
    monkeypatch.setattr(peers, "repeat", lambda *run, of=peers.repeat: begun.append(run) or of(*run))
    peers.main(["--quick", "--out", str(out)])
    assert [run[1] for run in begun] == ["we"]

    def times_left_out(text):
        return [line.split("|")[:-3] for line in text.splitlines() if line.startswith("|")]

    assert times_left_out(capsys.readouterr().out) == times_left_out(table)
