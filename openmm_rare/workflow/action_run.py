"""The command `openmm-rare action run`: a learned step at work, block by block, so that a run that was killed goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..action.integrator import LearnedActionIntegrator
from ..action.sampling import system_hash
from ..errors import InputError
from ..io.files import lock_folder, write_json, write_npz
from ..io.log import logged
from ..io.progress import shows_progress
from ..io.run_file import RunFile
from ..io.tasks import Progress
from ..io.text import format_value
from ..statistics import correlated_mean
from .action import ActionRun, open_action

__all__ = ["run_action", "run_rows"]

_BLOCKS = 50  # of a run, after each of which it may be killed
_RARELY = 0.5  # share of accepted steps below which correlations last longer than such runs show
_COUNTS = ("steps", "accepted", "evaluations", "failed", "not_returned")


@shows_progress
def run_action(
    folder: str | Path,
    steps: int,
    *,
    temperature: float | None = None,
    metropolize: bool = True,
    every: int = 100,
    seed: int = 1,
    resume: bool = False,
    trust: bool = False,
    progress: Progress | None = None,
) -> Mapping[str, Any]:
    """Sample with the action in a folder; writes ``run/frames.npz`` and ``run/run.json`` there.

    Parameters
    ----------
    folder : path
    steps : int
        Learned ones.
    temperature : float, optional
        K; default: that of the training.
    metropolize : bool
    every : int
        Steps between frames that are kept.
    seed : int
    resume : bool
        Go on with the run that is there.
    trust : bool
        Whether all code that the configuration names may run.
    progress : Progress, optional

    Returns
    -------
    mapping
        What ``run.json`` says.

    Raises
    ------
    ValueError
        If the folder holds no learned action, or another run than this.
    FloatingPointError
        If a step is not solved, and may not be rejected.
    """
    run = open_action(folder, trust)
    out, kelvin = run.folder / "run", temperature or run.problem.temperature
    identity = json.dumps([steps, kelvin, metropolize, every, seed, system_hash(run.problem.system), run.training])
    if not (resume and out.is_dir()):
        if out.is_dir() and any(out.iterdir()):
            raise InputError(f"{out} holds a run already: continue it with --resume and its options, or remove it")
        out.mkdir(exist_ok=True)
    with lock_folder(out), logged(out):
        path = out / "run.nc"
        file = RunFile.open(path) if path.is_file() else RunFile.create(path, {"run": identity})
        if file.attributes["run"] != identity:
            raise InputError(f"{out} holds another run than this: remove it, or give the options that it was made with")
        _advance(run, file, steps, kelvin, metropolize, every, seed, progress)
        found = _finished(out, file, kelvin, run.action.timestep, metropolize)
    return found


def _advance(
    run: ActionRun,
    file: RunFile,
    steps: int,
    kelvin: float,
    metropolize: bool,
    every: int,
    seed: int,
    progress: Progress,
) -> None:
    context = run.context()
    context.setVelocitiesToTemperature(kelvin, seed or 1)
    integrator = LearnedActionIntegrator(
        context,
        run.action,
        kelvin,
        run.settings.friction,
        metropolize,
        tolerance=run.settings.tolerance,
        max_evaluations=run.settings.max_evaluations,
        num_dimensions=run.problem.num_dimensions,
        seed=seed,
    )
    n_frames = max(steps // every, 1)
    per_block = max(n_frames // _BLOCKS, 1)
    done = 0
    for record in file.load("block"):
        done += len(record["energy"])
        context.setPositions(record["positions"][-1])
        context.setVelocities(record["velocities"][-1])
        integrator.noise = record["noise"]
    progress.stage("learned steps", float(n_frames * every))
    progress.update(float(done * every))
    while done < n_frames:
        frames, before = [], integrator.summary
        for _ in range(min(per_block, n_frames - done)):
            integrator.step(every)
            state = context.getState(positions=True, velocities=True, energy=True)
            frames.append(
                (
                    state.getPositions(asNumpy=True)._value,
                    state.getVelocities(asNumpy=True)._value,
                    state.getPotentialEnergy()._value,
                    state.getKineticEnergy()._value,
                )
            )
            progress.update(float(every), accepted=f"{integrator.summary.acceptance_rate:.3f}")
        positions, velocities, energy, kinetic = (np.array(each) for each in zip(*frames, strict=True))
        arrays = {"positions": positions, "velocities": velocities, "energy": energy, "kinetic": kinetic}
        file.append("block", arrays | {"noise": integrator.noise} | _counts(before, integrator.summary))
        done += len(frames)


def _counts(before: Any, after: Any) -> dict[str, int]:
    """What a block has cost."""

    def totals(summary: Any) -> np.ndarray:
        rates = (1.0, summary.acceptance_rate, summary.evaluations_per_step)
        return np.rint([*(summary.steps * rate for rate in rates), summary.failed_steps, summary.not_returned]).astype(int)

    return dict(zip(_COUNTS, (totals(after) - totals(before)).tolist(), strict=True))


def _finished(out: Path, file: RunFile, kelvin: float, timestep: float, metropolize: bool) -> Mapping[str, Any]:
    file.finalize()
    records = file.load("block")
    columns = {
        name: np.concatenate([record[name] for record in records]) for name in ("positions", "velocities", "energy", "kinetic")
    }
    write_npz(out / "frames.npz", columns)
    counts = {name: sum(int(record[name]) for record in records) for name in _COUNTS}
    energy, stderr = correlated_mean([columns["energy"][len(columns["energy"]) // 2 :]])  # the first half gets warm
    found = {
        "temperature_k": kelvin,
        "timestep_ps": timestep,
        "metropolize": metropolize,
        "frames": len(columns["energy"]),
        **counts,
        "energy_kj_mol": energy,
        "energy_stderr": stderr,
        "warnings": _doubts(counts, metropolize),
    }
    write_json(out / "run.json", found, checked=True)
    return found


def _doubts(counts: Mapping[str, int], metropolize: bool) -> list[str]:
    """What to distrust of a run."""
    if not metropolize or counts["accepted"] >= _RARELY * counts["steps"]:
        return []
    return [
        f"{counts['accepted']} of {counts['steps']} steps were accepted: what stays where it is has seen little, and errors "
        "are larger than is said. Learn with more samples, or a smaller --stride, in another folder."
    ]


def run_rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What ``run.json`` says: label and value."""
    steps = found["steps"]
    rows = [
        ("steps", f"{steps} of {1e3 * found['timestep_ps']:.3g} fs at {found['temperature_k']:g} K"),
        ("evaluations of the action a step", f"{found['evaluations'] / steps:.1f}"),
        ("potential energy, second half", f"{format_value(found['energy_kj_mol'], found['energy_stderr'])} kJ/mol"),
    ]
    if not found["metropolize"]:
        return [*rows, ("equilibrium", "of a shadow energy: approximate")]
    rejected = f"{found['failed']} not solved, {found['not_returned']} without a way back"
    accepted = ("accepted", f"{found['accepted'] / steps:.3f}  (rejected: {rejected})")
    return [*rows, accepted, ("equilibrium", "exact in a long run only" if found["warnings"] else "exact")]
