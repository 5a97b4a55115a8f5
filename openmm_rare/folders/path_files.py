"""Files of paths in the folder of a path sampling run, which belong to it: ``shots.npz`` knows what is in them.

A digest is of the paths that count, not of the file: a run that was killed after it wrote a file, and before the trials in it
counted, goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..io.checksums import digest_of, naming_damage
from ..io.files import read_npz, write_npz
from .path_shapes import require_path

__all__ = [
    "chain_folder",
    "holds_paths",
    "is_of_paths",
    "read_first_paths",
    "read_paths",
    "storage_of_chain",
    "write_first_paths",
    "write_paths",
]

_FIRST = "first-paths.npz"
_ADVICE = "copy a backup of it back"


def chain_folder(folder: Path, chain: int) -> Path:
    """Folder of a chain."""
    return folder / f"chain-{chain}"


def storage_of_chain(folder: Path, chain: int) -> Path:
    """File of the OpenPathSampling storage of a chain."""
    return chain_folder(folder, chain) / "steps.db"


def holds_paths(folder: Path) -> bool:
    """Whether there are accepted paths of a path sampling run in a folder, whatever else is missing."""
    return any(folder.glob("chain-*/paths-*.npz"))


def is_of_paths(folder: Path) -> bool:
    """Whether a folder is that of a path sampling run, whatever of it is missing."""
    return any((folder / name).is_file() for name in ("shots.npz", _FIRST)) or any(folder.glob("chain-*"))


def _name(chain: int, number: int) -> str:
    return f"chain-{chain}/paths-{number:06d}.npz"


def write_paths(
    folder: Path,
    chain: int,
    number: int,
    paths: Mapping[int, np.ndarray],
    digests: MutableMapping[str, str],
    done: int = 0,
) -> None:
    """Write the paths, by their cycle, that a chain accepted in a round; before its trials count as done.

    Those of its first `done` cycles, from an earlier stretch of the same round, are kept. Their digest goes to `digests`.
    """
    name = _name(chain, number)
    if done:
        paths = read_paths(folder, chain, number, digests, done) | dict(paths)
    if paths:
        _write(folder, name, paths, digests)
    else:
        (folder / name).unlink(missing_ok=True)


def read_paths(folder: Path, chain: int, number: int, digests: Mapping[str, str], done: int) -> dict[int, np.ndarray]:
    """What :func:`write_paths` wrote of the first `done` cycles, nothing if it wrote nothing.

    Raises
    ------
    ValueError
        If the file is damaged or missing, or does not have the digest that it should.
    """
    return _read(folder, _name(chain, number), digests, done)


def write_first_paths(folder: Path, paths: Sequence[np.ndarray], digests: MutableMapping[str, str]) -> None:
    """Write the first paths that were found before sampling began, in single precision; chains start from some of them.

    Their digest goes to `digests`.
    """
    _write(folder, _FIRST, {number: path.astype(np.float32) for number, path in enumerate(paths)}, digests)


def read_first_paths(folder: Path, digests: Mapping[str, str]) -> list[np.ndarray]:
    """What :func:`write_first_paths` wrote, nothing of a run of a version that kept none.

    Raises
    ------
    ValueError
        As :func:`read_paths`.
    """
    return [path for _, path in sorted(_read(folder, _FIRST, digests).items())]


def _write(folder: Path, name: str, paths: Mapping[int, np.ndarray], digests: MutableMapping[str, str]) -> None:
    arrays = {f"{number}": path for number, path in paths.items()}
    write_npz(folder / name, arrays)
    digests[name] = digest_of(arrays)


def _read(folder: Path, name: str, digests: Mapping[str, str], done: int | None = None) -> dict[int, np.ndarray]:
    path, digest = folder / name, digests.get(name)
    if not path.exists():
        if digest is not None:
            raise InputError(f"{path} is missing: {_ADVICE}")
        return {}
    arrays = read_npz(path, _ADVICE)
    with naming_damage(path, _ADVICE):
        numbers = {int(each): each for each in arrays}
        counted = {number: arrays[each] for number, each in numbers.items() if done is None or number <= done}
        if digest is not None and digest_of({f"{number}": each for number, each in counted.items()}) != digest:
            raise InputError(f"{path} does not hold the paths that this run wrote there: {_ADVICE}")
        return {number: require_path(each) for number, each in counted.items()}
