"""Path sampling from a script or for the command: a problem in, transition paths out, and a folder that can be continued."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..committor.base import Committor
from ..committor.ensemble import CommittorEnsemble
from ..committor.fitting import labelled, require_fitting
from ..config.run import RunConfig, SystemConfig
from ..config.stored import write_config
from ..dynamics.checks import require_runnable
from ..errors import InputError
from ..folders.path_files import holds_paths
from ..folders.path_folder import PathRecord, path_settings
from ..folders.run_folder import check_new, require_no_action
from ..io.files import lock_folder, remove_stale
from ..io.log import logged
from ..io.progress import shown
from ..io.tasks import Noting, Progress
from ..parallel.executors import Executor, Here
from ..parallel.processes import require_importable, require_own_process
from ..settings.paths import PathSettings
from ..walkers.machine import Machine
from .continuing import expanded, take_up
from .point_sampler import PointSampler
from .sampler import PathSampler

if TYPE_CHECKING:
    from ..learning.shots import Shots
    from ..paths.ensemble import PathEnsemble
    from ..problem import RareEventSystem

__all__ = ["PathSampling", "SampledPaths"]

_SAMPLERS = {"chains": PathSampler, "points": PointSampler}


@dataclass(frozen=True, eq=False)
class SampledPaths:
    """What path sampling has found.

    Attributes
    ----------
    result : mapping
        The content of ``result.json``: yields, acceptance, mean path time and their errors; what to distrust is in ``reliable``
        and ``warnings``.
    ensemble : PathEnsemble or None
        The accepted paths with their weights; None if there is none.
    model : CommittorModel or CommittorEnsemble
        The committor, fitted to all shots.
    shots : Shots
    """

    result: Mapping[str, Any]
    ensemble: PathEnsemble | None
    model: Committor
    shots: Shots


class PathSampling:
    """Transition paths between A and B, and the committor that is learned on the way.

    Parameters
    ----------
    problem : RareEventSystem
        System, states, temperature and dynamics.
    settings : PathSettings, optional
        How much of what; the first path comes from where its ``initial_path`` says.
    seed : int
        The same seed gives the same paths, bit for bit, on the Reference platform.
    machine : Machine or str, optional
        Or the name of an OpenMM platform; default: Reference.
    model : CommittorModel or CommittorEnsemble, optional
        To start from; of the same system, states and descriptor. Its network takes the place of that of the settings.
    progress : Progress, optional
        Default: on the terminal (standard error); :class:`openmm_rare.Silent` shows nothing.
    folder : path, optional
        Where everything is kept, and goes on from when it is there already: a run that was stopped ends as if it had not been,
        to the bit; more trials than it was to make go on from its last one, and are the same each time. Commands read it as
        one of theirs; those that need the problem itself know the built-in ones only.
    resume : bool
        Whether a run that is there already may go on.
    source : RunConfig, optional
        The configuration that the problem was built from, for ``config.toml`` in the folder.
    executor : Executor, optional
        Computes, within its ``with`` block: :class:`~openmm_rare.parallel.local.Processes`, or
        :class:`~openmm_rare.parallel.dask_cluster.Dask`, which writes no storages; then with one thread for each chain unless
        the settings say more. Default: the processes of the settings.

    Attributes
    ----------
    problem : RareEventSystem
        As it is sampled: its states are tested at frames.
    notes : tuple of str
        What should be known about the dynamics.

    Raises
    ------
    ValueError
        For an unknown platform, a model of another system, or whatever :func:`~openmm_rare.dynamics.checks.require_runnable`
        finds in the way.
    """

    def __init__(
        self,
        problem: RareEventSystem,
        settings: PathSettings | None = None,
        *,
        seed: int = 1,
        machine: Machine | str | None = None,
        model: Committor | None = None,
        progress: Progress | None = None,
        folder: str | Path | None = None,
        resume: bool = True,
        source: RunConfig | None = None,
        executor: Executor | None = None,
    ) -> None:
        require_own_process()
        if not isinstance(executor, Here):
            require_importable(problem, executor is not None and executor.elsewhere)
        machine, settings = Machine.choose(machine), (settings or PathSettings()).for_system(problem)
        notes = (*require_runnable(problem, "paths"), problem.descriptor_note, _note_on_tests(problem, settings))
        self.notes = tuple(filter(None, notes))
        given, problem = problem, problem.with_check_interval(settings.steps_per_frame)
        if model is not None:
            _require_usable(model, given if model.check_interval is None else problem)
            model = labelled(model, problem)
            settings = _with_network_of(model, settings)
        settings = replace(settings, threads=settings.threads or machine.threads)
        source = source or RunConfig(str(Path.cwd()), SystemConfig(problem.name))
        sampling = replace(source.sampling, seed=seed, platform=machine.platform)
        self.problem, self._model, self._progress, self._executor = problem, model, progress, executor
        self._config = replace(source, sampling=sampling, path_sampling=settings)
        self._folder, self._resume = None if folder is None else Path(folder), resume and folder is not None

    def run(self) -> SampledPaths:
        """Find the first paths, and sample as many trials as the settings say, or those that are left of them.

        Raises
        ------
        ValueError
            If the folder holds something else or another run, a file in it is damaged, or no first path can be found as the
            settings ask; nothing is lost then.
        FloatingPointError
            If positions become NaN, constraints break or molecules fly apart.
        """
        with shown(self._progress) as progress, self._place() as folder:
            progress = Noting(progress)
            for note in self.notes:
                progress.note(note)
            config = expanded(self._config, self.problem, folder if self._resume else None, self._executor is not None)
            fresh = _is_fresh(folder, self._resume, progress)
            made = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            with lock_folder(folder):
                remove_stale(folder)
                method = _SAMPLERS[path_settings(config).method]
                with method(config, self.problem, folder, progress, self._model, self._executor) as sampler:
                    if fresh:
                        _begin(sampler, folder, config, made)
                    else:
                        write_config(take_up(sampler, folder, config, self.problem, progress), folder)
                    with logged(folder):
                        sampler.run()
                with logged(folder, begins=False):
                    return SampledPaths(*sampler.finish(), sampler.record.shots)

    @contextmanager
    def _place(self) -> Iterator[Path]:
        """The folder, or one for now."""
        if self._folder is not None:
            yield self._folder
            return
        with TemporaryDirectory(prefix="openmm-rare-") as name:
            yield Path(name)


def _is_fresh(out: Path, resume: bool, progress: Progress) -> bool:
    """Whether a run begins in this folder, which must be one for it."""
    fresh = not (out / "shots.npz").exists()
    require_no_action(out)
    if not resume or (fresh and not (out / "config.toml").exists()):
        check_new(out)
        if resume:
            progress.stage(f"no run in {out} to continue: a new one begins")
    if fresh and holds_paths(out):
        PathRecord.load(out)  # says what is missing: a new run would remove the paths
    return fresh


def _begin(sampler: PathSampler, out: Path, config: RunConfig, made: bool) -> None:
    """Start in an empty folder, which goes again if that fails and it was `made` for this run.

    The configuration is there before anything else: whatever happens next, `--resume` finds it.
    """
    known = (out / "config.toml").exists()
    write_config(config, out)
    try:
        sampler.begin()
    except BaseException:
        if made:
            shutil.rmtree(out, ignore_errors=True)
        elif not known:
            (out / "config.toml").unlink()
        raise


def _note_on_tests(problem: RareEventSystem, settings: PathSettings) -> str | None:
    """What is to be said where the states of the problem are tested at other times than at frames."""
    steps, own = settings.steps_per_frame, problem.check_interval
    if own in (1, steps):
        return None
    return f"A and B are tested at frames, every {steps} steps, and not every {own}, the check_interval of {problem.name}."


def _require_usable(model: Committor, problem: RareEventSystem) -> None:
    """Refuse a model of something else."""
    if model.n_states != 2:
        raise InputError(f"a {model.title} cannot be used: path sampling from A to B needs a model of two states")
    if model.spec != problem.descriptor_spec():
        raise InputError(
            f"the model was trained on the descriptor {model.spec}, but the run uses {problem.descriptor_spec()}: give the "
            "descriptor of the model in [system], or train a new model"
        )
    require_fitting(model, problem)


def _with_network_of(model: Committor, settings: PathSettings) -> PathSettings:
    members = model.members if isinstance(model, CommittorEnsemble) else [model]
    kind, dropout = members[0].architecture["kind"], members[0].architecture.get("dropout", 0.0)
    return replace(settings, network=kind, dropout=dropout, hidden=members[0].hidden, members=len(members))
