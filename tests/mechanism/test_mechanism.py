"""What is found about a mechanism is what was put into the data."""

import csv
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from openmm import app
from scipy.special import expit

from openmm_rare.cli.main import main
from openmm_rare.committor.model import CommittorModel
from openmm_rare.learning.gated_fit import FitOptions
from openmm_rare.learning.shot_fit import fit_model
from openmm_rare.learning.shots import Shots
from openmm_rare.mechanism.atoms import atom_contributions, transition_states
from openmm_rare.mechanism.cross_fit import cross_fit
from openmm_rare.mechanism.formula import find_formulas, folds, refine, simple_formulas
from openmm_rare.mechanism.relevance import input_relevance
from openmm_rare.mechanism.structure_search import is_installed
from openmm_rare.mechanism.table import ShotTable, features_of, logit_function, paired_columns, shot_losses
from openmm_rare.mechanism.validation import calibrate, spread_over_q
from openmm_rare.paths.ensemble import PathEnsemble
from openmm_rare.paths.statistics import path_density, path_statistics, running_mean
from openmm_rare.report.mechanism import drawn_atoms, molecule_figure
from openmm_rare.structure.trajectory_file import plain_topology, write_structures
from openmm_rare.systems import double_well_1d, licl
from openmm_rare.workflow.analysis import AnalysisOptions, analyze
from stats import assert_within

needs_operon = pytest.mark.skipif(not is_installed(), reason="pyoperon is not installed: pip install 'openmm-rare[symbolic]'")


def paper(inputs):
    """The formula of Jung et al. for two inputs; the others do not matter."""
    return (3.32 * inputs[:, 0] + 1.24 * inputs[:, 1]) * np.exp(2.92 * inputs[:, 0] * inputs[:, 1])


def make_table(n=1500, width=10, seed=1, logit=paper, n_shots=2):
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(-0.8, 0.8, (n, width))
    n_b = rng.binomial(n_shots, expit(logit(inputs)))
    return ShotTable(inputs, n_shots - n_b, n_b, tuple("xyabcdefgh"[:width]))


def make_shots(n=600, seed=2, slope=10.0, n_atoms=2):
    """The logit is slope times the first coordinate of the first atom."""
    rng, shots = np.random.default_rng(seed), Shots()
    for number in range(n):
        positions = rng.uniform(-0.4, 0.4, (n_atoms, 3))
        n_b = rng.binomial(2, expit(slope * positions[0, 0]))
        shots.add(number, positions, (2 - n_b, n_b), 0.5)
    return shots


def model_of(n_atoms=2, hidden=(8,)):
    spec = {"kind": "coordinates", "columns": list(range(3 * n_atoms)), "scale": 1.0}
    return CommittorModel(spec, n_atoms, hidden, network={"kind": "residual"})


@pytest.mark.parametrize("method", ["noise", "permutation"])
def test_relevance_finds_the_inputs_that_matter(method):
    table = make_table()
    found = input_relevance(paper, table, np.random.default_rng(0), method=method)
    assert found.names[:2] == ["x", "y"] and found.above_floor.tolist() == [True, True] + 8 * [False]
    assert found.normalized[0] == 1.0 and 0.0 < found.normalized[1] < 0.7
    np.testing.assert_array_equal(found.increase[2:], 0.0)
    assert (found.stderr[:2] > 0.0).all() and found.loss == pytest.approx(table.loss(paper(table.inputs)))


def test_relevance_agrees_with_the_exact_increase():
    """For x alone in a linear logit: the mean of the loss with x drawn anew is an integral."""
    slope = 4.0
    table = make_table(4000, 8, 3, lambda inputs: slope * inputs[:, 0], 1)
    found = input_relevance(lambda inputs: slope * inputs[:, 0], table, np.random.default_rng(0), n_repeats=30)
    x = np.linspace(-0.8, 0.8, 2001)
    p = expit(slope * x)
    with_it = np.mean(shot_losses(slope * x, 1.0 - p, p))
    without = np.mean(p) * np.mean(np.logaddexp(0, -slope * x)) + (1 - np.mean(p)) * np.mean(np.logaddexp(0, slope * x))
    assert_within(found.increase[0], without - with_it, found.stderr[0])
    with pytest.raises(AssertionError):  # negative control
        assert_within(found.increase[0], 0.7 * (without - with_it), found.stderr[0])


def test_a_model_that_uses_noise_has_a_floor():
    def overfit(inputs):
        return paper(inputs) + 0.4 * inputs[:, 2:].sum(1)

    found = input_relevance(overfit, make_table(), np.random.default_rng(0))
    assert found.above_floor[:2].all() and not found.above_floor[2:].any() and found.floor > 0.0


