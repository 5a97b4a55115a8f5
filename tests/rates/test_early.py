"""The answer while a run goes on: intervals that few roots allow, bounds, and what a stopped run leaves."""

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from openmm_rare.config.run import load_config
from openmm_rare.dynamics.frames import Frames
from openmm_rare.errors import InputError
from openmm_rare.io.pace import Pace
from openmm_rare.io.run_file import RunFile
from openmm_rare.io.tasks import Silent
from openmm_rare.rates.early.interim import Known, Outlook, Unaided, in_words
from openmm_rare.rates.estimate import RateEstimate
from openmm_rare.rates.production import Production
from openmm_rare.report.rate import write_rate_report
from openmm_rare.report.results import read_result
from openmm_rare.statistics import ClusteredRate, effective_sample_size
from openmm_rare.walkers.population import Walkers
from openmm_rare.workflow.compare import other_results
from openmm_rare.workflow.load import load_run
from openmm_rare.workflow.rate import run_rate

CONFIG = """
[system]
name = "double_well_1d"
temperature = "1100 K"

[sampling]
target_error = 0.05
seed = 4
hidden = [16, 16]
n_slots = 200
flux_walkers = 200
flux_steps = 200
training_flux_walkers = 100
training_exits = 300
training_roots = 80
training_walkers = 150
heating_roots = 200
first_stage_rounds = 3
stage_rounds = 2
last_stage_rounds = 3
updates = 40
last_updates = 20
pilot_roots = 80
production_roots = 100
strengths = [1.0, 0.6]
"""


def test_few_roots_have_wide_intervals():
    """Weighted events of a Poisson number, 4 on average: their interval holds the truth, that of their scatter does not."""
    rng, repeats = np.random.default_rng(1), 4000
    held = by_scatter = told = 0
    for _ in range(repeats):
        weights = rng.lognormal(0.0, 0.5, rng.poisson(4.0))
        if len(weights) == 0:
            continue
        told += 1
        k, truth = weights.sum(), 4.0 * np.exp(0.5 * 0.5**2)
        error = np.sqrt((weights**2).sum()) / k
        low, high = Known(k, error, effective_sample_size(weights)).interval()
        held += low <= truth <= high
        by_scatter += k * (1.0 - 1.96 * error) <= truth <= k * (1.0 + 1.96 * error)
    assert held / told > 0.94
    assert by_scatter / told < 0.91  # negative control


def test_intervals_narrow_to_those_of_many_roots_and_have_the_error_of_the_pool():
    few, many = Known(2.0, 0.3, 3.0), Known(2.0, 0.01, 10_000.0)
    assert few.interval()[1] > 2.0 * np.exp(1.96 * 0.5) and many.is_surer_than(few) and not few.is_surer_than(many)
    np.testing.assert_allclose(many.interval(), 2.0 * np.exp([-0.0196, 0.0196]), rtol=2e-4)
    with_pool = Known(2.0, 0.01, 10_000.0, pool_error=0.1).interval()
    np.testing.assert_allclose(with_pool, 2.0 * np.exp([-0.197, 0.197]), rtol=2e-3)
    assert Known(2.0, 0.01, 1e4, least=0.9, most=1.3).interval()[1] == pytest.approx(1.3 * many.interval()[1])


def production_of(contribution, pending):
    """A production whose roots are exits of one walker each, with walkers (root, weight) under way."""
    n = len(contribution)
    walkers = None
    if pending:
        roots, weights = zip(*pending, strict=True)
        walkers = Walkers.start(Frames(np.zeros((len(roots), 1, 3))), np.array(roots), np.log(weights))
    production = Production(1)
    production.contribution, production.pending = np.array(contribution, dtype=float), walkers
    production.root, production.start_weight = np.arange(n), np.ones(n)
    return production


def rate_of(production):
    n, one = production.n_roots, np.ones(production.n_roots)
    return ClusteredRate(one, one, one, np.arange(n), production.contribution[:, None])


def outlook_with(chance, n):
    """All exits and all walkers have this I."""
    importance = SimpleNamespace(log_importance=lambda positions, velocities: np.full(len(positions), np.log(chance)))
    pool = SimpleNamespace(log_importance=np.full(n, np.log(chance)))
    return Outlook(SimpleNamespace(importance=importance, pool=pool), 1)


