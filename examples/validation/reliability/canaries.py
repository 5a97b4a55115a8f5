"""Files that would run code, take all memory or wait for ever, if reading them were careless. Each is refused in one line."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from children import Main, forked, openmm_rare
from fuzz import MARKER, classified, use_model
from outcomes import Outcome

__all__ = ["CANARIES", "CanaryCase", "canary_cases"]

CODE = """open({marker!r}, "w").close()
def build(*arguments, **options):
    raise SystemExit(0)
inside = values = build
"""


class _Touches:
    """Pickled, it makes the marker when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)

    def __call__(self, *arguments: object) -> tuple[float, np.ndarray]:
        return 0.0, np.zeros((4, 3))


@dataclass(frozen=True)
class CanaryCase:
    """One such file, and a command that reads it."""

    case: str
    command: str
    main: Main = openmm_rare
    campaign: str = "fuzz"
    group: str = "canaries"

    @property
    def key(self) -> tuple[str, str, str]:
        """Campaign, group and name."""
        return self.campaign, self.group, f"{self.case}; {self.command}"

    def run(self, work: Path) -> Outcome:
        """Write it, run the command, look."""
        place = (work / f"canary-{re.sub('[^a-z0-9]+', '-', self.key[2].lower())}").resolve()
        shutil.rmtree(place, ignore_errors=True)
        (place / "occupied").mkdir(parents=True)
        (place / "occupied" / "something").touch()
        for name in ("system.xml", "start.pdb", "config.toml", "path.npz"):
            shutil.copy(work / "inputs" / name, place)
        make = CANARIES[self.case][0]
        made = forked(partial(make, place, work.resolve() / "inputs"), place / "made.txt", place, cpu_s=200)
        if made.failure:
            raise RuntimeError(f"{self.case} could not be made: {made.text[-2000:]}")
        (place / MARKER).unlink(missing_ok=True)
        ended = forked(_action(self.command, place, self.main), place / "log.txt", place, cpu_s=60, wall_s=120.0)
        kind, note = classified(ended, place)
        if kind == "right" and not self.command.startswith(("report", "analyze")):  # to be refused, and it was not
            kind, note = "silent", f"accepted: {note} (see {place})"
        if kind in ("right", "refused"):
            shutil.rmtree(place)
        return Outcome(*self.key, kind, note, memory_gb=ended.memory_gb, cpu_s=ended.cpu_s)


def _action(command: str, place: Path, main: Main) -> Callable[[], None]:
    lines = {
        "rate": ["rate", "config.toml", "--out", "occupied"],
        "scan": ["scan", "config.toml", "--temperature", "300 K", "--out", "occupied"],
        "tps": ["tps", "config.toml", "--out", "occupied"],
        "path": ["path", "config.toml", "--from", "path.npz", "--out", "new/path.npz"],
        "report": ["report", "run"],
        "analyze": ["analyze", "run", "--configurations", "0", "--formula-inputs", "0"],
    }
    if command == "model":
        return partial(use_model, main, place, place / "model.npz")
    return partial(main, lines[command])


def _settings(change: Callable[[str], str], place: Path, inputs: Path) -> None:
    """A changed configuration, also as that of a folder of path sampling, with a module beside it that leaves the marker."""
    config = change((place / "config.toml").read_text(encoding="utf-8").replace("MARKER", str(place / MARKER)))
    config = config.replace("MARKER", str(place / MARKER))
    shutil.copytree(inputs.parent / "sources" / "tps" / "run", place / "run")
    for folder in (place, place / "run"):
        (folder / "config.toml").write_text(
            config + ("[path_sampling]\ntrials = 20\nchains = 2\n" if folder.name == "run" else ""), encoding="utf-8"
        )
        (folder / "canary.py").write_text(CODE.format(marker=str(place / MARKER)), encoding="utf-8")
        for name in ("system.xml", "start.pdb"):
            if folder != place:
                shutil.copy(place / name, folder)


def _builder(name: str, parameters: str) -> Callable[[str], str]:
    """A builder in the place of the files."""

    def change(text: str) -> str:
        lines = [line for line in text.splitlines() if not line.startswith(("xml =", "pdb ="))]
        lines.insert(lines.index("[system]") + 1, f'builder = "{name}"')
        return "\n".join([*lines, "[system.parameters]", parameters, ""])

    return change