def test_shuffling_on_shots_that_were_left_out_unmasks_an_input_that_is_used_for_nothing():
    def spurious(inputs):
        return paper(inputs) + 1.0 * inputs[:, 2]

    table = make_table(3000)
    table.inputs[:, 2] *= 0.2  # most values lie near the middle of the range that noise fills
    table.inputs[:2, 2] = -0.8, 0.8
    noise, shuffled = (
        input_relevance(spurious, table, np.random.default_rng(0), method=method) for method in ("noise", "permutation")
    )
    assert set(np.array(noise.names)[noise.above_floor]) == {"x", "y", "a"}  # negative control
    confirmed = noise.confirmed_by(shuffled)
    assert set(np.array(confirmed.names)[confirmed.above_floor]) == {"x", "y"}


def test_sine_and_cosine_of_an_angle_go_together():
    names = ("sin psi", "sin phi", "cos psi", "cos phi", "d(1,2)", "cos(omega)", "sin(omega)")
    assert paired_columns(names) == {"psi": [0, 2], "phi": [1, 3], "d(1,2)": [4], "omega": [5, 6]}
    table = make_table(300)
    found = input_relevance(paper, table, np.random.default_rng(0), groups={"both": [0, 1], "rest": list(range(2, 10))})
    assert found.names == ["both", "rest"] and found.increase[1] == 0.0
    with pytest.raises(ValueError, match=r"group 'bad' = \[17\] must name columns"):
        input_relevance(paper, table, np.random.default_rng(0), groups={"bad": [17]})
    with pytest.raises(ValueError, match="method = 'guess' must be one of"):
        input_relevance(paper, table, np.random.default_rng(0), method="guess")


def test_the_noise_enters_a_model_through_positions_as_it_does_through_inputs():
    model, shots = model_of(), make_shots(50)
    table = ShotTable.of(model, shots)
    np.testing.assert_allclose(logit_function(model)(table.inputs), model.logit(shots.arrays()["positions"]), atol=1e-6)
    np.testing.assert_allclose(features_of(model, shots.arrays()["positions"]), table.inputs)
    with pytest.raises(ValueError, match="no shots to analyze"):
        ShotTable.of(model, Shots())
    shots.positions[3][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"shooting points \[3\] have inputs that are not finite"):
        ShotTable.of(model, shots)


def test_atoms_share_the_gradient():
    shots = make_shots(400)
    model = fit_model(model_of(), shots, 1)
    positions = shots.arrays()["positions"]
    found = atom_contributions(model, positions[transition_states(model.logit(positions), 0.5)])
    assert found.share.sum() == pytest.approx(1.0) and found.share[0] > 0.99 and found.relative[0] == 1.0
    untrained = model_of()
    for parameter in untrained.parameters():
        parameter.data.zero_()
    with pytest.raises(ValueError, match="does not change with the positions of any atom"):
        atom_contributions(untrained, positions[:3])


def test_contributions_are_the_b_factors(tmp_path):
    positions, relative = np.random.default_rng(0).normal(size=(3, 3)), np.array([1.0, 0.5, 0.0])
    path = tmp_path / "atoms.pdb"
    write_structures(path, plain_topology(len(positions)), positions[None], relative[None])
    factors = [float(line[60:66]) for line in path.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))]
    assert factors == [99.99, 50.0, 0.0] or factors == [99.99, 49.99, 0.0]
    read = app.PDBFile(str(path)).getPositions(asNumpy=True)._value
    np.testing.assert_allclose(read, positions, atol=1e-3)


def test_transition_states_are_the_nearest():
    q = np.array([3.0, -0.1, 0.4, -2.0, 0.6])
    assert transition_states(q, 0.5, least=1).tolist() == [1, 2]
    assert transition_states(q, 0.01, least=3).tolist() == [1, 2, 4]


def test_refined_constants_are_the_most_likely():
    table = make_table(4000, 2, logit=lambda inputs: 0.5 + 2.0 * inputs[:, 0])
    line = simple_formulas([0, 1])[1]
    refined, loss = refine(line, table)
    p = expit(refined(table.inputs))
    score = ((table.n_a + table.n_b) * p - table.n_b) @ np.column_stack([np.ones(len(table)), table.inputs[:, 0]])
    assert np.abs(score / table.n_shots).max() < 1e-4  # the gradient of the likelihood vanishes
    assert loss == pytest.approx(table.loss(refined(table.inputs)))
    slope = sorted(refined.constants())[1]
    assert_within(slope, 2.0, 0.06)
    with pytest.raises(AssertionError):
        assert_within(slope, 1.5, 0.06)  # negative control