def test_walkers_under_way_count_as_what_they_are_expected_to_bring():
    outlook = outlook_with(0.1, 4)
    first = production_of([0.2, 0.2, 0.2, 0.2], [])
    assert outlook(first, rate_of(first), 0.1).k == pytest.approx(0.2)  # twice what I says: so it is from here on
    half = production_of([0.25, 0.25, 0.0, 0.0], [(2, 1.0), (3, 1.0)])
    now = outlook._now(half, rate_of(half), 0.1)
    assert now.k == pytest.approx((0.5 + 2 * 0.2) / 4)
    assert (now.least, now.most) == (pytest.approx(0.7 / 0.9), pytest.approx(1.3 / 0.9))
    assert now.ess == pytest.approx(0.9**2 / (2 * 0.25**2 + 2 * 0.2**2 + 2 * 0.2 * 0.8))
    assert outlook(half, rate_of(half), 0.1).k == pytest.approx(0.2)  # what was known before is surer


def test_nothing_is_said_before_anything_arrives():
    nothing = production_of([0.0, 0.0], [(0, 1.0)])
    assert outlook_with(0.1, 2)(nothing, rate_of(nothing), np.inf) is None


def test_nothing_is_said_of_less_than_one_event():
    """A heavy walker that hardly ever arrives, beside a tiny arrival: the lower bound of so few events was zero."""
    first, outlook = production_of([1e-3, 0.0], [(1, 1e3)]), outlook_with(1e-9, 2)
    assert outlook(first, rate_of(first), 0.5) is None
    sure = production_of([1e-3, 1e-3], [(1, 1e-3)])  # negative control
    assert outlook(sure, rate_of(sure), 0.5).interval()[0] > 0.0


def facts():
    problem = SimpleNamespace(name="a", temperature=300.0, reduced=None)
    machine = SimpleNamespace(platform="Reference")
    steps = {"training": 0, "flux": 1000, "pilot": 0, "production": 0}
    return SimpleNamespace(
        problem=problem, machine=machine, backend="python", seed=1, notes=(), walker_steps=steps, wall_seconds=1.0
    )


def test_unaided_walkers_give_a_bound_and_then_a_poisson_interval():
    counts = Unaided({"equilibration": 1, "flux": 0})
    record = {"frames": np.array([[300, 200]]), "transitions": np.array([0, 0])}
    assert not counts.add("equilibration", record, 0.1)  # these walkers may not have left where they began
    assert not counts.add("flux", {**record, "weight": np.array([1.0, 2.0])}, 0.1)  # not all parts of A count alike
    assert counts.add("equilibration", record, 0.1) and counts.add("flux", record, 0.1)
    bound = counts.estimate(facts(), "importance")
    assert bound.rate_below_per_ps == pytest.approx(2.9957 / 100.0, rel=1e-4) and bound.rate_ci95[0] == 0.0
    assert not bound.complete and "0 came to B in 100 ps" in bound.missing and "k is below 0.03" in in_words(bound)
    counts.add("flux", {**record, "transitions": np.array([3, 1])}, 0.1)
    found = counts.estimate(facts(), "importance")
    assert found.rate_below_per_ps is None and found.rate_per_ps == pytest.approx(4 / 150.0)
    assert found.rate_ci95 == (pytest.approx(1.0899 / 150, rel=1e-4), pytest.approx(10.2416 / 150, rel=1e-4))


