"""``result.json`` and its like, as the pages and the commands read them back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config.stored import require_result_of_run, stored_config
from ..errors import InputError
from ..io.checksums import parse_checked_json, unchecked_note
from ..io.run_file import RunFile
from ..rates.estimate import RateEstimate

__all__ = ["estimate_of", "notes_of", "read_json", "read_result", "result_of_run"]

_ADVICE = "restore it from a copy, or continue the run with --resume, which writes it again"
_NOT_OF_THE_ESTIMATE = {"run", "records", "checksum"}


def notes_of(result: Mapping[str, Any], folder: Path) -> list[str]:
    """The notes of a result, and which files of its folder have no checksum."""
    return list(dict.fromkeys([*result.get("notes", ()), *filter(None, [unchecked_note(folder)])]))


def read_result(folder: Path) -> dict[str, Any]:
    """``result.json`` of a run folder.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it cannot be read.
    """
    path = folder / "result.json"
    if not path.is_file():
        hint = (
            f"the run in {folder} is not finished: continue it with --resume"
            if (folder / "run.nc").is_file()
            else f"{folder} is no run folder: it has no run.nc, no shots.npz and no result.json"
        )
        raise FileNotFoundError(hint)
    return read_json(path)


def result_of_run(folder: Path, run: RunFile | None = None) -> tuple[RunFile, dict[str, Any]]:
    """The run of a rate and its ``result.json``, which must be of that run, as far as it has come; `run` if it is open already.

    What a run says while it goes on, or when it was stopped, may be of fewer records than there are.

    Raises
    ------
    FileNotFoundError
        If the run has no result yet.
    ValueError
        If a file is damaged, or of another run.
    """
    result, path = read_result(folder), folder / "result.json"
    run = run or RunFile.open(folder / "run.nc")
    config = stored_config(folder, run.attributes.get("config"))  # must be what the run recorded
    if config is not None:
        require_result_of_run(path, result, config, run.attributes.get("run"), _ADVICE)
    told = result.get("records", run.kinds)  # earlier versions did not say it
    behind = result.get("missing") and all(number <= run.kinds.get(kind, 0) for kind, number in told.items())
    if told != run.kinds and not behind:
        raise InputError(
            f"{path} and {run.path} are of different times: one of them was put back, or the run went on and is not finished; "
            "continue it with --resume"
        )
    return run, result


def estimate_of(result: Mapping[str, Any]) -> RateEstimate:
    """The estimate that a result of a rate holds."""
    return RateEstimate.from_dict({key: value for key, value in result.items() if key not in _NOT_OF_THE_ESTIMATE})


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that this package wrote.

    Raises
    ------
    ValueError
        If it is damaged, or was edited.
    """
    return parse_checked_json(path, _ADVICE)
