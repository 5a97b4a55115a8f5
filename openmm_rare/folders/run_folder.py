"""The folder of one run: started, or continued only by the very same calculation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..committor.base import Committor
from ..committor.fitting import require_fitting
from ..committor.load import load_committor
from ..config.run import RunConfig
from ..config.stored import restore_config, run_identity, stored_config, write_config
from ..errors import InputError
from ..io.files import lock_folder, remove_stale
from ..io.log import FILE, logged
from ..io.run_file import RunFile
from ..problem import RareEventSystem
from ..rates.summary import versions
from ..settings.rates import RateSettings
from ..states.outlines import outlines_as_text
from ..states.states import CollectiveVariables

__all__ = ["check_new", "open_run", "require_no_action", "variable_units"]

_PLAN = "training_plan"  # a record of what is about to be done
_START = "start_model.npz"
_FREE = {"max_walker_steps"}  # settings that change when a run ends, not what it computes


def check_new(folder: Path) -> None:
    """Refuse to start in a folder that holds something.

    Raises
    ------
    ValueError
        If it is not an empty folder or a new name.
    """
    if folder.is_dir() and any(folder.iterdir()):
        if (folder / "config.toml").exists() or (folder / "run.nc").exists():
            raise InputError(f"{folder} holds a run already: continue it with --resume, or choose another --out")
        raise InputError(f"{folder} is not empty and holds no run: choose another folder with --out")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; choose a folder with --out")


def require_no_action(folder: Path) -> None:
    """Refuse to continue as a run what `openmm-rare action train` has made, whose configuration would be lost.

    Raises
    ------
    ValueError
    """
    if any(folder.glob("data-*.npz")):
        raise InputError(f"{folder} holds a learned action, and no run of this command: choose another --out")


@contextmanager
def open_run(
    folder: Path, config: RunConfig, problem: RareEventSystem, resume: bool, model: Committor | None
) -> Iterator[tuple[RunFile, Committor | None]]:
    """The run file of a new or continued run, locked for this process.

    A run that fails before it recorded anything leaves no trace.

    Parameters
    ----------
    folder : Path
    config : RunConfig
        Expanded.
    problem : RareEventSystem
    resume : bool
        Continue what is there; start where there is nothing.
    model : Committor or None
        Trained model to start from; kept in the folder, from where a continued run takes it.

    Yields
    ------
    run : RunFile
    model : Committor or None
        What to start from.

    Raises
    ------
    ValueError
        If the folder is in use, holds something else or another calculation, or a file in it is damaged.
    """
    fresh = not (folder / "config.toml").exists() and not (folder / "run.nc").exists()
    if not resume or fresh:
        check_new(folder)
    require_no_action(folder)
    if model is not None:
        require_fitting(model, problem)
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder):
        remove_stale(folder)
        if fresh or not (folder / "run.nc").exists():
            run = _start(folder, config, problem, model)
        else:
            run = RunFile.open(folder / "run.nc")
            restore_config(folder, run.attributes.get("config"))
            _check_same(folder, run, config, problem)
            run.attributes["config"] = config.to_toml()
        try:
            with logged(folder):
                yield run, _start_model(folder, run, problem)
        except BaseException:
            if fresh and set(run.kinds) <= {_PLAN}:  # nothing has moved yet
                written = [folder / name for name in ("run.nc", "config.toml", _START, FILE)]
                for path in (*written, *run.parts.glob(f"{_PLAN}.*")):
                    path.unlink(missing_ok=True)
                for place in (run.parts, *([folder] if made else ())):
                    with suppress(OSError):  # not there, or something else lies in it: what went wrong first is told
                        place.rmdir()
            raise
        write_config(config, folder)


def variable_units(variables: CollectiveVariables) -> dict[str, str]:
    """Unit of each variable, by its name; empty where there is none."""
    return {variable.name: variable.unit or "" for variable in variables.variables}


def _start(folder: Path, config: RunConfig, problem: RareEventSystem, model: Committor | None) -> RunFile:
    attributes: dict[str, Any] = {
        "config": config.to_toml(),
        "seed": config.sampling.seed,
        "fingerprint": problem.fingerprint(),
    }
    write_config(config, folder)
    if model is not None:
        model.save(folder / _START)
    if (folder / _START).exists():  # also where a run was killed before it had more
        attributes["start_model"] = hashlib.sha256((folder / _START).read_bytes()).hexdigest()
    attributes["run"] = run_identity(attributes["config"], attributes["fingerprint"], attributes.get("start_model", ""))
    attributes |= {f"version_{name}": version for name, version in versions().items()}
    units = variable_units(problem.states.variables)
    attributes["variable_units"] = ",".join(f"{name}={unit}" for name, unit in units.items())
    attributes["outlines"] = outlines_as_text(problem.states)
    return RunFile.create(folder / "run.nc", attributes)


def _start_model(folder: Path, run: RunFile, problem: RareEventSystem) -> Committor | None:
    """The model that the run began with."""
    path, digest = folder / _START, run.attributes.get("start_model")
    if not path.exists():
        if digest is not None:
            raise InputError(f"{path}, the model that the run began with, is missing: restore it from a copy")
        return None
    if digest is None and "run" in run.attributes:
        raise InputError(f"{path} does not belong to the run in {folder}, which began without a model: remove it")
    if digest is not None and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise InputError(f"{path} is damaged or another model than the run began with: restore it from a copy")
    model = load_committor(path)
    require_fitting(model, problem, path)
    return model


def _check_same(folder: Path, run: RunFile, config: RunConfig, problem: RareEventSystem) -> None:
    """Refuse to mix two calculations in one folder."""
    if run.attributes["fingerprint"] != problem.fingerprint():
        others = f"another system, other states or other dynamics{problem.states.may_be_edited}"
        raise InputError(f"the run in {folder} is of {others}; choose another --out")
    stored = stored_config(folder, run.attributes["config"])
    assert stored is not None
    old, new = _identity(stored), _identity(config)
    for name, value in new.items():
        if old.get(name) != value:
            raise InputError(
                f"{name} = {value} differs from the run in {folder}, which has {old.get(name)}: give that value to "
                "continue it, or choose another --out"
            )
    if config.sampling.target_error > stored.sampling.target_error:
        raise InputError(
            f"target_error = {config.sampling.target_error} is above that of the run in {folder}, "
            f"{stored.sampling.target_error}: a continued run can be made more precise, not less"
        )


def _identity(config: RunConfig) -> dict[str, Any]:
    """Everything that changes the random course of a run, by the name that the user knows."""
    sampling = config.sampling
    same = {"temperature": f"{config.system.temperature_k:g} K"}
    same |= {name: getattr(sampling, name) for name in ("seed", "platform", "method", "importance", "backward")}
    same |= {"more_starts": list(config.system.more_starts)}
    if config.latent is not None:
        return same | {f"latent.{name}": value for name, value in config.latent.of_frames().items()}
    same |= {f.name: getattr(sampling.settings, f.name) for f in fields(RateSettings) if f.name not in _FREE}
    if sampling.method == "barrier":
        same |= {f"barrier.{name}": value for name, value in config.barrier.to_dict().items()}
    return same | {"descriptor": config.system.descriptor}
