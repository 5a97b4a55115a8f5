"""Figures and reports from invented records: complete, self-contained, and rebuilt from run.nc and result.json."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import fabricated
from openmm_rare.io.run_file import RunFile
from openmm_rare.io.text import format_columns, format_count, format_table, format_value, summary_groups
from openmm_rare.report import page, plots, rate_figures
from openmm_rare.report.page import pretty
from openmm_rare.report.rate import write_rate_report
from openmm_rare.report.rate_figures import convergence, make_figures, root_contributions
from openmm_rare.report.scan import write_scan_report


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = fabricated.run_folder(tmp_path_factory.mktemp("report") / "run")
    write_rate_report(path)
    return path


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture
def no_figures(monkeypatch):
    """For pages whose figures are not looked at: drawing is the slow part."""
    monkeypatch.setattr("openmm_rare.report.rate.make_figures", lambda *arguments: [])


def rewrite(folder, **changes):
    (folder / "result.json").write_text(json.dumps(fabricated.result(**changes)))


def test_every_figure_is_drawn(folder):
    names = {path.stem for path in (folder / "figures").iterdir()}
    assert names == {"convergence", "planes", "map", "paths", "weights", "training"}
    assert all(path.stat().st_size > 5000 for path in (folder / "figures").iterdir())


def test_report_is_self_contained(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 6
    assert not re.search(r"(src|href)=\"(?!data:|#section-)", text) and "@import" not in text and "url(" not in text
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text
    for wanted in (
        "Rate constant of lj7 at 600 K",
        "0.441 ± 0.019",
        "Kramers",
        "through C1",
        "config.toml",
        "openmm 8.6.1",
    ):
        assert wanted in text


def test_report_is_rebuilt_from_run_and_result_alone(folder, tmp_path):
    for name in ("run.nc", "result.json"):
        shutil.copy(folder / name, tmp_path / name)
    write_rate_report(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == (folder / "report.html").read_bytes()


def test_warnings_come_first_and_loudly(copy, no_figures):
    rewrite(copy, reliable=False, warnings=["The tail is <too heavy>."])
    text = write_rate_report(copy).read_text(encoding="utf-8")
    assert "Do not trust these numbers yet" in text and "The tail is &lt;too heavy&gt;." in text
    assert text.index("too heavy") < text.index("<table")
    rewrite(copy)
    assert "All checks passed" in write_rate_report(copy).read_text(encoding="utf-8")


def test_what_the_user_wrote_is_escaped(copy, no_figures):
    rewrite(copy, system="<script>alert(1)</script>")
    assert "<script>" not in write_rate_report(copy).read_text(encoding="utf-8")


def test_what_folders_of_scans_hold_is_escaped(tmp_path):
    hostile = "<script>alert(1)</script>"
    channels = {hostile: {"fraction": 1.0, "fraction_stderr": 0.1}}
    estimate = fabricated.result(system=hostile, warnings=[hostile], channels=channels)
    known = {"label": hostile, "temperature_k": [600.0], "rate_per_ps": [0.4]}
    scan = {"system": hostile, "estimates": [estimate], "brute_force": [], "known": known}
    (tmp_path / "scan.json").write_text(json.dumps(scan))
    text = write_scan_report(tmp_path).read_text(encoding="utf-8")
    assert "<script>" not in text and text.count("&lt;script&gt;") == 5  # title twice, warning, known rate, channel


def test_no_template_goes_round_the_escaping():
    templates = [*Path(page.__file__).with_name("templates").glob("*.html")]
    assert len(templates) == 8 and "{{ title }}" in (templates[0].with_name("page.html")).read_text()
    assert not [each.name for each in templates if re.search(r"safe|autoescape", each.read_text(encoding="utf-8"))]
    with pytest.raises(TypeError, match="is undefined"):  # nothing that a page lacks is left out in silence
        page.write_page(Path("nowhere.html"), "scan.html", title="a scan")


def test_brute_force_report(tmp_path):
    run = RunFile.create(tmp_path / "run.nc", {"config": fabricated.CONFIG})
    rng = np.random.default_rng(1)
    for _ in range(6):
        counts = {"transitions": rng.poisson(0.1, 500), "frames_last_a": np.full(500, 2000)}
        run.append("brute_force", {**counts, "walker_steps": 1_000_000})
    rewrite(tmp_path, method="brute_force", channels={"all": {"fraction": 1.0, "fraction_stderr": 0.0}}, pareto_k=None)
    text = write_rate_report(tmp_path).read_text(encoding="utf-8")
    assert "brute force" in text and "How far to trust it" not in text and "channel" not in text
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["convergence.png"]


def test_a_run_with_a_single_point_and_no_paths_is_drawn(tmp_path):
    run = RunFile.create(tmp_path / "run.nc")
    one = np.zeros(1, dtype=int)
    production = {"root": one, "touched": one, "contribution": np.array([1e-4]), "walker_steps": 10}
    run.append("production", {**production, "log_weights": np.array([-9.0])})
    figures = make_figures(run, fabricated.result(), tmp_path / "figures")
    assert [figure.path.stem for figure in figures] == ["convergence", "weights"]


def test_convergence_ends_at_the_result(folder):
    run, result = RunFile.open(folder / "run.nc"), fabricated.result()
    steps, rate, stderr = convergence(run, result)
    assert (np.diff(steps) > 0).all() and steps[-1] == result["walker_steps"]
    assert rate[-1] == pytest.approx(result["rate_per_ps"])
    contributions = root_contributions(run)
    roots = contributions.std() / contributions.mean() / np.sqrt(len(contributions))
    assert stderr[-1] / rate[-1] == pytest.approx(np.hypot(roots, result["pool_relative_error"]), rel=1e-3)
    assert stderr[-1] < stderr[0]


def test_contributions_that_arrive_in_later_rounds_belong_to_their_root(tmp_path):
    run = RunFile.create(tmp_path / "run.nc")
    run.append("production", {"root": np.array([5, 5, 8]), "touched": np.array([2]), "contribution": np.array([1.0])})
    late = {"root": np.array([7]), "touched": np.array([0, 2, 3]), "contribution": np.array([2.0, 4.0, 8.0])}
    run.append("production", late)
    assert root_contributions(run).tolist() == [2.0, 0.0, 5.0, 8.0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((4.41e-4, 1.2e-5), "(4.41 ± 0.12)e-04"),
        ((0.441, 0.019), "0.441 ± 0.019"),
        ((83.12, 1.24), "83.1 ± 1.2"),
        ((1.0, 0.0), "1.00"),
        ((2.0e7, 3.0e6), "(2.00 ± 0.30)e+07"),
        ((1e-12,), "1.00e-12"),
        ((0.0,), "0.00"),
        ((1234.0,), "1234"),
        ((float("nan"),), "unknown"),
        ((None,), "unknown"),
    ],
)
def test_format_value(arguments, text):
    assert format_value(*arguments) == text


@pytest.mark.parametrize(
    ("number", "text"), [(950, "950"), (12_345, "12.3 thousand"), (48_200_000, "48.2 million"), (3e13, "3.00e+13")]
)
def test_format_count(number, text):
    assert format_count(number) == text


def test_table_is_aligned_and_complete():
    without = {"rate_per_ps": 0.26, "p_ab": 3e-4, "channels": {"through C1": 0.5}}
    text = format_table(summary_groups(fabricated.result(no_reweighting=without), [{"label": "exact", "rate_per_ps": 0.4}]))
    rows = [line for line in text.splitlines() if line.startswith("  ")]
    column = next(row.index("0.441") for row in rows if "0.441" in row)
    assert all(row[column - 1] == " " and row[column] != " " for row in rows)
    for wanted in (
        "(5.12 ± 0.22)e-04",
        "843 of 5000 roots",
        "ours / this = 1.10",
        "0.59 times k",
        "without reweighting 50 %",
    ):
        assert wanted in text


def test_columns_are_aligned():
    lines = format_columns(["T", "k"], [["600", "1"], ["60", "22"]]).splitlines()
    assert lines == ["T    k", "---  --", "600  1", "60   22"]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("(4.41 ± 0.12)e-04 1/ps", "(4.41 ± 0.12) × 10<sup>−4</sup> ps<sup>−1</sup>"),
        ("2.00e+07", "2.00 × 10<sup>7</sup>"),
        ("A & B, make-01", "A &amp; B, make-01"),
    ],
)
def test_values_in_html(text, html):
    assert pretty(text) == html


def test_arrhenius_shows_all_series_with_units():
    figure, (ax,) = plots.new_figure()
    temperatures, rates = np.array([600.0, 300.0]), np.array([1e-1, 1e-5])
    plots.plot_arrhenius(
        ax,
        temperatures,
        rates,
        0.1 * rates,
        curves={"theory": (temperatures, rates)},
        points={"counted": (temperatures, rates, rates)},
    )
    labels = {text.get_text() for text in ax.get_legend().get_texts()}
    assert labels == {"theory", "counted", "importance sampling"}
    assert "1/ps" in ax.get_ylabel() and "K" in ax.get_xlabel() and ax.get_yscale() == "log"
    figure.draw_without_rendering()


def test_training_curves_show_loss_spread_and_residual(folder):
    run = RunFile.open(folder / "run.nc")
    figure = rate_figures._draw_training(run, fabricated.result())
    assert [ax.get_ylabel() for ax in figure.axes] == ["held-out loss", "sd(ln I)", "residual"]
    for ax, name in zip(figure.axes, ("heldout_loss", "sd_log_importance", "residual"), strict=True):
        drawn = np.concatenate([line.get_ydata() for line in ax.get_lines()])
        assert drawn.tolist() == [record[name] for record in run.load("training")]
    assert [text.get_text() for text in figure.axes[0].texts] == ["1012 K", "779 K", "600 K"]


def test_results_of_earlier_versions_are_reported():
    old = fabricated.result()
    del old["window_power"]
    assert "power of I" not in format_table(summary_groups(old))
    new = dict(row for _, rows in summary_groups(fabricated.result()) for row in rows)
    assert new["power of I in windows"] == "0.85"


@pytest.mark.parametrize("values", [np.array([]), np.zeros(5), np.array([1e-300, 1.0])])
def test_histograms_survive_odd_data(values):
    figure, axes = plots.new_figure(1, 2)
    plots.plot_contributions(axes[0], values)
    plots.plot_weights(axes[1], -values)
    figure.draw_without_rendering()
    assert all(ax.get_xlabel() for ax in axes)


def test_figures_do_not_touch_pyplot():
    import subprocess
    import sys

    code = "import sys, openmm_rare.report.plots as p; p.new_figure(); print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
