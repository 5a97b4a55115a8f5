"""The command line: what it prints, its exit statuses, and what it refuses; the engine is a stand-in here."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import click
import numpy as np
import pytest
from click.testing import CliRunner

import fabricated
from openmm_rare.cli.main import main
from openmm_rare.config.run import load_config
from openmm_rare.errors import RunError
from openmm_rare.io.progress import TerminalProgress, duration
from openmm_rare.io.run_file import RunFile
from openmm_rare.rates.estimate import RateEstimate
from openmm_rare.systems.known_rates import Reference
from openmm_rare.workflow import engines, finishing, scan


class StandInModel:
    """A model that is only its temperature."""

    def __init__(self, temperature):
        self.temperature = temperature

    def save(self, path):
        path.write_text(f"{self.temperature}")

    @classmethod
    def load(cls, path, fingerprint=None):
        return cls(float(path.read_text()))


class StandInEngine:
    """Records three rounds and returns an invented estimate."""

    backend = "native"
    warnings: tuple = ()
    notes: tuple = ()
    saved_paths = arrivals = None
    error: Exception | None = None
    calls: list = []

    def __init__(self, system, settings, target_error, seed, machine, recorder, progress, **options):
        self.system, self.recorder, self.progress, self.seed = system, recorder, progress, seed
        self.model = StandInModel(system.temperature)
        type(self).calls.append({"system": system, "target_error": target_error, "seed": seed, **options})

    def run(self):
        self.progress.stage("production")
        for i in range(len(self.recorder.load("production")), 3):
            if self.error is not None and i == 1:
                raise self.error
            numbers = np.arange(i * 10, i * 10 + 10)
            contribution = np.linspace(1.0, 2.0, 10) * 1e-4
            record = {"root": numbers, "touched": numbers, "contribution": contribution, "walker_steps": 1000}
            self.recorder.append("production", record)
            self.progress.update(error=f"{30 - 10 * i} %", target="10 %")
        changes = {"system": self.system.name, "temperature_k": self.system.temperature, "seed": self.seed}
        changes |= {"warnings": self.warnings, "reliable": not self.warnings}
        return RateEstimate.from_dict(fabricated.result(**changes))


@pytest.fixture
def engine(monkeypatch):
    class Engine(StandInEngine):
        calls = []

    for module in (finishing, engines):
        monkeypatch.setattr(module, "ImportanceSamplingRate", Engine)
    monkeypatch.setattr("openmm_rare.folders.run_folder.load_committor", StandInModel.load)
    monkeypatch.setattr("openmm_rare.folders.run_folder.require_fitting", lambda *arguments: None)
    for module in (scan, engines):
        monkeypatch.setattr(module, "CommittorModel", StandInModel)
    for module in (finishing, scan):
        monkeypatch.setattr(module, "reference_of", lambda problem: Reference("exact", lambda temperature: 0.4))
    return Engine


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def invoke(*arguments):
        return CliRunner().invoke(main, list(arguments))

    return invoke


def assert_refused(result, message):
    """One line that begins with Error, exit status 2, no traceback."""
    assert result.exit_code == 2, result.output
    errors = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and re.search(message, errors[0]), result.output
    assert "Traceback" not in result.output


def test_help_comes_without_importing_anything_heavy():
    code = (
        "import sys, openmm_rare.cli.main; print([m for m in ('torch', 'openmm', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_systems_are_listed(run):
    result = run("systems")
    assert result.exit_code == 0
    for name in ("double_well_1d", "two_channel_2d", "rugged_14d", "lj7"):
        assert name in result.output
    assert "kt_over_epsilon" in result.output


def test_rate_writes_everything_and_prints_a_table(run, engine, tmp_path):
    result = run("rate", "double_well_1d", "--temperature", "500 K", "--seed", "0", "--out", "d")
    assert result.exit_code == 0, result.output
    for text in ("rate constant k", "0.441 ± 0.019 1/ps", "95 % interval", "exact", "report: d/report.html"):
        assert text in result.output
    names = {path.name for path in (tmp_path / "d").iterdir()}
    assert names == {"config.toml", "run.nc", "model.npz", "result.json", "figures", "report.html", "log.txt"}
    saved = json.loads((tmp_path / "d" / "result.json").read_text())
    assert (saved["temperature_k"], saved["seed"]) == (500.0, 0)
    config = load_config(tmp_path / "d" / "config.toml")
    assert (config.system.temperature_k, config.sampling.seed, config.sampling.target_error) == (500.0, 0, 0.1)
    assert engine.calls[0]["target_error"] == 0.1
    attributes = RunFile.open(tmp_path / "d" / "run.nc").attributes
    assert attributes["seed"] == 0 and "version_openmm" in attributes


def test_default_folder_names_system_and_temperature(run, engine, tmp_path):
    assert run("rate", "double_well_1d", "--temperature", "500 K").exit_code == 0
    assert (tmp_path / "runs" / "double_well_1d_500K" / "result.json").exists()


def test_strict_turns_a_warning_into_an_exit_status(run, engine):
    engine.warnings = ("A few roots carry most of the answer.",)
    relaxed = run("rate", "double_well_1d", "--out", "a")
    assert relaxed.exit_code == 0 and "Warning (300 K): A few roots carry most" in relaxed.output
    assert run("rate", "double_well_1d", "--out", "b", "--strict").exit_code == 3
    engine.warnings = ()
    assert run("rate", "double_well_1d", "--out", "c", "--strict").exit_code == 0


def test_a_folder_with_something_in_it_is_refused_and_untouched(run, engine, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine.txt").write_text("keep")
    assert_refused(run("rate", "double_well_1d", "--out", "d"), "not empty.*choose another folder")
    assert_refused(run("rate", "double_well_1d", "--out", "d", "--resume"), "not empty.*choose another folder")
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["mine.txt"]
    assert_refused(run("rate", "double_well_1d", "--out", "d/mine.txt"), "is a file")
    assert run("rate", "double_well_1d", "--out", "e").exit_code == 0
    assert_refused(run("rate", "double_well_1d", "--out", "e"), "holds a run already.*--resume")
    assert not engine.calls[1:]


def test_resume_continues_after_a_crash(run, engine, tmp_path):
    engine.error = KeyError("bug")
    crashed = run("rate", "double_well_1d", "--temperature", "500 K", "--seed", "4", "--out", "d")
    assert isinstance(crashed.exception, KeyError)
    assert RunFile.open(tmp_path / "d" / "run.nc").kinds == {"production": 1}
    engine.error = None
    resumed = run("rate", "double_well_1d", "--out", "d", "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert RunFile.open(tmp_path / "d" / "run.nc").kinds["production"] == 3
    assert (engine.calls[1]["seed"], engine.calls[1]["system"].temperature) == (4, 500.0)


def test_a_run_that_fails_before_its_first_round_leaves_no_trace(run, engine, tmp_path, monkeypatch):
    def fail(self):
        raise RuntimeError("at once")

    monkeypatch.setattr(engine, "run", fail)
    assert isinstance(run("rate", "double_well_1d", "--out", "d").exception, RuntimeError)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seed", "5"), "seed = 5 differs from the run in d, which has 1"),
        (("--temperature", "310 K"), "temperature = 310 K differs .* 300 K"),
        (("--platform", "CPU"), "platform = CPU differs .* Reference"),
        (("--brute-force",), "method = brute_force differs"),
        (("--target-error", "0.2"), "target_error = 0.2 is above .* 0.1.*more precise, not less"),
    ],
)
def test_resume_refuses_another_calculation(run, engine, options, message):
    assert run("rate", "double_well_1d", "--out", "d").exit_code == 0
    assert_refused(run("rate", "double_well_1d", "--out", "d", "--resume", *options), message)


def test_resume_refuses_another_system_and_takes_a_smaller_error(run, engine, tmp_path):
    assert run("rate", "double_well_1d", "--out", "d").exit_code == 0
    assert_refused(run("rate", "lj7", "--out", "d", "--resume"), "another system, other states or other dynamics")
    assert run("rate", "double_well_1d", "--out", "d", "--resume", "--target-error", "0.05").exit_code == 0
    assert load_config(tmp_path / "d" / "config.toml").sampling.target_error == 0.05
    assert engine.calls[-1]["target_error"] == 0.05


def test_a_file_is_continued_as_the_command_line_began_it(run, engine, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('[system]\nname = "double_well_1d"\n')
    begun = ("--target-error", "0.05", "--seed", "4", "--temperature", "500 K", "--out", "d")
    assert run("rate", str(path), *begun).exit_code == 0
    assert run("rate", str(path), "--out", "d", "--resume").exit_code == 0
    call = engine.calls[-1]
    assert (call["seed"], call["target_error"], call["system"].temperature) == (4, 0.05, 500.0)
    path.write_text('[system]\nname = "double_well_1d"\n[sampling]\nseed = 5\n')  # what the file says counts
    assert_refused(run("rate", str(path), "--out", "d", "--resume"), "seed = 5 differs from the run in d, which has 4")
    assert run("rate", str(path), "--out", "new", "--resume").exit_code == 0  # none there: it begins
    assert engine.calls[-1]["seed"] == 5


def test_resume_of_a_damaged_run_says_so(run, engine, tmp_path):
    assert run("rate", "double_well_1d", "--out", "d").exit_code == 0
    path = tmp_path / "d" / "run.nc"
    path.write_bytes(path.read_bytes()[:2000])
    assert_refused(run("rate", "double_well_1d", "--out", "d", "--resume"), "run.nc is truncated or damaged")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lj8",), "'lj8' is neither a system nor a file; did you mean 'lj7'"),
        (("none.toml",), "none.toml does not exist"),
        (("lj7", "--temperature", "600 C"), "--temperature = '600 C' has an unknown unit"),
        (("lj7", "--temperature", "-5 K"), "must be positive"),
        (("lj7", "--target-error", "2"), "target_error = 2.0 must be"),
        (("lj7", "--platform", "Abacus"), "platform 'Abacus' is not available here; this machine has .*Reference"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(run, tmp_path, arguments, message):
    assert_refused(run("rate", *arguments, "--out", "d"), message)
    assert not (tmp_path / "d").exists()


def test_configuration_files_and_their_mistakes(run, engine, tmp_path):
    (tmp_path / "my.toml").write_text('[system]\nname = "double_well_1d"\n[sampling]\ntarget_eror = 0.2\n')
    assert_refused(run("rate", "my.toml", "--out", "d"), r"my.toml: unknown key 'target_eror' in section \[sampling\]")
    (tmp_path / "my.toml").write_text('[system]\nname = "double_well_1d"\n[sampling]\ntarget_error = 0.2\n')
    assert run("rate", "my.toml", "--out", "d").exit_code == 0
    assert engine.calls[0]["target_error"] == 0.2
    again = run("rate", "d/config.toml", "--out", "e")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "e" / "config.toml").read_text() == (tmp_path / "d" / "config.toml").read_text()


def test_purposeful_errors_are_one_line_and_bugs_keep_their_traceback(run, monkeypatch):
    """A raise statement of this package is an answer; NumPy failing inside it is a bug, though both are ValueErrors."""
    monkeypatch.setattr("openmm_rare.systems.list_systems", lambda: np.zeros(2) + np.zeros(3))
    bug = run("systems")
    assert bug.exit_code == 1 and isinstance(bug.exception, ValueError)
    assert_refused(run("rate", "lj8"), "neither a system")
    shown = run("--traceback", "rate", "lj8")
    assert shown.exit_code == 1 and isinstance(shown.exception, ValueError)


def test_keyboard_interrupt_says_how_to_go_on(run, engine):
    engine.error = KeyboardInterrupt()
    result = run("rate", "double_well_1d", "--out", "d")
    assert result.exit_code == 130 and "continue with --resume" in result.output


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_a_command_alike(run, engine, number, status):
    def interrupted(self):
        os.kill(os.getpid(), number)
        time.sleep(5.0)
        raise AssertionError("nothing came")

    engine.run = interrupted
    # a shell that runs the tests in the background has them ignore Ctrl-C
    found = signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    before = signal.getsignal(number)
    result = run("rate", "double_well_1d", "--out", "d")
    assert result.exit_code == status and "continue with --resume" in result.output, result.output
    assert "There is no estimate yet" in result.output and signal.getsignal(number) == before
    signal.signal(number, found)


LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING|ERROR) +(.*)")


def log_of(folder):
    """Levels and texts."""
    lines = (folder / "log.txt").read_text().splitlines()
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), lines
    return [match.groups() for match in found]


def test_all_that_is_shown_is_in_the_log_also_of_later_sessions(run, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/openmm-rare", "rate", "double well.toml", "--out", "d"])
    engine.warnings = ("A few roots carry most of the answer.",)
    engine.error = KeyboardInterrupt()
    run("rate", "double_well_1d", "--out", "d")
    first = log_of(tmp_path / "d")
    assert ("WARNING", "stopped") in first and first[0][1] == "command: openmm-rare rate 'double well.toml' --out d"
    engine.error = None
    shown = run("rate", "double_well_1d", "--out", "d", "--resume")
    log = log_of(tmp_path / "d")
    assert log[: len(first)] == first and ("WARNING", f"Warning (300 K): {engine.warnings[0]}") in log[len(first) :]
    said = [text.strip() for _, text in log[len(first) :]]
    missing = [line for line in shown.output.splitlines() if line.strip() and line.strip() not in said]
    assert not missing and "report: d/report.html" in said


def test_errors_are_in_the_log_and_bugs_with_their_traceback(run, engine, tmp_path):
    engine.error = RunError("too slow")
    assert_refused(run("rate", "double_well_1d", "--out", "d"), "too slow")
    assert log_of(tmp_path / "d")[-1] == ("ERROR", "too slow")
    engine.error = KeyError("bug")
    run("rate", "double_well_1d", "--out", "e")
    text = (tmp_path / "e" / "log.txt").read_text()
    assert "ERROR   KeyError" in text and "Traceback" in text and "raise self.error" in text


def test_quiet_shows_warnings_and_the_result_and_logs_the_rest(run, engine, tmp_path):
    engine.warnings = ("A few roots carry most of the answer.",)
    loud, quiet = run("rate", "double_well_1d", "--out", "a"), run("--quiet", "rate", "double_well_1d", "--out", "b")
    assert "production" in loud.stderr and quiet.stderr == "Warning (300 K): A few roots carry most of the answer.\n"
    assert quiet.stdout.replace("b/", "a/") == loud.stdout
    assert any("production" in text for _, text in log_of(tmp_path / "b"))
    both = run("-q", "-v", "systems")
    assert both.exit_code == 2 and "leave out one of them" in both.output


def test_every_default_is_in_the_help(run):
    """Options without one mean that nothing is done: files, lists, and names that the user has to know."""
    without = set()

    def walk(command):
        for inner in getattr(command, "commands", {}).values():
            walk(inner)
        options = (each for each in command.params if isinstance(each, click.Option))
        without.update(each.opts[0] for each in options if not (each.is_flag or each.required or each.show_default))

    walk(main)
    names = "model scheduler devices allow-package compare importance brute-force json temperature storage system"
    of_init = "out topology include water state-a state-b trajectory"
    of_scripts = "storage system"
    assert without == {f"--{name}" for name in f"{names} {of_init} {of_scripts}".split()}


def test_scan_hands_the_model_down_and_resumes(run, engine, tmp_path):
    arguments = ("scan", "double_well_1d", "--out", "s", "--temperature", "400 K", "--temperature", "600 K")
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert [call["system"].temperature for call in engine.calls] == [600.0, 400.0]
    assert engine.calls[0]["model"] is None and engine.calls[1]["model"].temperature == 600.0
    lines = [line.split()[0] for line in result.output.splitlines() if line[:3] in ("400", "600") and "K:" not in line]
    assert lines == ["600", "400", "600", "400"]  # rates and channels
    assert (tmp_path / "s" / "figures" / "arrhenius.png").exists()
    assert "Arrhenius" in (tmp_path / "s" / "report.html").read_text()
    assert_refused(run(*arguments), "holds a run already")
    assert run(*arguments, "--temperature", "300 K", "--resume").exit_code == 0
    assert engine.calls[-1]["model"].temperature == 400.0
    assert [e["temperature_k"] for e in json.loads((tmp_path / "s" / "scan.json").read_text())["estimates"]] == [
        600,
        400,
        300,
    ]
    (tmp_path / "s" / "report.html").unlink()
    assert run("report", "s").exit_code == 0 and (tmp_path / "s" / "report.html").exists()


def test_scan_needs_temperatures(run):
    result = run("scan", "lj7")
    assert result.exit_code == 2 and "--temperature" in result.output


def test_report_of_what_is_no_run(run, tmp_path):
    assert_refused(run("report", "nowhere"), "nowhere is no run folder")
    fabricated.run_folder(tmp_path / "r", finished=False)
    assert_refused(run("report", "r"), "not finished: continue it with --resume")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def drive(stream, interval=0.02):
    with TerminalProgress(stream, interval) as progress:
        progress.stage("pilot", 4)
        progress.update(strength=1.0)
        progress.stage("production")
        for i in range(1, 5):
            time.sleep(0.03)
            progress.update(error=f"{40 / i**0.5:.1f} %", target="10 %", ess=50)
        time.sleep(0.05)
    return stream.getvalue()


def test_progress_without_terminal_is_plain_lines():
    lines = drive(io.StringIO()).splitlines()
    assert lines[0] == "pilot ..." and "production ..." in lines
    running = [line for line in lines if line.startswith("production:") and "left" in line]
    assert running and re.search(r"production: \d+ %, error 20.0 %, target 10 %, ess 50; \d+ s, about \d+ s left", running[-1])
    assert lines[-1].startswith("production: error 20.0 %") and "took" in lines[-1]
    assert "\r" not in "".join(lines)


def test_progress_on_a_terminal_draws_bars():
    text = drive(Terminal())
    assert "25 %|" in text and "production" in text and "about" in text
    assert "100 %|" in text.splitlines()[-1] or "100 %|" in text


def test_news_without_work_changes_what_is_shown_but_not_the_time_left(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with TerminalProgress(io.StringIO(), 3600.0) as progress:
        progress.stage("pilot", 4)
        for _ in range(2):
            clock[0] += 30.0
            progress.update(strength=1.0)
        clock[0] += 10.0
        before = progress._seconds_left()
        assert before == pytest.approx(2 * 30.0 - 10.0)
        progress.update(0, chosen_strength=0.7)
        assert progress._seconds_left() == before
        assert progress._text(False) == "chosen strength 0.7; 1 min 10 s, about 50 s left"
        clock[0] += 100.0  # the third of four takes long
        assert progress._seconds_left() == pytest.approx(30.0)
        clock[0] -= 100.0
        progress.update(1, chosen_strength=0.7)  # negative control: work done does change it
        assert progress._seconds_left() != before


def test_work_that_was_replayed_says_nothing_about_the_time_left(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with TerminalProgress(io.StringIO(), 3600.0) as progress:
        progress.stage("shots")
        for number in range(1, 5):
            clock[0] += 0.01
            progress.update(error=f"{40 / number**0.5} %", target="10 %")
        assert progress._seconds_left() < 1.0
        clock[0] += 60.0  # the first that is not replayed
        assert progress._seconds_left() is None and "left" not in progress._text(False)
        progress.update(error=f"{40 / 5**0.5} %", target="10 %")
        assert progress._seconds_left() == pytest.approx(11 * 60.0, rel=0.01)


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_an_error_that_is_not_known_yet_is_shown_and_gives_no_time_left(stream):
    with TerminalProgress(stream(), 0.01) as progress:
        progress.stage("flux and exit pool")
        progress.update(1000, error="not known yet", target="6 %")
        assert progress._seconds_left() is None
        time.sleep(0.05)
        progress.update(1000, error="12 %", target="6 %")
        assert progress._seconds_left() > 0.0
        progress.update(1000, error="not known yet", target="6 %")
    text = progress._stream.getvalue()
    assert "error not known yet, target 6 %" in text and "took" in text


def test_progress_that_breaks_off_does_not_claim_to_be_done():
    stream = io.StringIO()
    with pytest.raises(KeyError), TerminalProgress(stream) as progress:
        progress.stage("production", 10)
        progress.update()
        raise KeyError
    assert "took" not in stream.getvalue() and "10 %" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (2e5, "2 d 7 h")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
