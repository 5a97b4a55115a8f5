"""The report of a path sampling run, and runs that start from a driven path."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from executors import workers_here
from matplotlib.patches import Ellipse, Rectangle

from openmm_rare.cli.main import main
from openmm_rare.committor.load import load_committor
from openmm_rare.config.run import SamplingConfig
from openmm_rare.folders.path_folder import PathRecord, load_path_sampling, with_path_settings
from openmm_rare.folders.path_summary import summarize_paths
from openmm_rare.learning.shots import Shots
from openmm_rare.report import plots
from openmm_rare.report.path_plots import plot_fraction, plot_line_density, plot_outlines
from openmm_rare.report.paths import write_path_report
from openmm_rare.settings.paths import PathSettings
from openmm_rare.states.outlines import outlines_as_text, outlines_from_text, outlines_of
from openmm_rare.states.states import CollectiveVariables, Coordinate, Dihedral, Disc, Range, States
from openmm_rare.systems import build
from openmm_rare.tps import sampler
from openmm_rare.workflow.path_sampling import run_path_sampling
from openmm_rare.workflow.rate import configuration
from openmm_rare.workflow.reports import make_report


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(sampler, "Processes", workers_here)


def configure(name, trials, **options):
    config = replace(configuration(name), sampling=SamplingConfig(seed=1))
    return with_path_settings(config, **({"storage": False, "trials": trials} | options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on a plane that starts from a pulled path."""
    made = tmp_path_factory.mktemp("runs") / "plane"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "Processes", workers_here)
        run_path_sampling(configure("two_channel_2d", 60, chains=2, initial_path="biased", steps_per_frame=50), made)
    return made


def test_a_run_from_a_biased_path_resumes_as_if_it_had_not_stopped(folder, tmp_path):
    for trials in (20, 60):
        config = configure("two_channel_2d", trials, chains=2, initial_path="biased", steps_per_frame=50)
        run_path_sampling(config, tmp_path / "run", resume=True)
    whole, resumed = (np.load(run / "shots.npz") for run in (folder, tmp_path / "run"))
    for name in whole.files:
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)
    sampled = build("two_channel_2d").with_check_interval(50)  # tested at frames
    assert load_path_sampling(folder)[0].fingerprint() == sampled.fingerprint()  # no bias is left in it


def test_the_report_is_there_and_can_be_made_again(folder):
    first = (folder / "report.html").read_text()
    for words in (
        "Transition paths of two_channel_2d",
        "transition paths a trial",
        "expected by the model",
        "lorentzian",
        "every 50 steps",
        "biased",
        "[path_sampling]",
        "openpathsampling 1.7.0",
        ">Yield and acceptance</h2>",
        ">Where paths run, and where shots began</h2>",
        f"openmm-rare analyze {folder}<",
    ):
        assert words in first, words
    assert first.count("data:image/png;base64,") == 3
    (folder / "report.html").unlink()
    done = CliRunner().invoke(main, ["report", str(folder)])
    assert done.exit_code == 0 and "report.html" in done.output
    assert (folder / "report.html").read_text() == first


def test_a_run_that_goes_on_has_a_report_that_warns(tmp_path, monkeypatch):
    def stopped(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(sampler.PathSampler, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_path_sampling(configure("double_well_1d", 5), tmp_path / "run")
    page = make_report(tmp_path / "run").read_text()
    assert "No transition path of the dynamics yet in chain 0" in page
    assert "All checks passed" not in page and "unknown" in page and "data:image" not in page
    with pytest.raises(ValueError, match="holds no run: config.toml is missing"):
        write_path_report(tmp_path)
    (tmp_path / "run" / "shots.npz").write_bytes(b"half")
    with pytest.raises(ValueError, match="shots.npz is truncated or damaged"):
        make_report(tmp_path / "run")


def test_trials_that_were_given_up_are_told(folder):
    record = PathRecord.load(folder)
    model = load_committor(folder / "model.npz")
    assert not any("given up" in sentence for sentence in summarize_paths(record, None, model, PathSettings())["warnings"])
    for row in (70, 80, 90):
        record.trials["n_a"][row] = record.trials["n_b"][row] = 0
    result = summarize_paths(replace(record, shots=Shots()), None, model, PathSettings())
    assert not result["reliable"]
    assert any("3 of 120 trials (2 %) were given up" in sentence for sentence in result["warnings"])


def test_fractions_of_the_latest_trials():
    hits = np.repeat([True, False], 50)
    _, (ax,) = plots.new_figure()
    plot_fraction(ax, hits, "hits", np.full(100, 0.5))
    seen, expected = (line.get_ydata() for line in ax.lines[:2])
    assert seen[0] == 1.0 and seen[-1] == 0.0 and len(seen) == 96 and np.allclose(expected, 0.5)
    _, (ax,) = plots.new_figure()
    plot_fraction(ax, hits[:3], "hits")  # a run has to begin somewhere
    assert ax.lines[0].get_xdata() == [3]


def drawn(states, x=(-3.0, 3.0), y=(-1.0, 1.0)):
    _, (ax,) = plots.new_figure()
    ax.set(xlim=x, ylim=y)
    patches = plot_outlines(ax, outlines_of(states), (states.variables.names[0], states.variables.names[1]))
    assert (ax.get_xlim(), ax.get_ylim()) == (x, y)
    return patches


def test_outlines_of_states():
    plane = CollectiveVariables([Coordinate("x", 0, 0), Coordinate("y", 0, 1), Coordinate("z", 0, 2)])
    a, b = drawn(States(plane, Disc({"x": -1.0, "y": 0.0}, 0.2), Range({"x": (1.0, np.inf), "z": (0.0, 1.0)})))
    assert isinstance(a, Ellipse) and a.width == pytest.approx(0.4)
    assert isinstance(b, Rectangle) and b.get_x() == 1.0 and b.get_y() < -1.0 and b.get_x() + b.get_width() > 3.0
    assert len(drawn(States(plane, Range({"z": (0.0, 1.0)}), Range({"z": (2.0, 3.0)})))) == 0  # not in this plane
    angles = CollectiveVariables([Dihedral("phi", (0, 1, 2, 3)), Dihedral("psi", (1, 2, 3, 4))])
    around = States(angles, Range({"phi": (3.0, -3.0)}), Range({"phi": (0.0, 1.0)}))
    assert [round(patch.get_x(), 2) for patch in drawn(around, x=(-np.pi, np.pi))] == [-3.28, 3.0, 0.0]
    for states in (around, States(plane, Disc({"x": -1.0}, 0.2), Range({"x": (1.0, np.inf)}))):
        assert outlines_from_text(outlines_as_text(states)) == outlines_of(states)
    assert outlines_from_text("") == {}  # of an earlier version


def test_the_density_over_one_variable():
    states = States(CollectiveVariables([Coordinate("x", 0, 0)]), Range({"x": (-np.inf, -0.4)}), Range({"x": (0.4, np.inf)}))
    _, (ax,) = plots.new_figure()
    values = np.linspace(-0.5, 0.5, 400)
    plot_line_density(ax, values, np.ones(400), outlines_of(states), "x", values[100:300])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["shooting points", "A", "B"]