def test_a_pace_takes_no_more_than_its_share(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace(0.1, least=5.0)
    assert pace.due
    with pace.spending():
        now[0] += 1.0
    for now[0], due in ((10.9, False), (11.1, True)):
        assert pace.due == due
    with pace.spending():
        pass
    now[0] += 4.0
    assert not pace.due


class Stopping(Silent):
    """Ctrl-C after so many rounds of production, and what was said."""

    def __init__(self, rounds=None):
        self.left, self.here, self.notes, self.shown = rounds, False, [], []

    def stage(self, name, total=None):
        self.here = name == "production"

    def update(self, n=1.0, **postfix):
        if self.here:
            self.shown.append(postfix)
        if self.here and self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    def note(self, sentence):
        self.notes.append(sentence)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(CONFIG)
    return load_config(path)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """A run that nothing happened to, and what it said."""
    folder, progress = tmp_path_factory.mktemp("whole") / "run", Stopping()
    run_rate(config, folder, progress=progress)
    return folder, progress


def test_a_run_says_what_is_known_long_before_its_end(whole):
    folder, progress = whole
    early = [note for note in progress.notes if note.startswith("so far")]
    assert len(early) == 2 and "unaided walkers" in early[0] and "the error is" in early[1]
    rounds, result = [each["k"] for each in progress.shown if "k" in each], read_result(folder)
    assert len(rounds) > 3 and result["complete"] and result["missing"] is None
    assert RunFile.open(folder / "run.nc").load("first_batch")[0]["roots"] == 50
    widths = []
    for text in rounds:  # "0.0137 (0.0102 to 0.0181) 1/ps"
        low, high = (float(word) for word in text.split("(")[1].split(")")[0].split(" to "))
        assert low < result["rate_per_ps"] < high
        widths.append(np.log(high / low))
    assert all(np.diff(widths) < 0.02) and widths[-1] < 0.5 * widths[0]


def test_ctrl_c_leaves_an_answer_and_the_run_goes_on_to_the_same_end(config, whole, tmp_path):
    folder, stopped = tmp_path / "run", Stopping(4)
    with pytest.raises(KeyboardInterrupt):
        run_rate(config, folder, progress=stopped)
    result, end = read_result(folder), read_result(whole[0])
    assert not result["complete"] and "are wanted" in result["missing"] and "so far k = " in stopped.notes[-1]
    assert result["rate_ci95"][0] < end["rate_per_ps"] < result["rate_ci95"][1]
    assert np.ptp(np.log(result["rate_ci95"])) > np.ptp(np.log(end["rate_ci95"]))
    assert result["flux_per_ps"] * result["p_ab"] == pytest.approx(result["rate_per_ps"])
    page = (folder / "report.html").read_text()
    assert "This is not the final answer" in page and 'http-equiv="refresh"' in page and "Convergence" in page
    assert load_run(folder).estimate.missing == result["missing"]
    with pytest.raises(InputError, match="not finished: continue it with --resume"):
        other_results(SimpleNamespace(), [folder])
    run_rate(config, folder, resume=True, progress=Stopping())
    again = read_result(folder)
    assert {key for key in end if end[key] != again[key]} <= {"wall_seconds"}
    assert "not the final answer" not in (folder / "report.html").read_text()
    with pytest.raises(AssertionError):  # negative control: it was not at its end
        assert result["rate_per_ps"] == end["rate_per_ps"]


def test_a_result_that_is_behind_is_of_an_unfinished_run_only(whole, tmp_path):
    """One of a finished run that lacks records was put back."""
    import shutil

    from openmm_rare.io.files import write_json

    folder = shutil.copytree(whole[0], tmp_path / "run")
    result = read_result(folder)
    behind = {**result, "records": {**result["records"], "production": 1}}
    write_json(folder / "result.json", {**behind, "missing": "more", "complete": False}, checked=True)
    write_rate_report(folder)
    for change in (behind, {**result, "missing": "more", "records": {**result["records"], "production": 10_000}}):
        write_json(folder / "result.json", change, checked=True)
        with pytest.raises(InputError, match="of different times"):
            write_rate_report(folder)


def test_ctrl_c_before_anything_is_known_says_so(config, tmp_path):
    class AtOnce(Stopping):
        def stage(self, name, total=None):
            if name == "first paths to B":
                raise KeyboardInterrupt

    progress = AtOnce()
    with pytest.raises(KeyboardInterrupt):
        run_rate(config, tmp_path / "run", progress=progress)
    assert progress.notes[-1] == "There is no estimate yet." and not (tmp_path / "run").exists()


def test_counts_are_told_while_counting(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.replace("[sampling]", '[sampling]\nmethod = "brute_force"').replace("0.05", "0.1"))
    seen = []

    class Watching(Stopping):
        def update(self, n=1.0, **postfix):
            if (tmp_path / "run" / "result.json").exists():
                seen.append(json.loads((tmp_path / "run" / "result.json").read_text()))

    end = run_rate(load_config(path), tmp_path / "run", progress=Watching())
    assert isinstance(end, RateEstimate) and end.complete and seen
    for told in seen:
        assert not told["complete"] and told["rate_ci95"][0] < end.rate_per_ps < told["rate_ci95"][1]