@needs_operon
def test_the_formula_of_the_paper_is_found_again():
    table = make_table(800, 4)
    parts = folds(len(table), 4, np.random.default_rng(0))
    exact = shot_losses(paper(table.inputs), table.n_a, table.n_b)
    front = find_formulas(paper, exact, table, [0, 1], parts, 1, n_searches=1, generations=30)
    best = front.formulas[front.chosen]
    assert best.gap < 0.01 and best.complexity < 20
    assert "exp(" in best.text and "x" in best.text and "y" in best.text
    complexity = [each.complexity for each in front.formulas]
    loss = [each.loss for each in front.formulas]
    assert complexity == sorted(set(complexity)) and loss == sorted(loss, reverse=True)
    assert complexity[0] == 1 and any(each.text.count("*") == 2 and "exp" not in each.text for each in front.formulas)
    inputs = np.random.default_rng(5).uniform(-0.5, 0.5, (200, 4))
    error = expit(best.expression(inputs)) - expit(paper(inputs))
    assert np.sqrt(np.mean(error**2)) < 0.04
    linear = front.formulas[[each.complexity for each in front.formulas].index(min(c for c in complexity if c > 5))]
    assert linear.gap > best.gap  # negative control: what the search has to beat


def test_without_operon_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyoperon", None)
    monkeypatch.setitem(sys.modules, "pyoperon.sklearn", None)
    table = make_table(100, 2)
    parts = folds(100, 4, np.random.default_rng(0))
    assert not is_installed()
    with pytest.raises(ImportError, match=r'pip install -c constraints.txt "\.\[ops,symbolic\]"'):
        find_formulas(paper, np.zeros(100), table, [0, 1], parts, 1)
    front = find_formulas(paper, np.zeros(100), table, [0, 1], parts, 1, n_searches=0)
    assert len(front.formulas) >= 2 and front.formulas[0].complexity == 1


def test_held_out_shots_choose_the_decay():
    shots = make_shots(300)
    parts = folds(300, 4, np.random.default_rng(0))
    count = []
    options = [FitOptions(), FitOptions(gate_strength=1e3)]
    fit = cross_fit(model_of(), shots, parts, 1, options, lambda: count.append(1))
    assert fit.options == options[0] and len(count) == 8
    table = ShotTable.of(model_of(), shots)
    assert fit.loss == pytest.approx(table.loss(fit(table.inputs))) and fit.loss < 0.95 * np.log(2.0)
    assert len(fit.ensemble().members) == 4


def fake_shots(error, n=400, n_shots=30, seed=0):
    """Configurations whose predicted logits are off by a factor and a random error."""
    rng = np.random.default_rng(seed)
    true = rng.uniform(-3.0, 3.0, n)
    n_b = rng.binomial(n_shots, expit(true))
    return error[0] * true + error[1] * rng.normal(size=n), n_shots - n_b, n_b, true


def test_a_perfect_model_is_called_perfect():
    logits, n_a, n_b, _ = fake_shots((1.0, 0.0))
    found = calibrate(logits, n_a, n_b)
    assert_within(
        [found.slope, found.intercept, found.bias], [1, 0, 0], [found.slope_stderr, found.intercept_stderr, found.bias_stderr]
    )
    assert_within(found.rmse**2, 0.0, 1e-3)  # without the correction it would be 4e-3
    assert_within(found.bin_sampled, found.bin_predicted, found.bin_stderr)
    naive = np.sqrt(np.mean((found.predicted - n_b / 30) ** 2))
    assert naive > 0.05 > found.rmse  # negative control: the binomial noise of the shots


def test_the_error_of_a_wrong_model_is_measured():
    logits, n_a, n_b, true = fake_shots((1.6, 0.5))
    found = calibrate(logits, n_a, n_b)
    exact = np.sqrt(np.mean((expit(logits) - expit(true)) ** 2))
    assert_within(found.rmse, exact, found.rmse_stderr)
    assert found.slope < 0.8 and (1.0 - found.slope) / found.slope_stderr > 5.0
    with pytest.raises(AssertionError):
        assert_within(found.rmse, 0.5 * exact, found.rmse_stderr)  # negative control


