"""The drivers of `make validate-reliability` count what they must: programs with planted faults, and honest ones."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "validation" / "reliability"
sys.path.append(str(FOLDER))

import children  # noqa: E402
import corruption  # noqa: E402
import damage  # noqa: E402
import fuzz  # noqa: E402
import hard  # noqa: E402
import kill  # noqa: E402
from outcomes import BAD, Outcome, Record, table  # noqa: E402

COUNTS = """
import json, sys, time
from pathlib import Path
folder, flawed = Path(sys.argv[1]), sys.argv[2] == "flawed"
folder.mkdir(exist_ok=True)
state = folder / "state.json"
steps, sessions = json.loads(state.read_text()) if state.exists() else (0, 0)
sessions += 1
while steps < 20:
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    steps += 1
    new = folder.with_name("new")
    new.write_text(json.dumps([steps, sessions]))
    new.rename(state)
state.unlink()
result = {"steps": steps, "wall_seconds": time.time()} | ({"sessions": sessions} if flawed else {})
(folder / "result.json").write_text(json.dumps(result))
"""


@pytest.mark.parametrize(("word", "kind"), [("honest", "right"), ("flawed", "silent")])
def test_kills_find_results_that_depend_on_them(tmp_path, monkeypatch, word, kind):
    (tmp_path / "counts.py").write_text(COUNTS)
    monkeypatch.setitem(kill.COMMANDS, "counts", kill.Command("", ("{folder}", word)))
    outcome = kill.KillCase("counts", 0, 3, 1, (sys.executable, str(tmp_path / "counts.py"))).run(tmp_path)
    assert (outcome.kind, outcome.count) == (kind, 3 if kind == "right" else outcome.count), outcome.note
    assert outcome.count >= 1 and outcome.cpu_s > 0.0
    assert kind == "right" or "result.json: sessions 1 -> " in outcome.note


def _believes(arguments):
    data = Path(arguments[0], "data.json").read_text(errors="replace")
    Path(arguments[0], "result.json").write_text(json.dumps({"length": len(data), "text": data}))


def _checks(arguments):
    data = Path(arguments[0], "data.json").read_text(errors="replace")
    if data != json.dumps({"numbers": list(range(1000))}):
        print("Error: data.json is damaged")
        raise SystemExit(2)
    _believes(arguments)


def _mends(arguments):
    print("data.json was damaged: taken from its copy")
    Path(arguments[0], "data.json").write_text(json.dumps({"numbers": list(range(1000))}))
    _believes(arguments)


def _breaks(arguments):
    json.loads(Path(arguments[0], "data.json").read_text() + "broken")


def _crashes(arguments):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("program", "kind"),
    [(_believes, "silent"), (_checks, "refused"), (_mends, "repaired"), (_breaks, "traceback"), (_crashes, "signal")],
)
def test_damage_that_a_program_believes_is_counted(tmp_path, monkeypatch, program, kind):
    source = tmp_path / "sources" / "data"
    (source / "run").mkdir(parents=True)
    (source / "run" / "data.json").write_text(json.dumps({"numbers": list(range(1000))}))
    monkeypatch.setattr(corruption, "FLOWS", {"read": corruption.Flow("data", ("{folder}",))})
    monkeypatch.setattr(corruption, "GROUPS", {"data": ("data.json", 5, ("read",))})
    (tmp_path / "sources" / "data-other").mkdir()
    (tmp_path / "sources" / "data-other" / "ready").touch()
    (source / "ready").touch()
    corruption.prepare_flows(tmp_path, 1, _believes)
    cases = [corruption.CorruptionCase("data", number, 1, program) for number in range(6)]
    found = [case.run(tmp_path) for case in cases if _kind_of_damage(case, source) != "missing"]
    assert {outcome.kind for outcome in found} == {kind}, found
    assert all((outcome.kind in BAD) == (kind not in ("refused", "repaired")) for outcome in found)


def _kind_of_damage(case, source):
    rng = random.Random(f"{case.key}")
    rng.choice([0])  # the file
    return rng.choice(damage.KINDS)


def test_every_kind_of_damage_changes_a_file(tmp_path):
    rng, data = random.Random(1), json.dumps({"numbers": list(range(1000))}).encode()
    (tmp_path / "other.json").write_bytes(data[::-1])
    for kind in damage.KINDS:
        done = 0
        for _ in range(5):
            (tmp_path / "data.json").write_bytes(data)
            words = damage.damaged(tmp_path / "data.json", kind, tmp_path / "other.json", rng)
            left = (tmp_path / "data.json").read_bytes() if (tmp_path / "data.json").exists() else b""
            assert bool(words) == (left != data), kind
            done += bool(words)
        assert done, kind


@pytest.fixture(autouse=True)
def _memory_of_a_small_process(monkeypatch):
    """A fork has all that this process has, which grows with the tests before."""
    own = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e9
    monkeypatch.setattr(fuzz, "MOST_MEMORY_GB", max(own, 0.2) + 0.8)


def _leaves_the_marker(arguments):
    Path(fuzz.MARKER).touch()
    print("Error: refused, but too late")
    raise SystemExit(2)


def _takes_memory(arguments):
    whole = bytearray(int(1.2e9 * fuzz.MOST_MEMORY_GB))
    print(f"Error: {len(whole)} bytes")
    raise SystemExit(2)


def _refuses(arguments):
    print(f"Error: occupied {fuzz.OCCUPIED}" if "occupied" in arguments else "Error: no")
    raise SystemExit(2)


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        (_leaves_the_marker, "silent"),
        (_takes_memory, "memory"),
        (_breaks, "traceback"),
        (_crashes, "signal"),
        (_refuses, "right"),
    ],
)
def test_what_a_command_does_with_doubtful_input_is_counted(tmp_path, program, kind):
    ended = children.forked(partial(program, ["occupied", str(tmp_path)]), tmp_path / "log.txt", tmp_path)
    assert fuzz.classified(ended, tmp_path)[0] == kind, ended


def test_a_program_that_never_ends_hangs(tmp_path):
    def never():
        while True:
            pass

    assert children.forked(never, tmp_path / "log.txt", tmp_path, cpu_s=1).failure == "hang"
    assert children.forked(signal.pause, tmp_path / "log.txt", tmp_path, wall_s=0.3).failure == "hang"


@pytest.mark.parametrize(
    ("ratio", "warnings", "kind"),
    [(1.1, [], "right"), (1.1, ["?"], "right, warned"), (0.2, ["?"], "wrong, warned"), (0.2, [], "silent")],
)
def test_wrong_rates_must_be_warned(ratio, warnings, kind):
    result = {"rate_per_ps": ratio, "rate_ci95": [ratio / 1.2, ratio * 1.2], "warnings": warnings, "reliable": not warnings}
    assert hard.judged(result, 1.0)[0] == kind


def test_record_goes_on_and_the_table_adds_up(tmp_path):
    record = Record(tmp_path / "outcomes.jsonl")
    record.add(Outcome("kill", "rate", "1", "right", count=10, memory_gb=0.5, cpu_s=60.0))
    record.add(Outcome("fuzz", "models", "1", "silent", memory_gb=0.7))
    with open(tmp_path / "outcomes.jsonl", "a") as stream:
        stream.write('{"campaign": "cut sho')
    again = Record(tmp_path / "outcomes.jsonl")
    assert again.outcomes == record.outcomes
    head, *rows = table(again.outcomes)
    everything = dict(zip(head, rows[-1], strict=True))
    assert [row[0] for row in rows] == ["fuzz: models", "kill: rate", "all"]
    assert (everything["cases"], everything["right"], everything["wrong in silence, or lost"]) == ("11", "10", "1")
    assert (everything["memory, GB"], everything["CPU-minutes"]) == ("0.70", "1.0")


def test_real_commands_take_mutated_input():
    """In a process of its own: forks of this one would lack the threads of OpenMM."""
    pytest.importorskip("openpathsampling")
    code = """
        import sys, tempfile
        from pathlib import Path
        sys.path.append(sys.argv[1])
        import children, fuzz, inputs
        from outcomes import COLUMNS
        children.import_everything()
        with tempfile.TemporaryDirectory() as folder:
            inputs.prepare_inputs(Path(folder))
            for group in fuzz.COUNTS:
                for number in range(3):
                    print(fuzz.FuzzCase(group, number, 1).run(Path(folder)).kind)
    """
    line = [sys.executable, "-c", textwrap.dedent(code), str(FOLDER)]
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= {"right", "refused"} and len(done.stdout.split()) == 15
