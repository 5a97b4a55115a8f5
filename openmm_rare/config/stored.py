"""The configuration in a run folder: written with its checksum, and believed only if it is what the run recorded."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..io.checksums import toml_is_as_written, toml_with_checksum
from ..io.files import read_npz, write_text
from ..io.regular_file import regular_file
from ..io.run_file import RunFile
from ..io.toml import read_toml
from .earlier import REPLACED
from .run import RunConfig, load_config, parse_config

__all__ = [
    "SHOTS_ADVICE",
    "as_begun",
    "recorded_config",
    "require_result_of_run",
    "restore_config",
    "run_identity",
    "stored_config",
    "write_config",
]

SHOTS_ADVICE: str = (
    "copy a backup of it back, or start again in another folder (the accepted paths in the folders chain-* are files of "
    "their own)"
)
"""What to do about a shots.npz that cannot be read."""

# where files lie, which the fingerprint of the system answers for, and what a run may be continued with
_FREE = {
    *("folder", "folder_from_here", "system.xml", "system.pdb"),
    *("sampling.target_error", "sampling.max_walker_steps", "sampling.no_reweighting"),
    *("path_sampling.trials", "path_sampling.processes", "path_sampling.initial_path"),
}

_OF_COMMAND = ("target_error", "seed", "platform", "method", "importance", "no_reweighting")


def write_config(config: RunConfig, folder: Path) -> None:
    """Write ``config.toml`` into a run folder."""
    write_text(folder / "config.toml", toml_with_checksum(config.to_toml(folder)))


def recorded_config(folder: Path) -> str | None:
    """The configuration that a run recorded, as TOML, from ``run.nc`` or ``shots.npz``; None where there is none.

    Raises
    ------
    ValueError
        If that file is damaged.
    """
    if (folder / "run.nc").is_file():
        return RunFile.open(folder / "run.nc").attributes.get("config")
    if (folder / "shots.npz").is_file():
        arrays = read_npz(folder / "shots.npz", SHOTS_ADVICE)
        return str(arrays["config"]) if "config" in arrays else None
    return None


def stored_config(folder: str | Path, recorded: str | None = None, trust: bool = False) -> RunConfig | None:
    """The configuration of the run in a folder; None if there is none.

    Parameters
    ----------
    folder : path
    recorded : str, optional
        What the run recorded, if that is known already. It is taken where ``config.toml`` is missing.
    trust : bool
        Whether all code that it names may run later; nothing runs here.

    Raises
    ------
    ValueError
        If ``config.toml`` is damaged, or says anything else than what the run recorded; the message names the key and both
        values. Where files lie may be changed; that a run is made longer is said by the command that continues it.
    """
    folder = Path(folder)
    path, recorded = folder / "config.toml", recorded or recorded_config(folder)
    if not isinstance(recorded, str | None):
        raise InputError(
            f"the run in {folder} recorded {recorded!r} for its configuration, which is no text: start again in another folder"
        )
    if not path.is_file():
        return None if recorded is None else parse_config(recorded, folder, trust)
    as_written = toml_is_as_written(path)
    copy = "" if recorded is None else ", or remove it: --resume writes it again"
    try:
        config = load_config(path, trust)
    except InputError as error:
        if as_written:
            raise
        raise InputError(f"{error}; if the file was damaged after the run wrote it, put it back{copy}") from error
    if recorded is not None:
        _require_equal(path, config, recorded, copy)
    if as_written is False:
        raise InputError(
            f"{path} was damaged or edited after the run wrote it: put it back{copy}. If you edited it, remove its last line, "
            "the checksum"
        )
    return config


def run_identity(config: str, *more: str) -> str:
    """Which run this is, as SHA-256: by its configuration as TOML, but for what a run may be continued with, and `more`.

    The same for a run that was stopped and for one that was not. A run keeps what it had at its beginning.
    """
    values = {key: value for key, value in _flat(read_toml(config)) if key not in _FREE}
    return hashlib.sha256(json.dumps([values, *more], sort_keys=True, default=str).encode()).hexdigest()


def require_result_of_run(path: Path, result: Mapping[str, Any], config: RunConfig, run: str | None, advice: str) -> None:
    """Refuse a ``result.json`` of another run than that with this configuration and this identity, None of earlier versions.

    Raises
    ------
    ValueError
        With the `advice`.
    """
    temperature = config.system.temperature_k
    own = {"seed": config.sampling.seed} | ({} if temperature is None else {"temperature_k": temperature})
    for key, value in own.items():
        found = result.get(key, value)
        if not isinstance(found, int | float) or not math.isclose(found, value, rel_tol=1e-9):
            raise InputError(f"{path} says {key} = {found}, but the run in its folder has {value}; {advice}")
    if result.get("run") != run:
        raise InputError(f"{path} is the result of another run than that in its folder; {advice}")


def as_begun(config: RunConfig, stored: RunConfig) -> RunConfig:
    """A configuration from a file with what the command line said when the run began, where the file does not say it."""
    said = read_toml(regular_file(Path(config.file)).read_bytes().decode("utf-8-sig")).get("sampling", {})
    kept = {name: getattr(stored.sampling, name) for name in _OF_COMMAND if name not in said}
    temperature = stored.system.temperature_k if config.system.temperature_k is None else None
    return config.with_options(temperature, **kept)


def restore_config(folder: Path, recorded: str | None) -> None:
    """Write a missing ``config.toml`` again from what the run recorded."""
    if recorded is not None and not (folder / "config.toml").exists():
        write_config(parse_config(recorded, folder), folder)


def _require_equal(path: Path, config: RunConfig, recorded: str, copy: str) -> None:
    """Compare all that a configuration says, defaults included, with the record."""
    record = dict(_flat(read_toml(recorded)))
    meant = dict(_flat(read_toml(config.to_toml())))
    written = dict(_flat(read_toml(path.read_bytes().decode("utf-8-sig"))))
    unknown = "nothing"
    for key in dict.fromkeys([*record, *written]):
        was, now = record.get(key, unknown), meant.get(key, written.get(key, unknown))
        if key not in _FREE | REPLACED and was != now:
            raise InputError(f"{path} says {key} = {now}, but the run was made with {key} = {was}: put that value back{copy}")


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All values by their whole names."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
