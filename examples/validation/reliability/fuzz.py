"""Mutated configurations, Systems, trajectories, models and command lines, each through the command itself.

Every folder for output is occupied by something else: a command that has found nothing wrong refuses that, last of all, and no
dynamics runs. Right is a clear error or that refusal; no traceback, no crash, at most a GB, and nothing that a file says is
executed.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mutations
import numpy as np
from children import Ended, Main, forked, openmm_rare
from inputs import BUILTIN, N_CONFIGURATIONS
from outcomes import Outcome

__all__ = ["MARKER", "OCCUPIED", "FuzzCase", "classified", "fuzz_cases", "use_model"]

OCCUPIED = "is not empty and holds no run"
"""What a command says that has found nothing wrong."""

MOST_MEMORY_GB = 1.0
OWN = 0.3  # share of configurations of a System in files
MARKER = "code-ran"
"""A file that only code from a configuration, a System or a model would make."""

COUNTS: Mapping[str, int] = {"configurations": 2900, "systems": 700, "trajectories": 900, "models": 600, "command lines": 250}


@dataclass(frozen=True)
class FuzzCase:
    """One input, and the command that reads it."""

    group: str
    number: int
    seed: int
    main: Main = openmm_rare
    campaign: str = "fuzz"

    @property
    def key(self) -> tuple[str, str, str]:
        """Campaign, group and name."""
        return self.campaign, self.group, f"{self.number}, seed {self.seed}"

    def run(self, work: Path) -> Outcome:
        """Write the input, run the command, look."""
        place = (work / f"fuzz-{self.group}-{self.number}".replace(" ", "-")).resolve()
        shutil.rmtree(place, ignore_errors=True)
        (place / "occupied").mkdir(parents=True)
        (place / "occupied" / "something").touch()
        action = MAKERS[self.group](place, work.resolve() / "inputs", random.Random(f"{self.key}"), self.main)
        ended = forked(action, place / "log.txt", place)
        kind, note = classified(ended, place)
        if kind in ("right", "refused"):
            shutil.rmtree(place)
        return Outcome(*self.key, kind, note, memory_gb=ended.memory_gb, cpu_s=ended.cpu_s)


def classified(ended: Ended, place: Path) -> tuple[str, str]:
    """Kind of the outcome of a command on a doubtful input, and what was seen."""
    kind, note = ended.failure or "right", ended.last_line[:240]
    if kind == "refused" and OCCUPIED in note:
        kind = "right"
    if list(place.rglob(MARKER)):
        kind, note = "silent", f"CODE RAN; {note}"
    elif kind == "right" and "NONSENSE" in note:
        kind = "silent"
    elif kind in ("right", "refused") and ended.memory_gb > MOST_MEMORY_GB:
        kind, note = "memory", f"{ended.memory_gb:.1f} GB; {note}"
    return kind, note if kind in ("right", "refused") else f"{note} (see {place})"


def fuzz_cases(fraction: float, seed: int) -> list[FuzzCase]:
    """All cases, or a fraction of them."""
    counts = {group: max(1, round(fraction * count)) for group, count in COUNTS.items()}
    return [FuzzCase(group, number, seed) for group, count in counts.items() for number in range(count)]


def _copy_inputs(place: Path, inputs: Path, *names: str) -> None:
    for name in names:
        shutil.copy(inputs / name, place / name)


def _configuration(place: Path, inputs: Path, rng: random.Random, main: Main) -> Callable[[], None]:
    _copy_inputs(place, inputs, "system.xml", "start.pdb", "mine.py")
    own = [0, *range(len(BUILTIN) + 1, N_CONFIGURATIONS)]  # take longer: OpenMM tries their Systems in other processes
    number = rng.choice(own) if rng.random() < OWN else rng.randrange(1, len(BUILTIN) + 1)
    text = (inputs / f"{number}.toml").read_text(encoding="utf-8")
    (place / "config.toml").write_bytes(mutations.configuration(text, rng))
    return partial(main, [rng.choice(["rate", "rate", "tps"]), str(place / "config.toml"), "--out", str(place / "occupied")])


def _system(place: Path, inputs: Path, rng: random.Random, main: Main) -> Callable[[], None]:
    _copy_inputs(place, inputs, "system.xml", "start.pdb", "start.cif", "config.toml")
    command, kind = rng.choice(["rate", "tps"]), rng.random()
    if kind < 0.65:
        base = inputs / rng.choice(["system.xml", "many_forces.xml"])
        (place / "system.xml").write_bytes(mutations.xml(base.read_text(encoding="utf-8"), rng))
    else:
        name = "start.pdb" if kind < 0.85 else "start.cif"
        (place / name).write_bytes(mutations.structure((place / name).read_bytes(), rng))
        config = place / "config.toml"
        config.write_text(config.read_text(encoding="utf-8").replace('"start.pdb"', f'"{name}"'), encoding="utf-8")
    return partial(main, [command, str(place / "config.toml"), "--out", str(place / "occupied")])


def _trajectory(place: Path, inputs: Path, rng: random.Random, main: Main) -> Callable[[], None]:
    _copy_inputs(place, inputs, "system.xml", "start.pdb", "built.toml", "mine.py")
    file = rng.choice(sorted((inputs / "trajectories").iterdir()))
    (place / file.name).write_bytes(mutations.bytes_changed(file.read_bytes(), rng))
    line = ["path", "built.toml", "--from", str(place / file.name), "--out", str(place / "new" / "path.npz")]
    return partial(main, line)


def _model(place: Path, inputs: Path, rng: random.Random, main: Main) -> Callable[[], None]:
    base = inputs / f"model_{rng.choice(['mlp', 'residual', 'ensemble'])}.npz"
    (place / "model.npz").write_bytes(mutations.model(base.read_bytes(), rng))
    return partial(use_model, main, place, place / "model.npz")


def use_model(main: Main, place: Path, file: Path) -> None:
    """The command with a model, and, where nothing is wrong with it, what the model says."""
    try:
        main(["tps", "double_well_1d", "--model", str(file), "--out", "occupied"])
    except SystemExit as error:
        log = (place / "log.txt").read_text(errors="replace")
        if error.code and OCCUPIED not in log:
            raise
    from openmm_rare.committor.load import load_committor
    from openmm_rare.systems import build

    system = build("double_well_1d")
    said = load_committor(file, system.fingerprint()).log_probabilities(np.asarray(system.positions)[None])
    print("the model works" if np.isfinite(said).all() else f"NONSENSE: ln p = {said}")


WORDS: tuple[str, ...] = (
    *"0 -1 1 0.1 nan inf -inf 1e308 1e-320 99999999999999999999999 abc 300K 1_000 0x10 \u0661 -- -x".split(),
    *"Reference CPU CUDA HIP native python auto custom_integrator lorentzian aimless uniform line hot biased".split(),
    *"config.toml occupied nope start.pdb /dev/null /nonexistent/x/y /proc/self/mem \u00e9\u202e".split(),
    *("", " ", "300 K", "-300 K", "0 K", "nan K", "300 C", "1 eV", "a" * 300),
)
PLACES: tuple[str, ...] = (
    *"config.toml bad.toml empty.toml bytes.toml loop.toml occupied nope nope.toml - -- /dev/null ../../etc/passwd".split(),
    *("", " ", "lj7 ", "\u00e9", "a" * 5000, "system.xml", "start.pdb", *BUILTIN, "alanine_dipeptide"),
)


def _command_line(place: Path, inputs: Path, rng: random.Random, main: Main) -> Callable[[], None]:
    """Any options of any command that computes; the last --out is the occupied folder."""
    from openmm_rare.cli.main import main as group

    _copy_inputs(place, inputs, "system.xml", "start.pdb", "config.toml")
    (place / "bad.toml").write_text("[system\n")
    (place / "empty.toml").touch()
    (place / "bytes.toml").write_bytes(bytes(range(256)))
    (place / "loop.toml").symlink_to("loop.toml")
    name = rng.choice(["rate", "tps", "path", "scan", "report", "analyze"])
    line = [name] + ([rng.choice(PLACES)] if rng.random() < 0.97 else [])
    options = [option for option in group.commands[name].params if option.opts[0].startswith("--")]
    for option in rng.sample(options, min(len(options), rng.choice([0, 1, 1, 2, 3]))):
        line += [option.opts[0]] + ([] if getattr(option, "is_flag", False) else [rng.choice(WORDS)])
    if name == "scan" and rng.random() < 0.7:
        line += ["--temperature", rng.choice(["600 K", "500 K"])]
    if name not in ("report", "analyze"):
        line += ["--out", "config.toml" if name == "path" else "occupied"]
    return partial(main, line)


MAKERS: Mapping[str, Callable[[Path, Path, random.Random, Main], Callable[[], None]]] = {
    "configurations": _configuration,
    "systems": _system,
    "trajectories": _trajectory,
    "models": _model,
    "command lines": _command_line,
}
"""What writes an input of each group; returns the command to run."""
