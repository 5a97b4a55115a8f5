"""The command `openmm-rare action`: a long step is learned, checked and used, all in one folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm

from ..action.checking.map_check import MapCheck, MapRow, check_map
from ..action.data import ActionData
from ..action.direct import DirectPredictor, PairInputs, PlainInputs
from ..action.features.pair_features import PairFeatures
from ..action.features.pair_types import PairTypes
from ..action.features.plain_features import PlainFeatures
from ..action.linear_action import LinearAction
from ..action.mlp import Training
from ..action.model_file import SavedAction, load_action, save_action
from ..action.network import ActionNetwork
from ..action.refusals import require_suitable
from ..action.sampling import system_hash
from ..config.run import RunConfig, build_system
from ..config.stored import stored_config, write_config
from ..dynamics.platforms import platform_by_name
from ..dynamics.stability import largest_curvature
from ..errors import InputError
from ..folders.run_folder import check_new
from ..io.checksums import naming_damage, parse_checked_json
from ..io.files import lock_folder, remove_stale, write_json
from ..io.log import FILE, logged
from ..io.progress import shows_progress
from ..io.tasks import Progress
from ..report.action import write_action_report
from ..settings.action import ActionSettings

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["ActionRun", "check_action", "open_action", "train_action"]

_STEPS_PER_PERIOD = 50
_DIRECT_WIDTH, _LEARNING_RATE = 64, 5e-3
_AGAIN = "make it again with openmm-rare action train --resume, from the data that are there"
_REMAKE = "remove it: it is made again"
_CURE = "learn it again in another folder with openmm-rare action train"


@dataclass(frozen=True)
class ActionRun:
    """The folder of a learned action.

    Attributes
    ----------
    folder : Path
    config : RunConfig
    problem : RareEventSystem
    action : LinearAction or ActionNetwork
    training : dict
        What ``training.json`` says.
    """

    folder: Path
    config: RunConfig
    problem: RareEventSystem
    action: SavedAction
    training: Mapping[str, Any]

    @property
    def settings(self) -> ActionSettings:
        """Those of the folder."""
        return self.config.action or ActionSettings()

    def context(self) -> openmm.Context:
        """A new one, at the initial structure."""
        integrator = openmm.VerletIntegrator(self.action.timestep)
        context = openmm.Context(self.problem.system, integrator, platform_by_name(self.config.sampling.platform))
        context.setPositions(self.problem.positions)
        return context

    def mode_names(self) -> list[str] | None:
        """Names of the types of pairs, by elements where they are known."""
        return _pair_names(self.action.features.types, self.problem) if isinstance(self.action.features, PairFeatures) else None


@shows_progress
def train_action(
    config: RunConfig, out: str | Path, resume: bool = False, progress: Progress | None = None
) -> Mapping[str, Any]:
    """Sample, learn, and write ``config.toml``, ``data-*.npz``, ``action.npz`` and ``training.json``.

    Parameters
    ----------
    config : RunConfig
        Its section ``[action]`` says how, or the defaults do.
    out : path
        Folder.
    resume : bool
        Go on with what is there.
    progress : Progress, optional

    Returns
    -------
    mapping
        What ``training.json`` says.

    Raises
    ------
    ValueError
        For Systems that no action can move, and folders that hold something else.
    """
    out, problem = Path(out), build_system(config)
    require_suitable(problem.system)
    settings = config.action or ActionSettings()
    types = PairTypes.of_system(problem.system, problem.topology) if settings.features == "pairs" else None
    config = replace(config, action=replace(settings, timestep=settings.timestep or _fine_step(problem)))
    with _folder(out, config.expanded(problem), resume) as config:
        settings = config.action
        data = ActionData.from_simulation(
            problem.system,
            problem.positions,
            temperature=problem.temperature,
            timestep=settings.timestep,
            strides=settings.stride,
            samples=settings.samples,
            hotter=settings.hotter,
            spacing=settings.spacing,
            num_dimensions=problem.num_dimensions,
            platform=config.sampling.platform,
            seed=config.sampling.seed,
            folder=out,
            progress=progress,
        )
        action = _learned(data, settings, types, config.sampling.seed, progress)
        save_action(out / "action.npz", action, data.space, data.system)
        found = {
            "system": problem.name,
            "temperature_k": problem.temperature,
            "fine_timestep_ps": settings.timestep,
            "timestep_ps": action.timestep,
            "frequency_per_ps": action.frequency,
            **asdict(action.report),
        }
        write_json(out / "training.json", found, checked=True)
    return found


@shows_progress
def check_action(folder: str | Path, trust: bool = False, progress: Progress | None = None) -> MapCheck:
    """Compare the action in a folder with Verlet and with a predictor that is learned from the same data.

    Writes ``check.json`` as methods are done, from where the same call goes on, and ``report.html``.

    Parameters
    ----------
    folder : path
    trust : bool
        Whether all code that the configuration names may run.
    progress : Progress, optional

    Raises
    ------
    ValueError
        If the folder holds no learned action.
    """
    run = open_action(folder, trust)
    settings, path = run.settings, run.folder / "check.json"
    known: dict[str, MapRow] = {}
    if path.is_file():
        with naming_damage(path, _REMAKE):
            known = {name: MapRow.of_dict(row) for name, row in parse_checked_json(path, _REMAKE).items()}

    def keep(name: str, row: MapRow) -> None:
        known[name] = row
        write_json(path, {each: made.to_dict() for each, made in known.items()}, checked=True)

    with lock_folder(run.folder), logged(run.folder):
        check = check_map(
            run.action,
            run.context(),
            stride=settings.stride,
            temperature=run.problem.temperature,
            direct=None if "direct" in known or not settings.direct_steps else _predictor(run, progress),
            trajectories=settings.trajectories,
            duration=settings.duration or None,
            num_dimensions=run.problem.num_dimensions,
            tolerance=settings.tolerance,
            max_evaluations=settings.max_evaluations,
            mode_names=run.mode_names(),
            seed=run.config.sampling.seed,
            known=known,
            on_row=keep,
            progress=progress,
        )
        write_action_report(run.folder, run.training, check, run.config)
    return check


def open_action(folder: str | Path, trust: bool = False) -> ActionRun:
    """What a folder holds.

    Raises
    ------
    ValueError
        If it holds no learned action, or one of another System than its configuration describes.
    """
    folder = Path(folder)
    config = stored_config(folder, trust=trust)
    if config is None or config.action is None or not (folder / "action.npz").is_file():
        raise InputError(f"{folder} holds no learned action: make one with openmm-rare action train SYSTEM --out {folder}")
    problem = build_system(config)
    action, space, system = load_action(folder / "action.npz")
    if system != system_hash(problem.system) or space.num_dimensions != problem.num_dimensions:
        raise InputError(f"{folder / 'action.npz'} is of another System than config.toml beside it describes: {_CURE}")
    return ActionRun(folder, config, problem, action, parse_checked_json(folder / "training.json", _AGAIN))


@contextmanager
def _folder(out: Path, config: RunConfig, resume: bool) -> Iterator[RunConfig]:
    """The folder of a training, locked for this process, and the configuration that holds there."""
    stored = stored_config(out) if resume and out.is_dir() else None
    if stored is None:
        check_new(out)
    elif json.dumps(_meant(stored), default=str) != json.dumps(_meant(config), default=str):
        raise InputError(f"{out} holds another training than this: choose another --out, or the options that it was made with")
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    with lock_folder(out):
        remove_stale(out)
        write_config(config, out)
        try:
            with logged(out):
                yield config
        except BaseException:
            if stored is None and not any(out.glob("data-*.npz")):  # nothing is lost, and other options may have the folder
                (out / "config.toml").unlink()
                (out / FILE).unlink()
                if made:
                    with suppress(OSError):  # not empty: what went wrong first is told
                        out.rmdir()
            raise


def _meant(config: RunConfig) -> list[Any]:
    """All that makes a difference to what is learned."""
    return [config.system.to_dict(), config.action and config.action.to_dict(), config.sampling.seed, config.sampling.platform]


def _fine_step(problem: RareEventSystem) -> float:
    """A fiftieth of the fastest period at the initial structure, ps."""
    return float(f"{2.0 * np.pi / np.sqrt(largest_curvature(problem)) / _STEPS_PER_PERIOD:.2g}")


def _learned(data: ActionData, settings: ActionSettings, types: PairTypes | None, seed: int, progress: Progress) -> SavedAction:
    if types is not None:
        features = PairFeatures.fitting(types, data.space, data.q, data.p)
    else:
        degrees = (1, 0) if settings.model == "network" else (6, 4, 2)
        features = PlainFeatures.fitting(data.q, data.p, degrees)
    linear = None
    if settings.model != "network":
        options = {"ridge": settings.ridge, "value_weight": settings.value_weight}
        linear = LinearAction.fit(data, settings.stride, features, settings.kernel, **options)
    if settings.model == "linear":
        return linear
    return ActionNetwork.fit(
        data,
        settings.stride,
        features,
        settings.kernel,
        width=settings.width,
        value_weight=settings.value_weight,
        base=linear,
        how=Training(settings.network_steps, learning_rate=_LEARNING_RATE, seed=seed),
        progress=progress,
    )


def _predictor(run: ActionRun, progress: Progress) -> DirectPredictor:
    parts = [ActionData.load(path).required_of(run.problem.system) for path in sorted(run.folder.glob("data-*.npz"))]
    data, features = ActionData.join(parts), run.action.features
    inputs = PairInputs(features) if isinstance(features, PairFeatures) else PlainInputs(data)
    how = Training(run.settings.direct_steps, learning_rate=_LEARNING_RATE, seed=run.config.sampling.seed)
    return DirectPredictor.fit(data, run.settings.stride, inputs, width=_DIRECT_WIDTH, how=how, progress=progress)


def _pair_names(types: PairTypes, problem: RareEventSystem) -> list[str]:
    atoms = [] if problem.topology is None else list(problem.topology.atoms())
    symbols = [atom.element.symbol if atom.element is not None else atom.name for atom in atoms]
    names: list[str] = []
    for number in range(types.n_types):
        one, other = types.pairs[types.of_pair == number][0]
        name = f"{symbols[one]}–{symbols[other]}" if symbols else "pairs"
        before = sum(each.partition(" ")[0] == name for each in names)
        names.append(f"{name} {before + 1}" if before else name)
    return names
