"""Path sampling in rounds: chains that share a model, pooled shots, training, and a folder that can be continued."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..committor.base import Committor
from ..committor.ensemble import CommittorEnsemble
from ..committor.load import committor_bin
from ..committor.model import CommittorModel
from ..config.stored import run_identity
from ..dynamics.frames import Frames
from ..folders.path_files import chain_folder, read_first_paths, read_paths, storage_of_chain, write_first_paths, write_paths
from ..folders.path_folder import PathRecord, ensemble_of, path_settings
from ..folders.path_summary import summarize_paths
from ..folders.path_warnings import all_given_up
from ..io.checksums import digest_of
from ..io.files import write_json
from ..learning.gated_fit import FitOptions
from ..learning.shot_trainer import ShotTrainer
from ..learning.shots import yields
from ..ops.storage_check import damage_of_storage, set_aside
from ..parallel.executors import Executor
from ..parallel.local import Processes
from ..paths.ensemble import PathEnsemble
from ..paths.inputs import PathInputs
from ..paths.ways import Ways
from ..rates.summary import versions
from .chains.stretches import run_chain
from .chains.task import ChainState, ChainTask, PathProblem
from .first_paths.first_paths import first_paths

if TYPE_CHECKING:
    from ..config.run import RunConfig
    from ..io.tasks import Noting
    from ..paths.trial import Trial
    from ..problem import RareEventSystem

__all__ = ["PathSampler"]

_BINS, _DENSITY_PATHS = 10, 50
_NO_STORAGE = (
    "Workers of a cluster write no OpenPathSampling storages (steps.db): the accepted paths of all trials are in paths-*.npz."
)
_INITIAL, _NETWORK = 2**31, 2**31 + 1  # streams of random numbers beside those of the chains


class PathSampler:
    """Rounds of path sampling in one folder, by Markov chains of paths.

    Parameters
    ----------
    config : RunConfig
        Expanded.
    problem : RareEventSystem
    folder : Path
    progress : Noting
        Its notes become those of the result.
    model : CommittorModel or CommittorEnsemble, optional
        To start from, with the network of the settings.
    executor : Executor, optional
        Default: processes of this machine, as many as the settings say.
    """

    def __init__(
        self,
        config: RunConfig,
        problem: RareEventSystem,
        folder: Path,
        progress: Noting,
        model: Committor | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.system, self.folder, self.progress = problem, folder, progress
        self.settings, self.seed = path_settings(config), config.sampling.seed
        self.problem = PathProblem(problem, self.settings, config.sampling.platform)
        self.model, self._given = model or self._new_model(), model is not None
        options = FitOptions(self.settings.gate_strength, self.settings.weight_decay)
        growth, window = self.settings.growth, self.settings.window
        self.trainer = ShotTrainer(self.model, options, self._random(_NETWORK), growth, window, self._given)
        recorded = _to_record(config)
        run = run_identity(recorded, problem.fingerprint(), digest_of(self.model.tensors()))
        self.record = PathRecord(metadata=self.model.metadata(), config=recorded, run=run)
        self.states: list[ChainState] = []
        self._own = Processes(self.settings.processes, self.problem.platform) if executor is None else nullcontext(executor)
        self._executor: Executor
        self._stored = self.settings.storage and not (executor and executor.elsewhere)

    def __enter__(self) -> PathSampler:
        self._executor = self._own.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """End the processes."""
        self._own.__exit__(*error)

    def _first_state(self, path: Frames) -> Any:
        return ChainState(path)

    def _arrays_of(self, state: Any) -> dict[str, np.ndarray]:
        return state.arrays()

    def _state_of(self, arrays: Mapping[str, np.ndarray]) -> Any:
        return ChainState.from_arrays(arrays)

    def _new_model(self) -> Committor:
        system, settings, seed = self.system, self.settings, self._random(_NETWORK)
        about = (system.descriptor_spec(), len(system.positions), settings.hidden, system.temperature, system.fingerprint())
        network = {"network": settings.architecture(), "check_interval": system.check_interval}
        if settings.members > 1:
            return CommittorEnsemble.of(settings.members, *about, seed=seed, **network)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return CommittorModel(*about, **network)

    def _random(self, stream: int) -> int:
        return int(np.random.SeedSequence(self.seed, spawn_key=(stream,)).generate_state(1)[0]) % (2**31 - 1) + 1

    def begin(self) -> None:
        """Find the first paths."""
        inputs, guide = PathInputs(self.system, self.model.descriptor), self.model if self._given else None
        seed, n_chains = self._random(_INITIAL), self.settings.series
        first = first_paths(self.problem, n_chains, seed, self.progress, self._executor, inputs, guide)
        self.record.notes = list(self.progress.notes)  # a file is read only once
        if not self._given:
            self.model.standardize(np.concatenate([path.positions for path in first.starts]))
        self.states = [self._first_state(path) for path in first.starts]
        write_first_paths(self.folder, [path.positions for path in first.found], self.record.digests)
        self._empty_folders()
        self._renew()
        self.record.save(self.folder)
        self.model.save(self.folder / "model.npz")

    def _empty_folders(self) -> None:
        """No trial has been recorded: what chains wrote meanwhile is written again."""
        for number in range(self.settings.series):
            chain_folder(self.folder, number).mkdir(exist_ok=True)
            for leftover in chain_folder(self.folder, number).iterdir():
                leftover.unlink()

    def take_up(self, record: PathRecord, config: RunConfig) -> None:
        """Go on from where a run stands, with this configuration, which its record has before ``config.toml`` has it."""
        self.model.require_same(self.folder / "shots.npz", record.metadata)
        self.record = record
        self.trainer.set_state(record.trainer)
        self.states = [self._state_of(arrays) for arrays in record.states]
        if not record.cycles:
            self._empty_folders()
        notes = self._sound_storages() if record.cycles and self._stored else []
        record.notes += [note for note in notes if note not in record.notes]
        record.config = _to_record(config)
        record.save(self.folder)  # in the form of this version, whichever wrote it
        for note in notes:
            self.progress.note(note)

    def _sound_storages(self) -> list[str]:
        """Put away storages of chains that are damaged: new ones begin, for no trial depends on them. What is to be known."""
        notes = []
        for chain in range(len(self.states)):
            path = storage_of_chain(self.folder, chain)
            damage = damage_of_storage(path, self._owner(chain)) if path.exists() else "is missing"
            if damage is not None:
                what = f"was damaged ({damage}) and is kept as {set_aside(path).name}" if path.exists() else damage
                notes.append(
                    f"chain-{chain}/{path.name} {what}: a new one holds the steps from trial {self.record.cycles + 1} on. "
                    "Nothing else depends on it; the accepted paths of all trials are in paths-*.npz."
                )
        return notes

    def run(self) -> None:
        """The trials that are left; all the same, to the bit, for a run that was stopped meanwhile.

        A run is cut where its last round ends early: one that is continued to more trials from there differs, in its random
        numbers, from one that was to make as many from the start.
        """
        done, wanted, n_chains = self.record.cycles, self.settings.trials, self.settings.series
        if self.settings.storage and not self._stored:
            self.progress.note(_NO_STORAGE)
        chains = f"1 {self.settings.kind}" if n_chains == 1 else f"{n_chains} {self.settings.kind}s"
        if done >= wanted:
            self.progress.stage(f"nothing left to do: {done} trials in {chains} are there already")
            return
        onward = f", continuing at trial {done} of {wanted} in {chains}" if done else ""
        self.progress.stage(f"sampling paths{onward}", (wanted - done) * n_chains)
        while self.record.cycles < wanted and not all_given_up(self.record):
            before = self.record.cycles
            self._stretch()
            self.progress.update((self.record.cycles - before) * n_chains, **self._news())

    def _stretch(self) -> None:
        """What is left of the round, as far as the run goes."""
        per_round, cycles = self.settings.trials_per_round, self.record.cycles
        number, done = divmod(cycles, per_round)
        until = min(per_round, self.settings.trials - number * per_round)
        frozen, density, tasks = self.model.to_bytes(), self._density(), []
        for chain, state in enumerate(self.states):
            storage = str(storage_of_chain(self.folder, chain)) if self._stored else None
            task = ChainTask(
                self.problem, chain, number, self.seed, state, frozen, density, storage, self._owner(chain), done, until
            )
            tasks.append((task,))
        # a chain always comes back to the process that holds its engine and storage
        results = sorted(self._executor.map(self._task(), tasks, range(len(tasks))))
        for chain, (state, trials) in results:
            self.states[chain] = state
            for trial in trials:
                self.record.add(chain, trial)
            accepted = {trial.cycle: trial.path for trial in trials if trial.path is not None}
            write_paths(self.folder, chain, number, accepted, self.record.digests, cycles if done else 0)
        if self.trainer.due(self.record.shots):
            self.trainer.fit(self.record.shots)
        self._between_rounds()
        self._renew()
        self.record.grow(self.folder)
        self.model.save(self.folder / "model.npz")

    def _owner(self, chain: int) -> str:
        """What the storage of a chain belongs to."""
        return f"{self.record.run} {chain}"

    def _task(self) -> Callable[[ChainTask], tuple[Any, list[Trial]]]:
        """What makes a stretch."""
        return run_chain

    def _between_rounds(self) -> None:
        """What else changes before the states are saved."""

    def _density(self) -> tuple[float, ...] | None:
        """How often the latest paths pass each tenth of the committor, by the model of now."""
        if not self.settings.density_correction:
            return None
        rows = zip(*(self.record.trials[name] for name in ("chain", "cycle", "accepted")), strict=True)
        latest = [(chain, cycle) for chain, cycle, accepted in rows if accepted][-_DENSITY_PATHS:]
        counts = np.zeros(_BINS)
        for chain, cycle in latest:
            number = (cycle - 1) // self.settings.trials_per_round
            path = read_paths(self.folder, chain, number, self.record.digests, self.record.cycles)[cycle]
            counts += np.bincount(committor_bin(self.model.logit(path[1:-1]), _BINS), minlength=_BINS)
        return tuple(counts.tolist()) if latest else None

    def _renew(self) -> None:
        """Tell the record where everything stands."""
        self.record.trainer = self.trainer.state()
        self.record.states = [self._arrays_of(state) for state in self.states]
        self.record.add_model(self.model)

    def _news(self) -> dict[str, object]:
        seen, expected = yields(self.record.shots, self.settings.window)
        recent = max(1, min(len(self.record.shots), self.settings.window))
        relaxed = sum(bool(state["relaxed"]) for state in self.record.states)
        news = {"yield": f"{seen / recent:.2f}", "expected": f"{expected / recent:.2f}"}
        waiting = {f"relaxed_{self.settings.kind}s": f"{relaxed} of {len(self.states)}"} if relaxed < len(self.states) else {}
        lost = int((self.record.table("n_a") + self.record.table("n_b") == 0).sum())
        accepted = int((self.record.table("accepted") & self.record.table("relaxed")).sum())
        return news | waiting | {"accepted": accepted} | ({"given_up": lost} if lost else {})

    def finish(self) -> tuple[dict[str, Any], PathEnsemble | None, Committor]:
        """Write result.json; what it says, the accepted paths, and the committor that the run leaves."""
        model = self._final()
        self.record.add_model(model)
        self.record.save(self.folder)  # all in one file
        model.save(self.folder / "model.npz")
        ensemble: PathEnsemble | None = None
        ways: Ways | None = None
        if any(self.record.trials["accepted"]):
            ensemble = ensemble_of(self.record, self.folder, self.settings, self.system.timestep)
            ways = Ways.of(self.system, model, ensemble, read_first_paths(self.folder, self.record.digests))
        result = {"method": "path_sampling", "system": self.system.name, "temperature_k": self.system.temperature}
        result["run"] = self.record.run
        chooser = self.settings.selector if self.settings.method == "chains" else "points"
        result |= {"selector": chooser, "seed": self.seed, "platform": self.problem.platform}
        result |= summarize_paths(self.record, ensemble, model, self.settings, self.system.inertial, ways)
        result |= {
            "notes": list(dict.fromkeys([*self.progress.notes, *self.record.notes])),
            "versions": versions("openpathsampling", "mdtraj"),
        }
        write_json(self.folder / "result.json", result, checked=True)
        return result, ensemble, model

    def _final(self) -> Committor:
        """The committor that the run leaves; sampling goes on with the one that it knows."""
        if not len(self.record.shots):
            return self.model
        self.progress.stage(f"fitting the committor to {len(self.record.shots)} shots")
        return self.trainer.final(self.record.shots)


def _to_record(config: RunConfig) -> str:
    """The configuration as the record has it: the same for any number of processes."""
    return replace(config, path_sampling=replace(path_settings(config), processes=0)).to_toml()
