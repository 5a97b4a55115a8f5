"""One stretch of one Markov chain in path space: a plain function of plain data, for any process on any machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import openmm
import openpathsampling as paths
from openpathsampling.engines.topology import MDTrajTopology, Topology
from openpathsampling.netcdfplus import StorableObject

from ...committor.load import load_committor
from ...dynamics.unbiased import unbiased_integrator
from ...ops.aimless import AimlessShootingMover, AimlessShootingStrategy
from ...ops.engine import RareEventEngine
from ...ops.hooks import outcome, take_passages
from ...ops.seeding import seed_path_sampling
from ...ops.selector import CommittorSelector
from ...ops.shooting import ShootingStrategy, shooting_scheme
from ...ops.simstore import PathStorage, open_simstore
from ...ops.snapshots import frames_of, trajectory_of
from ...ops.storage_code import require_no_code
from ...ops.volumes import state_volumes
from ...paths.trial import Trial
from .task import ChainState, ChainTask, PathProblem

__all__ = ["fixed_identities", "known_code", "make_engine", "run_chain"]


def known_code(volumes: Sequence[paths.Volume], engine: RareEventEngine) -> list[str]:
    """What a storage of the run may hold of its own definitions."""
    definitions = [volume.to_dict()["definition"] for volume in volumes]
    return [*definitions, openmm.XmlSerializer.serialize(engine.system)]


def make_engine(problem: PathProblem) -> RareEventEngine:
    """The engine for a problem: dynamics with momenta where the system has inertia, overdamped elsewhere."""
    system, settings = problem.system, problem.settings
    properties = {"Threads": str(settings.threads or 1), "DeterministicForces": "true"} if problem.platform == "CPU" else {}
    topology = (
        Topology(len(system.positions))
        if system.topology is None
        else MDTrajTopology(mdtraj.Topology.from_openmm(system.topology))
    )
    options = {"n_steps_per_frame": settings.steps_per_frame, "n_frames_max": settings.max_frames}
    engine = RareEventEngine(topology, system.system, unbiased_integrator(system), properties, options, problem.platform)
    engine.is_checked = True  # by the command, once for all processes
    return engine


def run_chain(task: ChainTask) -> tuple[ChainState, list[Trial]]:
    """A stretch of one chain: the state after it, and its trials in order.

    The result depends on the task alone, whatever was computed before and by which process. A storage that has the stretch
    already, because a process died before it could report, is left as it is.
    """
    with fixed_identities(task.problem.key, task.seed, task.chain):
        sampler = _sampler(task)
    with fixed_identities(task.problem.key, task.seed, *task.origin):
        return sampler.run(task)


@contextmanager
def fixed_identities(*origin: Any) -> Iterator[None]:
    """Objects that OpenPathSampling makes meanwhile have identities that follow from the origin, also when made again."""
    before = StorableObject.ACTIVE_LONG
    start = hashlib.sha256(repr(origin).encode()).digest()[:16]
    StorableObject.ACTIVE_LONG = int.from_bytes(start, "big") >> 40 << 40
    try:
        yield
    finally:
        StorableObject.ACTIVE_LONG = before


_SAMPLERS: dict[tuple, _Sampler] = {}


def _sampler(task: ChainTask) -> _Sampler:
    """The objects of a chain, made once in each process."""
    key = (task.problem.key, task.seed, task.chain, task.storage)
    if key not in _SAMPLERS:
        _SAMPLERS[key] = _Sampler(task)
    return _SAMPLERS[key]


class _Sampler:
    """Engine, mover and storage of one chain."""

    def __init__(self, task: ChainTask) -> None:
        settings, self.engine = task.problem.settings, make_engine(task.problem)
        self.engine.no_velocities()  # made now, it is the same object for all rounds
        self.volumes = list(state_volumes(task.problem.system.states))
        model = load_committor(task.model)
        modifier = paths.NoModification() if self.engine.overdamped else paths.RandomVelocities(engine=self.engine)
        self.selector = CommittorSelector(model, settings.width, "uniform").named("selector")
        if settings.selector == "aimless":
            strategy = AimlessShootingStrategy(modifier, self.engine, settings.offset, settings.corrected)
        else:
            self.selector = CommittorSelector(model, settings.width, settings.selector).named("selector")
            strategy = ShootingStrategy(self.selector, modifier, self.engine)
        self.scheme = shooting_scheme(paths.TPSNetwork.from_states_all_to_all(self.volumes), strategy)
        (self.mover,) = self.scheme.movers["shooting"]
        self.mover.keep_frames()
        self.simulation = paths.PathSampling(None, self.scheme)
        self.storage = None if task.storage is None else self._opened(Path(task.storage), task.owner)

    def run(self, task: ChainTask) -> tuple[ChainState, list[Trial]]:
        """The stretch."""
        chain_seed = np.random.SeedSequence(task.seed, spawn_key=task.origin)
        noise = seed_path_sampling(int(chain_seed.generate_state(1)[0]))
        self._begin(task, noise)
        active = self._start(task.state)
        steps = [self._step(0, paths.EmptyMoveChange(), active)] if task.cycles.start == 1 else []
        trials, relaxed = [], task.state.relaxed
        for cycle in task.cycles:
            self.mover.relax(not relaxed)
            change = self.scheme.root_mover.move(active)
            active = active.apply_samples(change.results)
            steps.append(self._step(cycle, change, active))
            trials.append(self._trial(steps[-1], relaxed, task.problem.settings.passages))
            relaxed |= bool(change.accepted)
        state = self._state(active[0].trajectory, relaxed)
        if self.storage is not None:
            self.storage.save_steps(steps, self._known(task.state.names))
        return state, trials

    def _opened(self, path: Path, owner: str) -> PathStorage:
        """The storage, which must hold no code but that of the run."""
        if path.exists():
            require_no_code(path, known_code(self.volumes, self.engine))
        return open_simstore(path, "a", owner)

    def _known(self, names: tuple[int, ...]) -> set[str]:
        """Identities of the current path and its frames, if the storage has them."""
        known = {str(name) for name in names}
        return set() if self.storage.filter_existing_uuids({str(name): None for name in names[:1]}) else known

    def _begin(self, task: ChainTask, noise: int) -> None:
        """The model and the noise of this round."""
        self.selector.model.set_tensors(load_committor(task.model).tensors())
        self.selector.set_density(task.density)
        self.engine.integrator.setRandomNumberSeed(noise)
        self.engine.simulation.context.reinitialize()
        self.engine.current_snapshot = trajectory_of(task.state.path[:1], self.engine)[0]

    def _start(self, state: ChainState) -> paths.SampleSet:
        trajectory = trajectory_of(state.path, self.engine)
        if state.names:
            trajectory.__uuid__, *frames = state.names
            for snapshot, name in zip(trajectory, frames, strict=True):
                snapshot.__uuid__ = name
        if isinstance(self.mover, AimlessShootingMover) and state.pair >= 0:
            self.mover.remember(trajectory, state.pair)
        return paths.SampleSet([paths.Sample(0, trajectory, self.mover.ensemble)])

    def _step(self, cycle: int, change: paths.MoveChange, active: paths.SampleSet) -> paths.pathsimulators.MCStep:
        return paths.pathsimulators.MCStep(self.simulation, cycle, active=active, change=change)

    def _trial(self, step: paths.pathsimulators.MCStep, relaxed: bool, n_passages: int) -> Trial:
        details, accepted = step.change.canonical.details, bool(step.change.accepted)
        point = frames_of([details.shooting_snapshot], with_velocities=False).positions[0]
        unfinished = getattr(details, "stopping_reason", None) is not None
        n_a, n_b = (0, 0) if unfinished else outcome(step, self.volumes)[1].tolist()
        expected = float(self.selector.model.transition_probability(point[None])[0])
        path = frames_of(step.active[0].trajectory, with_velocities=False).positions.astype(np.float32) if accepted else None
        n_frames = 0 if unfinished else details.n_frames
        passages = take_passages(step.change.canonical, self.volumes, self.selector.model.descriptor, n_passages)
        return Trial(step.mccycle, point, n_a, n_b, expected, accepted, relaxed, n_frames, path, passages)

    def _state(self, trajectory: paths.Trajectory, relaxed: bool) -> ChainState:
        names = (trajectory.__uuid__, *(snapshot.__uuid__ for snapshot in trajectory))
        pair = self.mover.first_of(trajectory) if isinstance(self.mover, AimlessShootingMover) else -1
        return ChainState(frames_of(trajectory, not self.engine.overdamped), names, relaxed, pair)
