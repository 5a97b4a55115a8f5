"""Damaged files of run folders, each followed by the command that a user would give next, in a fork with everything imported.

Right is what the undamaged folder gives. A damaged file is refused in one line, or repaired and said so; it never changes what
the command writes without a word.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import kill
from children import Ended, Main, forked, openmm_rare, said
from contents import contents, difference
from damage import KINDS, damaged
from outcomes import Outcome

__all__ = ["FLOWS", "GROUPS", "CorruptionCase", "Flow", "corruption_cases", "prepare_flows", "prepare_source"]


@dataclass(frozen=True)
class Flow:
    """A command on a folder.

    Attributes
    ----------
    source : str
        Which folder: ``NAME`` of :data:`SOURCES`.
    arguments : tuple of str
        With ``{config}`` and ``{folder}``.
    pages : bool
        Whether what it writes is pages: figures and reports.
    """

    source: str
    arguments: tuple[str, ...]
    pages: bool = False


_RESUME = ("--out", "{folder}", "--resume")
_SCAN = ("scan", "{config}", *_RESUME, "--temperature", "500 K", "--temperature", "400 K", "--brute-force", "900 K")
FLOWS: Mapping[str, Flow] = {
    "rate": Flow("rate", ("rate", "{config}", *_RESUME)),
    "rate, killed": Flow("rate-killed", ("rate", "{config}", *_RESUME)),
    "rate, killed, by name": Flow("rate-killed", ("rate", "double_well_1d", *_RESUME)),
    "brute force": Flow("counting-killed", ("rate", "{config}", *_RESUME, "--brute-force", "--temperature", "900 K")),
    "brute force, by name": Flow("counting-killed", ("rate", "double_well_1d", *_RESUME)),
    "report of rate": Flow("rate", ("report", "{folder}"), pages=True),
    "tps": Flow("tps", ("tps", "{config}", *_RESUME)),
    "tps, killed": Flow("tps-killed", ("tps", "{config}", *_RESUME)),
    "tps, killed, by name": Flow("tps-killed", ("tps", "jung_42d", *_RESUME)),
    "tps, more trials": Flow("tps", ("tps", "{config}", *_RESUME, "--trials", "25")),
    "report of tps": Flow("tps", ("report", "{folder}"), pages=True),
    "analyze": Flow("tps", ("analyze", "{folder}", "--configurations", "0", "--formula-inputs", "0")),
    "scan": Flow("scan", _SCAN),
    "report of scan": Flow("scan", ("report", "{folder}"), pages=True),
}
GROUPS: Mapping[str, tuple[str, int, tuple[str, ...]]] = {
    "run.nc": ("run.nc", 130, ("rate", "report of rate", "brute force", "brute force, by name", "rate, killed")),
    "parts of run.nc": ("run.nc.parts/*", 120, ("rate, killed", "rate, killed, by name", "brute force")),
    "shots.npz": ("shots.npz", 90, ("report of tps", "tps", "report of tps", "tps, killed", "report of tps", "analyze")),
    "paths": ("chain-*/paths-*.npz", 80, ("report of tps", "tps", "report of tps", "tps, killed")),
    "model.npz": ("*model.npz", 50, ("report of tps", "tps", "rate", "analyze")),
    "steps.db": ("chain-*/steps.db", 60, ("tps, killed", "tps, more trials")),
    "config.toml": (
        "config.toml",
        90,
        (
            "rate, killed, by name",
            "rate, killed",
            "report of tps",
            "brute force, by name",
            "tps, killed, by name",
            "report of rate",
        ),
    ),
    "result.json": ("result.json", 30, ("report of rate", "report of tps", "rate", "tps")),
    "scan": ("**/*.*", 50, ("report of scan", "scan")),
}
"""Which files, how many cases, and the flows that take turns."""

LEFT_OUT = {".html", ".png"}  # written anew by each of the flows
SOURCES: Mapping[str, tuple[str, str]] = {
    "rate": ("rate", ""),
    "rate-killed": ("rate", "run.nc.parts/production.000000.nc"),
    "counting-killed": ("rate, brute force", "run.nc.parts/*.000002.nc"),
    "tps": ("tps", ""),
    "tps-killed": ("tps", "chain-*/paths-00000[12].npz"),
    "scan": ("scan", ""),
}
"""Folders: the command of :mod:`kill`, and the file at whose sight it is killed; empty: never."""


@dataclass(frozen=True)
class CorruptionCase:
    """One damage to one file, and the command after it."""

    group: str
    number: int
    seed: int
    main: Main = openmm_rare
    campaign: str = "corruption"

    @property
    def key(self) -> tuple[str, str, str]:
        """Campaign, group and name."""
        return self.campaign, self.group, f"{self.number}, seed {self.seed}"

    def run(self, work: Path) -> Outcome:
        """Damage, run, compare."""
        pattern, _, flows = GROUPS[self.group]
        name, rng = flows[self.number % len(flows)], random.Random(f"{self.key}")
        flow, place = FLOWS[name], work / f"corruption-{self.group}-{self.number}".replace(" ", "-")
        source = work / "sources" / flow.source
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(source, place)
        file, words = _damage(place / "run", pattern, work / "sources" / f"{flow.source}-other" / "run", rng)
        before = _bytes(file)
        ended = forked(partial(self.main, _line(flow)), place / "log.txt", place)
        usual = json.loads((source / "expected" / f"{name}.json").read_text())
        kind, note = _judged(flow, ended, usual, place / "run", file, before)
        relative = file.relative_to(place / "run")
        if kind in ("right", "refused", "repaired"):
            shutil.rmtree(place)
        else:
            note = f"{note} (see {place})"
        note = f"{name}; {relative}: {words}; {note}"
        return Outcome(*self.key, kind, note, memory_gb=ended.memory_gb, cpu_s=ended.cpu_s)


def _damage(folder: Path, pattern: str, other: Path, rng: random.Random) -> tuple[Path, str]:
    """Damage one of the files of a pattern, until that changes something."""
    files = sorted(path for path in folder.glob(pattern) if path.is_file() and path.suffix not in LEFT_OUT)
    while True:
        file = rng.choice(files)
        kind = rng.choice(KINDS)
        if words := damaged(file, kind, other / file.relative_to(folder), rng):
            return file, words


def _judged(flow: Flow, ended: Ended, usual: dict, folder: Path, file: Path, before: bytes) -> tuple[str, str]:
    """Kind of the outcome and what was seen."""
    if ended.failure:
        return ended.failure, ended.last_line[:240]
    found, wanted = _written(flow, folder), usual["contents"]
    if _bytes(file) == before:  # it is as it was: what counts is what was made of it
        name = str(file.relative_to(folder))
        found, wanted = ({k: v for k, v in each.items() if k.split(": ")[0] != name} for each in (found, wanted))
    changed = difference(wanted, found)
    sentence = said(ended.lines, usual["lines"], str(file.relative_to(folder)), file.name)
    if sentence:
        return "repaired", f"{sentence[:160]}{f' ({changed})' if changed else ''}"
    return ("silent", changed) if changed else ("right", "")


def _written(flow: Flow, folder: Path) -> dict[str, str]:
    """What a command leaves: pages, or everything else."""
    found = contents(folder, flow.pages)
    pages = {name: value for name, value in found.items() if name.split(": ")[0].endswith((".html", ".png"))}
    return pages if flow.pages else found


def _bytes(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


def _line(flow: Flow) -> list[str]:
    """Relative to the folder above that of the run: what is said and shown must not depend on where that lies."""
    return [text.format(config="config.toml", folder="run") for text in flow.arguments]


def corruption_cases(fraction: float, seed: int) -> list[CorruptionCase]:
    """All cases, or a fraction of them."""
    counts = {group: max(1, round(fraction * count)) for group, (_, count, _) in GROUPS.items()}
    return [CorruptionCase(group, number, seed) for group, count in counts.items() for number in range(count)]


def prepare_source(work: Path, name: str, seed: int, program: tuple[str, ...] = kill.PROGRAM) -> Path:
    """A folder to damage, made once; the seed goes into its configuration.

    Raises
    ------
    RuntimeError
        If the command fails without any damage.
    """
    place = work / "sources" / name
    if not (place / "ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        command, sight = SOURCES[name.removesuffix("-other")]
        _make_source(place, kill.COMMANDS[command], sight, seed, program)
        (place / "ready").touch()
    return place


def prepare_flows(work: Path, seed: int, main: Main = openmm_rare, program: tuple[str, ...] = kill.PROGRAM) -> None:
    """All folders, those of another seed to take files from, and what each command makes of them undamaged.

    Raises
    ------
    RuntimeError
        If a command fails on an undamaged folder.
    """
    for name, flow in FLOWS.items():
        prepare_source(work, f"{flow.source}-other", seed + 1, program)
        source = prepare_source(work, flow.source, seed, program)
        kept, place = source / "expected" / f"{name}.json", work / "undamaged"
        if kept.exists():
            continue
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(source, place)
        ended = forked(partial(main, _line(flow)), place / "log.txt", place)
        if ended.failure:
            raise RuntimeError(f"{name} fails on an undamaged folder: {ended.text[-2000:]}")
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps({"lines": ended.lines, "contents": _written(flow, place / "run")}))
        shutil.rmtree(place)


def _make_source(place: Path, command: kill.Command, sight: str, seed: int, program: tuple[str, ...]) -> None:
    """A folder of a run, finished, or killed at the sight of a file."""
    place.mkdir(parents=True)
    text = command.config if "[sampling]" in command.config else f"[sampling]\n{command.config}"
    (place / "config.toml").write_text(text.replace("[sampling]", f"[sampling]\nseed = {seed}"))
    folder = place / "run"
    stop: Callable[[float], bool] = lambda used: bool(sight) and any(folder.glob(sight))  # noqa: E731
    ended, _ = kill.session(command.line(folder, seed), place / "session.log", stop, program)
    if ended.status != (-signal.SIGKILL if sight else 0):
        raise RuntimeError(
            f"{' '.join(command.line(folder, seed))} was not killed at the sight of {sight}: {ended.text[-1000:]}"
        )