def _entry(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


def _python_force(place: Path, inputs: Path, tag: str = "") -> None:
    """A System with a force of Python, which OpenMM keeps as a pickle."""
    import openmm

    system = openmm.XmlSerializer.deserialize((place / "system.xml").read_text(encoding="utf-8"))
    system.addForce(openmm.PythonForce(_Touches(place / MARKER)))
    text = openmm.XmlSerializer.serialize(system)
    (place / "system.xml").write_text(text, encoding="utf-8")
    _settings(lambda config: config, place, inputs)


def _text_of_system(change: Callable[[str], str], place: Path, inputs: Path) -> None:
    file = place / "system.xml"
    file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")


def _root_tag(text: str) -> str:
    return text.replace("<System ", "<Force ", 1).replace("</System>", "</Force>")


def _pickled(name: str, entry: str, place: Path, inputs: Path) -> None:
    """An archive with an array of objects, in a folder of path sampling and beside it."""
    shutil.copytree(inputs.parent / "sources" / "tps" / "run", place / "run")
    sources = {"model.npz": inputs / "model_mlp.npz", "path.npz": inputs / "path.npz"}
    targets = [(sources[name], place / name)] if name in sources else []
    targets += [(file, file) for file in (place / "run").rglob(name)]
    thing = np.empty(1, dtype=object)
    thing[0] = _Touches(place / MARKER)
    for source, target in targets:
        with np.load(source, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        np.savez(target, **(arrays | {entry if entry in arrays else next(iter(arrays)): thing}))


def _raw_pickle(name: str, place: Path, inputs: Path) -> None:
    (place / name).write_bytes(pickle.dumps(_Touches(place / MARKER)))


def _model(change: Callable[[dict, dict], None], place: Path, inputs: Path) -> None:
    """A model whose metadata and arrays are changed in place."""
    with np.load(inputs / "model_mlp.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    metadata = json.loads(str(arrays["metadata"]))
    change(metadata, arrays)
    arrays["metadata"] = np.array(json.dumps(metadata))
    np.savez(place / "model.npz", **arrays)


def _set(**entries: object) -> Callable[[dict, dict], None]:
    return lambda metadata, arrays: metadata.update(entries)


def _first(kind: Callable[[np.ndarray], np.ndarray], word: str = "weight") -> Callable[[dict, dict], None]:
    def change(metadata: dict, arrays: dict) -> None:
        name = next(name for name in arrays if word in name)
        arrays[name] = kind(arrays[name])

    return change


def _bomb(extra: bool, place: Path, inputs: Path, gigabytes: int = 2) -> None:
    """Zeros that are small in the file, in place of a tensor or beside all of them."""
    with (
        zipfile.ZipFile(inputs / "model_mlp.npz") as old,
        zipfile.ZipFile(place / "model.npz", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        names = old.namelist()
        victim = "extra.npy" if extra else next(name for name in names if "weight" in name)
        for name in names:
            if name != victim:
                new.writestr(name, old.read(name))
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (gigabytes << 28,)})
        with new.open(victim, "w", force_zip64=True) as stream:
            stream.write(header.getvalue())
            for _ in range(gigabytes << 6):
                stream.write(bytes(1 << 24))


def _twice(place: Path, inputs: Path) -> None:
    """A member that stands in the archive twice."""
    shutil.copy(inputs / "model_mlp.npz", place / "model.npz")
    with zipfile.ZipFile(place / "model.npz") as old:
        name = next(name for name in old.namelist() if "weight" in name)
        array = np.load(io.BytesIO(old.read(name)))
    stream = io.BytesIO()
    np.save(stream, 0.0 * array + 7.0)
    with zipfile.ZipFile(place / "model.npz", "a") as archive:
        archive.writestr(name, stream.getvalue())


def _pipe(name: str, place: Path, inputs: Path) -> None:
    (place / name).unlink(missing_ok=True)
    os.mkfifo(place / name)


def _link(name: str, target: str, place: Path, inputs: Path) -> None:
    (place / name).unlink(missing_ok=True)
    (place / name).symlink_to(target)


_ALL = ("rate", "scan", "tps", "path", "report", "analyze")
_READS_RUN = ("report", "analyze")
CANARIES: Mapping[str, tuple[Callable[[Path, Path], None], tuple[str, ...]]] = {
    "PythonForce in system.xml": (_python_force, _ALL),
    'builder = "os:system"': (partial(_settings, _builder("os:system", 'command = "touch MARKER"')), _ALL),
    'builder = "subprocess:run"': (partial(_settings, _builder("subprocess:run", 'args = ["touch", "MARKER"]')), _ALL),
    'builder = "builtins:exec"': (partial(_settings, _builder("builtins:exec", "source = \"open('MARKER', 'w')\"")), _ALL),
    'builder = "pathlib:Path"': (partial(_settings, _builder("pathlib:Path", "")), _ALL),
    "builder beside a run": (partial(_settings, _builder("canary:build", "")), _READS_RUN),
    "import beside a run": (partial(_settings, _entry("[variables.phi]", 'import = ["canary"]\n[variables.phi]')), _READS_RUN),
    "state by a function beside a run": (
        partial(_settings, _entry('range = { phi = ["-90 deg", "90 deg"] }', 'function = "canary:inside"')),
        _READS_RUN,
    ),
    'state by function = "os:listdir"': (
        partial(_settings, _entry('range = { phi = ["-90 deg", "90 deg"] }', 'function = "os:listdir"')),
        _ALL,
    ),
    "root tag of a Force": (partial(_text_of_system, _root_tag), ("rate", "tps")),
    "entities in system.xml": (
        partial(_text_of_system, lambda text: text.replace("?>", '?><!DOCTYPE a [<!ENTITY b "cc">]>', 1)),
        ("rate",),
    ),
    "pickled model": (partial(_pickled, "model.npz", "metadata"), ("model", *_READS_RUN)),
    "pickled tensor": (partial(_pickled, "model.npz", "feature_mean"), ("model", *_READS_RUN)),
    "pickled path": (partial(_pickled, "path.npz", "positions"), ("path",)),
    "pickled shots": (partial(_pickled, "shots.npz", "metadata"), _READS_RUN),
    "pickled paths of a run": (partial(_pickled, "paths-*.npz", "none"), _READS_RUN),
    "a pickle named model.npz": (partial(_raw_pickle, "model.npz"), ("model",)),
    "a pickle named path.npz": (partial(_raw_pickle, "path.npz"), ("path",)),
    "model of 50000 x 50000": (partial(_model, _set(hidden=[50000, 50000])), ("model",)),
    "model of 300000 layers": (partial(_model, _set(hidden=[1] * 300_000)), ("model",)),
    "model of 100000 atoms": (partial(_model, _set(n_atoms=10**5, descriptor={"kind": "pair_distances"})), ("model",)),
    "model of -1 atoms": (partial(_model, _set(n_atoms=-1)), ("model",)),
    "model at NaN K": (partial(_model, _set(temperature_k=float("nan"))), ("model",)),
    "model at -300 K": (partial(_model, _set(temperature_k=-300.0)), ("model",)),
    "model at 0 K": (partial(_model, _set(temperature_k=0.0)), ("model",)),
    "model of column -1": (
        partial(_model, _set(descriptor={"kind": "coordinates", "columns": [-1], "scale": 1.0})),
        ("model",),
    ),
    "model with NaN": (partial(_model, _first(lambda array: array * np.nan)), ("model",)),
    "model with infinity": (partial(_model, _first(lambda array: array + np.inf)), ("model",)),
    "model of int8": (partial(_model, _first(lambda array: array.astype(np.int8))), ("model",)),
    "model of complex numbers": (partial(_model, _first(lambda array: array.astype(np.complex64))), ("model",)),
    "model with scale 0": (partial(_model, _first(lambda array: 0.0 * array, "feature_scale")), ("model",)),
    "model with scale -1": (partial(_model, _first(lambda array: 0.0 * array - 1.0, "feature_scale")), ("model",)),
    "model with a tensor twice": (_twice, ("model",)),
    "2 GB of zeros as a tensor": (partial(_bomb, False), ("model",)),
    "2 GB of zeros beside the tensors": (partial(_bomb, True), ("model",)),
    "a pipe as model": (partial(_pipe, "model.npz"), ("model",)),
    "a pipe as system.xml": (partial(_pipe, "system.xml"), ("rate",)),
    "a pipe as path": (partial(_pipe, "path.npz"), ("path",)),
    "a pipe as configuration": (partial(_pipe, "config.toml"), ("rate",)),
    "/dev/zero as model": (partial(_link, "model.npz", "/dev/zero"), ("model",)),
    "/dev/zero as system.xml": (partial(_link, "system.xml", "/dev/zero"), ("rate",)),
    "/dev/zero as configuration": (partial(_link, "config.toml", "/dev/zero"), ("rate",)),
}
"""What makes the file, and the commands that read it."""


def canary_cases(fraction: float, seed: int) -> list[CanaryCase]:
    """All of them, or a fraction, drawn."""
    cases = [CanaryCase(name, command) for name, (_, commands) in CANARIES.items() for command in commands]
    return random.Random(seed).sample(cases, max(1, round(fraction * len(cases))))