def test_calibration_configurations_are_spread_over_the_logit():
    q = np.concatenate([np.random.default_rng(0).normal(0.0, 0.1, 1000), np.linspace(-4.5, 4.5, 91)])
    chosen = spread_over_q(q, 40, np.random.default_rng(1))
    assert len(set(chosen.tolist())) == 40 and (np.abs(q[chosen]) < 3.0).all()
    assert np.histogram(q[chosen], 6, (-3, 3))[0].min() >= 2
    with pytest.raises(ValueError, match="no configuration has a predicted logit"):
        spread_over_q(np.full(5, 50.0), 3, np.random.default_rng(0))
    with pytest.raises(ValueError, match="2 shots or more"):
        calibrate(np.zeros(3), np.ones(3), np.zeros(3))


@pytest.mark.parametrize("n", [2, 4, 5])
def test_a_slope_needs_more_than_two_configurations(n):
    logits, n_a, n_b, _ = fake_shots((1.0, 0.0))
    found = calibrate(logits[:n], n_a[:n], n_b[:n])
    assert np.isfinite([found.slope, found.slope_stderr, found.intercept, found.intercept_stderr]).all() == (n == 5)
    assert np.isfinite([found.rmse, found.bias]).all()


def test_only_molecules_with_an_extent_are_drawn():
    found = SimpleNamespace(atom_names=["P0", "P1"], atoms=SimpleNamespace(relative=np.array([1.0, 0.5])))
    pair = np.array([[0.0, 0.0, 0.0], [0.3, 0.1, 0.2]])
    assert molecule_figure(SimpleNamespace(positions=pair, topology=None), found, pair) is None
    three = SimpleNamespace(positions=np.zeros((3, 3)), topology=None)
    found = SimpleNamespace(atom_names=["P0", "P1", "P2"], atoms=SimpleNamespace(relative=np.ones(3)))
    bent = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.1, 0.1, 0.0]])
    assert molecule_figure(three, found, bent) is not None  # negative control
    assert molecule_figure(three, found, bent * [1.0, 1e-7, 1.0]) is None


def test_water_that_contributes_is_drawn_beside_the_solute():
    problem = licl.build()
    names = [f"{atom.residue.name}-{atom.name}" for atom in problem.topology.atoms()]
    relative = np.zeros(len(names))
    relative[[0, 1]] = 1.0, 0.9
    found = SimpleNamespace(atom_names=names, atoms=SimpleNamespace(relative=relative))
    assert drawn_atoms(problem, relative).tolist() == [0, 1] and molecule_figure(problem, found, problem.positions) is None
    relative[[9, 300]] = 0.4, 0.05  # the second is too little
    assert drawn_atoms(problem, relative).tolist() == [0, 1, 8, 9, 10]
    moved = problem.positions + [10.0, 0.0, 0.0] * (np.arange(len(names)) >= 8)[:, None]  # water that has left the box
    ax = molecule_figure(problem, found, moved).axes[0]
    assert [text.get_text() for text in ax.texts] == ["LI", "CL", "O", "H1", "H2"]
    assert np.ptp(ax.collections[-1].get_offsets(), axis=0).max() < 2.5  # nm, the edge of the box


def test_weights_count_in_path_averages():
    paths = PathEnsemble([np.zeros((n, 1, 3)) for n in (11, 21, 31)], np.array([1.0, 2.0, 1.0]), np.zeros(3), 0.5)
    mean, _, steps = running_mean(paths, paths.durations, 4)
    np.testing.assert_allclose(mean, [5.0, 7.5, 25.0 / 3.0, 10.0])
    np.testing.assert_allclose(steps, [1.0, 2.0, 3.0, 4.0])
    found = path_statistics(paths, [np.linspace(-3.0, 3.0, n) for n in (11, 21, 31)])
    assert found.mean_time == pytest.approx(10.0) and found.n_paths == 3
    width = np.diff(found.q_edges)
    assert (found.q_density * width).sum() == pytest.approx(1.0)
    assert 0.0 < found.yield_uniform < found.yield_lorentzian <= 0.5
    values = [np.full((n, 2), 0.3 * index) for index, n in enumerate((11, 21, 31))]
    density, x, y = path_density(paths, values, 10)
    assert (density.sum() * np.diff(x)[0] * np.diff(y)[0]) == pytest.approx(1.0)
    assert density[0, 0] / density.sum() == pytest.approx(11 / (11 + 2 * 21 + 31))


def walk(rng):
    """A path from A to B of the double well, as frames."""
    x = np.linspace(-0.45, 0.45, 25) + np.r_[0.0, rng.normal(0.0, 0.02, 23), 0.0]
    return np.stack([x, 0 * x, 0 * x], 1)[:, None]


