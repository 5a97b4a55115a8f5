"""Kills at random moments: the whole process tree, by the CPU time it has used; continued until finished, then compared.

A run that was killed and continued must hold what an uninterrupted run holds, in every entry but the wall time, and the same
files. A case is a number of kills, made in as many runs as it takes, of which each is continued to its end.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from children import Ended
from contents import contents, difference
from outcomes import Outcome

__all__ = ["COMMANDS", "PROGRAM", "Command", "KillCase", "kill_cases", "prepare", "session"]

PROGRAM: tuple[str, ...] = (sys.executable, "-c", "from openmm_rare.cli.main import main; main(prog_name='openmm-rare')")
"""The command, of this interpreter."""

RATE = """[system]
name = "double_well_1d"
[sampling]
target_error = 0.3
hidden = [32, 32]
n_slots = 300
flux_walkers = 300
flux_steps = 300
strengths = [1.0, 0.7]
pilot_roots = 100
production_roots = 300
first_stage_rounds = 4
stage_rounds = 2
last_stage_rounds = 3
updates = 20
sweeps = 1
last_updates = 60
batch = 128
residual_batch = 64
"""
PATHS = """[system]
name = "jung_42d"
[path_sampling]
trials = 20
chains = 2
processes = 2
"""
POINTS = """[system]
name = "jung_42d"
[path_sampling]
method = "points"
trials = 20
walkers = 2
processes = 2
"""
KILLS = 10  # of a case; of the commands that take longest, 5
IMPORTS_S = 1.2  # CPU time before which a process has done nothing
SESSION_S = 900.0  # wall time after which one hangs
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Command:
    """A command that can be continued.

    Attributes
    ----------
    config : str
        TOML, written to ``config.toml`` beside the folder of the run; empty: none.
    arguments : tuple of str
        With ``{config}`` and ``{folder}``.
    begins_with : str
        The command whose finished folder it needs.
    """

    config: str
    arguments: tuple[str, ...]
    begins_with: str = ""

    def line(self, folder: Path, seed: int) -> list[str]:
        """The command line for a folder."""
        texts = [text.format(config=folder.parent / "config.toml", folder=folder) for text in self.arguments]
        return [*texts, "--seed", str(seed)]


_RUN = ("{config}", "--out", "{folder}", "--resume")
COMMANDS: dict[str, Command] = {
    "rate": Command(RATE, ("rate", *_RUN)),
    "rate, brute force": Command(
        RATE.replace("0.3\n", "0.15\n", 1), ("rate", *_RUN, "--brute-force", "--temperature", "900 K")
    ),
    "tps": Command(PATHS, ("tps", *_RUN)),
    "tps, workers": Command(PATHS, ("tps", *_RUN, "--workers", "2")),
    "tps, points": Command(POINTS, ("tps", *_RUN)),
    "scan": Command(RATE, ("scan", *_RUN, "--temperature", "500 K", "--temperature", "400 K", "--brute-force", "900 K")),
    "analyze": Command("", ("analyze", "{folder}", "--configurations", "4", "--fresh-shots", "10"), "tps"),
}
WANTED: dict[str, int] = {
    "rate": 80,
    "rate, brute force": 20,
    "tps": 50,
    "tps, workers": 20,
    "tps, points": 10,
    "scan": 10,
    "analyze": 10,
}


def session(
    line: Sequence[str], log: Path, stop: Callable[[float], bool], program: Sequence[str] = PROGRAM
) -> tuple[Ended, float]:
    """Run a command until it ends or is to be killed, with all its processes.

    Parameters
    ----------
    line : sequence of str
        Arguments.
    log : Path
        For what it says.
    stop : callable
        Of the CPU seconds that its processes have used so far.
    program : sequence of str

    Returns
    -------
    ended : Ended
        With the status -9 if it was killed.
    cpu_s : float
        What its living processes had used when they were looked at last.
    """
    used, begun, killed = 0.0, time.monotonic(), False
    with open(log, "w", encoding="utf-8") as stream:
        process = subprocess.Popen([*program, *line], stdout=stream, stderr=stream, start_new_session=True)
        hangs = False
        while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) and not killed and not hangs:
            used = max(used, _cpu_of_session(process.pid))
            killed, hangs = stop(used), time.monotonic() - begun > SESSION_S
            time.sleep(0.02)
        if killed or hangs:
            os.killpg(process.pid, signal.SIGKILL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    _end_of_session(process.pid)
    cpu = max(used, usage.ru_utime + usage.ru_stime)
    return Ended(None if hangs else process.returncode, log.read_text(errors="replace"), usage.ru_maxrss / 1e6, cpu), used


@dataclass(frozen=True)
class KillCase:
    """So many kills of a command."""

    group: str
    number: int
    kills: int
    seed: int
    program: tuple[str, ...] = PROGRAM
    campaign: str = "kill"

    @property
    def key(self) -> tuple[str, str, str]:
        """Campaign, group and name."""
        return self.campaign, self.group, f"{self.kills} kills, seed {self.seed}, {self.number}"

    def run(self, work: Path) -> Outcome:
        """Kill, continue, compare."""
        command, random_times = COMMANDS[self.group], random.Random(f"{self.key}")
        wanted = prepare(work, self.group, self.seed, self.program)
        usual_cpu = float((wanted.parent / "cpu.txt").read_text())
        place = work / f"kill-{self.group}-{self.seed}-{self.number}".replace(", ", "-")
        shutil.rmtree(place, ignore_errors=True)
        kills, runs, memory, cpu, kind, note = 0, 0, 0.0, 0.0, "right", ""
        while kills < self.kills and kind == "right":
            folder, runs = _begin(place / f"run-{runs}", command, wanted.parent), runs + 1  # one may end before it is killed
            status = -signal.SIGKILL
            while status == -signal.SIGKILL and kind == "right":
                limit = random_times.uniform(min(IMPORTS_S, usual_cpu / 2), usual_cpu) if kills < self.kills else float("inf")
                log = folder.parent / f"session-{kills}.log"
                ended, _ = session(command.line(folder, self.seed), log, lambda used, most=limit: used > most, self.program)
                memory, cpu, status = max(memory, ended.memory_gb), cpu + ended.cpu_s, ended.status
                if status == -signal.SIGKILL and limit < float("inf"):
                    kills += 1
                elif ended.failure:
                    kind, note = ended.failure.replace("refused", "lost"), f"after {kills} kills: {ended.last_line[:200]}"
            if kind == "right" and (note := difference(contents(wanted), contents(folder))):
                kind = "silent"
        if kind == "right":
            shutil.rmtree(place)
        else:
            note = f"{note} (see {place})"
        return Outcome(*self.key, kind, note, max(kills, 1), memory, cpu)


def prepare(work: Path, name: str, seed: int, program: Sequence[str] = PROGRAM) -> Path:
    """The folder of an uninterrupted run, made once, with ``cpu.txt`` beside it.

    Raises
    ------
    RuntimeError
        If the command fails without being killed.
    """
    place = work / f"whole-{name}-{seed}".replace(", ", "-")
    if not (place / "cpu.txt").exists():
        shutil.rmtree(place, ignore_errors=True)
        command = COMMANDS[name]
        before = prepare(work, command.begins_with, seed, program).parent if command.begins_with else None
        folder = _begin(place, command, before)
        ended, used = session(command.line(folder, seed), place / "session.log", lambda used: False, program)
        if ended.failure:
            raise RuntimeError(f"{name} fails without any kill, see {place / 'session.log'}: {ended.last_line}")
        (place / "cpu.txt").write_text(f"{used}")
    return place / "run"


def kill_cases(fraction: float, seed: int) -> list[KillCase]:
    """All cases, or a fraction of them."""
    return [
        KillCase(name, number, min(KILLS, wanted), seed + number % 2)
        for name, wanted in WANTED.items()
        for number in range(max(1, round(fraction * wanted / KILLS)))
    ]


def _begin(place: Path, command: Command, before: Path | None) -> Path:
    """The folder of a run that is to begin: with what it needs, and a configuration beside it."""
    place.mkdir(parents=True)
    (place / "config.toml").write_text(command.config)
    if command.begins_with and before is not None:
        shutil.copytree(before / "run", place / "run", ignore=shutil.ignore_patterns("mechanism"))
    return place / "run"


def _cpu_of_session(leader: int) -> float:
    """CPU seconds of all living processes of a session."""
    total = 0
    for stat in _stats_of_session(leader):
        total += sum(int(ticks) for ticks in stat[11:13])
    return total / TICKS


def _stats_of_session(leader: int) -> list[list[str]]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            stat = path.read_text().rpartition(")")[2].split()
        except OSError:  # has ended meanwhile
            continue
        if int(stat[3]) == leader:
            found.append(stat)
    return found


def _end_of_session(leader: int) -> None:
    """Wait until nothing of a session lives: what is left after some seconds would write into the folder."""
    end = time.monotonic() + 10.0
    while any(stat[0] != "Z" for stat in _stats_of_session(leader)):
        if time.monotonic() > end:
            raise RuntimeError(f"processes of session {leader} live on after its end")
        time.sleep(0.05)
