"""The figures of examples/jung_42d: the exact committor on its grid, what is compared with it, and all panels."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

from openmm_rare.io.tasks import Silent
from openmm_rare.report import plots
from openmm_rare.report.mechanism_plots import plot_isolines, plot_yields
from openmm_rare.systems import jung_42d
from stats import assert_within

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "jung_42d"))
import exact as grid
import panels as drawn

SHOTS = 60


class Here:
    """A pool that computes at once."""

    def submit(self, function, *arguments):
        from concurrent.futures import Future

        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    file = tmp_path_factory.mktemp("exact") / "exact.npz"
    made = grid.Exact.load(file, SHOTS, Here(), Silent())
    again = grid.Exact.load(file, SHOTS, None, Silent())  # from the file: there is no pool to compute with
    np.testing.assert_array_equal(made.in_b, again.in_b)
    return made


def test_the_exact_committor_is_symmetric_and_as_smooth_as_its_errors_say(exact):
    both = (exact.p + exact.p[::-1, ::-1])[exact.sampled]
    assert (np.abs(both - 1.0) > 1e-12).sum() <= 1  # the middle is its own mirror image
    assert 0.5 < exact.summary()["chi_squared_of_spline"] < 2.0
    middle = np.zeros((1, 14, 3))
    assert_within(expit(exact.logit(middle))[0], 0.5, 0.02)
    middle[0, 0, :2] = jung_42d.CENTER_B
    assert exact.logit(middle)[0] > 2.0


def test_models_are_compared_without_the_noise_of_the_shots(exact):
    there = grid.on_plane(exact.logit, exact)
    assert grid.compare(there, exact).rmse < 0.04
    assert grid.compare(there, exact).rmse < grid.compare(1.3 * there, exact).rmse
    assert grid.compare(-there, exact, lowest=0.1).rmse > 0.2  # negative control
    with_oscillators = grid.on_plane(lambda positions: positions[:, 5, 2], exact, seed=1)
    assert np.nanstd(with_oscillators) > 0.01 and not np.nan_to_num(grid.on_plane(lambda x: x[:, 5, 2], exact)).any()
    np.testing.assert_array_equal(there, grid.on_plane(exact.logit, exact, seed=1))


def test_yields_are_those_of_the_trials():
    rng, figure_axes = np.random.default_rng(1), plots.new_figure(1, 2)[1]
    outcomes = (rng.random((6, 400)) < 0.3).astype(float)
    plot_yields(figure_axes[0], {"some": ("black", outcomes)})
    plot_yields(figure_axes[1], {"some": ("black", outcomes)}, window=100)
    sums, mean = (axes.get_lines()[0] for axes in figure_axes)
    assert sums.get_ydata()[-1] == pytest.approx(outcomes.sum(1).mean())
    assert mean.get_xdata()[0] == 100 and mean.get_ydata()[-1] == pytest.approx(outcomes[:, -100:].mean())
    assert figure_axes[0].get_lines()[1].get_ydata()[-1] == 200.0  # half of all trials


def test_isolines_lie_where_the_function_has_their_value():
    (axes,) = plots.new_figure()[1]
    x, y = np.linspace(-1, 1, 21), np.linspace(-1, 1, 11)
    plane = np.broadcast_to(0.5 + 0.4 * x[:, None], (21, 11))
    plot_isolines(axes, x, y, {"plane": ("black", [plane])}, levels=[0.5, 0.7])
    ends = [path.vertices[:, 0] for path in axes.collections[0].get_paths()]
    np.testing.assert_allclose(np.concatenate(ends), np.repeat([0.0, 0.5], [len(each) for each in ends]), atol=1e-12)


def fabricated(rng, names):
    """What the analysis of a run leaves."""
    truth = rng.uniform(0.05, 0.95, 40)
    shots = {"predicted": truth, "n_b": rng.binomial(40, truth).astype(float)}
    shots["n_a"] = 40 - shots["n_b"]
    increase = np.r_[0.3, 0.1, np.abs(rng.normal(0.0, 1e-3, len(names) - 2))]
    relevance = {"names": names, "increase": increase.tolist(), "floor": 0.004, "confirmed": names[:2], "loss": 0.5}
    return {"relevance": relevance | {"method": "noise"}, "run": {key: value.tolist() for key, value in shots.items()}}


def test_all_panels_are_drawn_and_written(exact, tmp_path):
    rng, names = np.random.default_rng(2), ["x0", "y0", *(f"x{number}" for number in range(1, 20))]
    runs = [fabricated(rng, names), fabricated(rng, names)]
    curves = {
        label: {name: rng.random((2, 300)) < chance for name, chance in (("generated", 0.4), ("accepted", 0.3))}
        for label in ("learned", "uniform", "aimless")
    }
    there = grid.on_plane(exact.logit, exact)
    panels = drawn.Panels(
        curves,
        drawn.pooled_relevance(runs),
        [there, 1.1 * there],
        there,
        "3*x0*exp(2*x0*y0)",
        exact,
        drawn.pooled_calibration(runs, "run"),
    )
    assert panels.relevance.names[:2] == ["x0", "y0"] and panels.relevance.above_floor.sum() == 2
    assert panels.calibration.rmse < 0.05 and len(panels.calibration.predicted) == 80
    drawn.draw(panels, tmp_path)
    drawn.write_tables(panels, [{"selector": "learned", "yield": 0.4}], tmp_path)
    assert all((tmp_path / f"figure3.{suffix}").stat().st_size > 50_000 for suffix in ("png", "svg"))
    with open(tmp_path / "isolines.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == exact.sampled.sum()
    np.testing.assert_allclose([float(row["exact"]) for row in rows], exact.p[exact.sampled])
    np.testing.assert_allclose([logit(float(row["formula"])) for row in rows], there[exact.sampled], atol=1e-6)