@pytest.fixture
def run():
    """A one-dimensional system, shots by its exact committor, and some paths."""
    target, rng, shots = double_well_1d.build(temperature=600.0, barrier=10.0), np.random.default_rng(4), Shots()
    x = rng.uniform(-0.35, 0.35, 200)
    n_b = rng.binomial(2, double_well_1d.committor(x, 600.0, 10.0))
    for number in range(200):
        shots.add(number, np.array([[x[number], 0.0, 0.0]]), (2 - n_b[number], n_b[number]), 0.5)
    model = CommittorModel(target.descriptor_spec(), 1, (8,), 600.0, target.fingerprint())
    paths = PathEnsemble([walk(rng) for _ in range(12)], np.ones(12), np.zeros(12), 0.05)
    return target, model, shots, paths


@pytest.mark.parametrize("refit", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_whole_analysis(run, tmp_path, refit):
    options = AnalysisOptions(
        configurations=6, fresh_shots=20, n_searches=0, n_folds=3, gate_strengths=(0.6,), weight_decays=(0.3,), refit=refit
    )
    found = analyze(*run, tmp_path / "out", options)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {
        "report.html",
        "analysis.json",
        "relevance.csv",
        "formulas.csv",
        "calibration.csv",
        "atoms.pdb",
        "atoms.csv",
    }
    data = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert data["paths"]["n_paths"] == 12 and data["paths"]["mean_time"] == pytest.approx(1.2)
    assert data["calibration"]["n_shots"] == 120 and data["relevance"]["inputs"][0]["normalized"] == pytest.approx(1.0)
    rows = list(csv.DictReader((tmp_path / "out" / "formulas.csv").open()))
    assert [int(row["complexity"]) for row in rows] == [each.complexity for each in found.front.formulas]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Relevance of the inputs" in page and page.count("data:image/png") == 4  # a single atom has no shape
    if refit:
        assert found.calibration.rmse < 0.1 and found.calibration.slope == pytest.approx(1.0, abs=0.5)
        again = analyze(*run, tmp_path / "out", options)  # the fresh shots are on record
        np.testing.assert_array_equal(again.calibration.n_b, found.calibration.n_b)
    else:
        assert any("disagree" in sentence for sentence in found.warnings)  # that model has learned nothing


def test_what_cannot_be_analyzed_is_refused(run, tmp_path):
    target, model, shots, paths = run
    model.fingerprint = "0" * 64
    with pytest.raises(ValueError, match="trained for another system"):
        analyze(target, model, shots, paths, tmp_path)
    for options, message in (
        ({"fresh_shots": 1}, "fresh_shots = 1 must be at least 2"),
        ({"state_width": 0.0}, "state_width = 0.0 must be positive"),
        ({"n_folds": 1}, "n_folds = 1 must be at least 2"),
        ({"penalty": -1.0}, "penalty = -1.0 must not be negative"),
    ):
        with pytest.raises(ValueError, match=message):
            AnalysisOptions(**options)
    with pytest.raises(ValueError, match="k = 9 parts of 3 shooting points"):
        folds(3, 9, np.random.default_rng(0))


def test_the_command(run, tmp_path, monkeypatch):
    target, *others = run
    named = (replace(target, name="<b>x</b> & y"), *others)
    monkeypatch.setattr("openmm_rare.workflow.to_analyze.load_path_sampling", lambda folder, trust: named)
    monkeypatch.setattr("openmm_rare.workflow.to_analyze.doubts_of_run", lambda folder: ["Chain 1 never moved."])
    monkeypatch.setattr("openmm_rare.workflow.analysis.is_installed", lambda: False)

    def first_only(template, shots, parts, seed, candidates, on_fit):
        return cross_fit(template, shots, parts, seed, candidates[:1], on_fit)

    monkeypatch.setattr("openmm_rare.workflow.analysis.cross_fit", first_only)
    options = ["--configurations", "3", "--fresh-shots", "5", "--seed", "3"]
    done = CliRunner().invoke(main, ["analyze", str(tmp_path / "run"), "--out", str(tmp_path / "out"), *options])
    assert done.exit_code == 0, done.output
    assert "Warning: Chain 1 never moved." in done.output and "Note: Only linear formulas" in done.output
    assert "Inputs that matter" in done.output and "pip install -c constraints.txt" in done.output
    assert json.loads((tmp_path / "out" / "analysis.json").read_text())["options"]["seed"] == 3
    assert (tmp_path / "out" / "model.npz").is_file()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<b>" not in page and page.count("&lt;b&gt;x&lt;/b&gt; &amp; y") == 2  # title and heading


def test_the_command_refuses_a_folder_without_a_run(tmp_path):
    done = CliRunner().invoke(main, ["analyze", str(tmp_path)])
    assert done.exit_code == 2 and "holds no run" in done.output
