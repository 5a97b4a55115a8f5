"""Dispersed starts: hot walkers that come back to A, so that no part of A depends on one structure being a good guess.

Unbiased walkers are heated from the given structures, B included, until many of them cross to B. Those seen at each of the
hottest temperatures are then followed at the wanted one until they are in A or B. What comes back to A begins a flux walker.

Walkers that begin again in A (:mod:`openmm_rare.flux.restarts`) start at the given structures: heat turns molecules into
others, of which no state knows, such as cis isomers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..dynamics.frames import Frames
from ..errors import DynamicsError, InputError
from ..io.tasks import Progress, Task
from ..settings.rates import RateSettings
from ..states.states import IN_A, NEITHER
from ..walkers.machine import Machine
from ..walkers.population import Walkers
from ..walkers.propagator import Propagator
from ..walkers.thermal import ThermalWalkers
from .flux import FluxChunk, FluxState, run_flux
from .restarts import begins_again

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["Dispersal", "dispersed"]

_LONGER = 4  # times flux_steps: steps at each temperature
_CROSSING = 0.25  # of the walkers, that have visited B once it is hot enough
_BEYOND = 1  # temperatures above that: barriers within A may be higher than the one to B
_LOST = 0.1  # of the walkers: when fewer are in A or B, the others have gone elsewhere for good
_KEPT = 4  # temperatures whose walkers are cooled
_COOLING = 8  # times flux_steps, at most, at the wanted temperature
_EXITS = 500  # kept of each temperature


@dataclass(frozen=True)
class Dispersal:
    """Starts of flux walkers, and what hot walkers did.

    Attributes
    ----------
    starts : Frames
        In A.
    group : ndarray of int64, shape (n,)
        Which of the names each start belongs to.
    names : tuple of str
        Of the groups: each given structure, walkers that were hot, and those that had been in B before.
    temperatures : ndarray, shape (n_temperatures,)
        K, rising, that walkers were heated to.
    exits : Frames
        Where hot walkers left A.
    exit_temperature : ndarray, shape (n_exits,)
        K.
    exit_energy : ndarray, shape (n_exits,)
        Potential energy, kJ/mol.
    """

    starts: Frames
    group: np.ndarray
    names: tuple[str, ...]
    temperatures: np.ndarray
    exits: Frames
    exit_temperature: np.ndarray
    exit_energy: np.ndarray

    def flux_state(self, n_walkers: int) -> FluxState:
        """Flux walkers, half of them at the given structures and half at the others, as evenly as there are starts."""
        given = self.group < len(self.names) - 2
        first, others = np.flatnonzero(given), np.flatnonzero(~given)
        half = n_walkers - n_walkers // 2 if len(others) else n_walkers
        chosen = np.concatenate([np.resize(first, half), np.resize(others, n_walkers - half)]).astype(np.int64)
        return FluxState.at(self.starts[chosen], self.group[chosen])


def dispersed(problem: RareEventSystem, settings: RateSettings, machine: Machine, task: Task, progress: Progress) -> Dispersal:
    """Starts of flux walkers all over A, or the given structures alone.

    Parameters
    ----------
    problem : RareEventSystem
        At the wanted temperature.
    settings : RateSettings
    machine : Machine
    task : callable
        See :data:`openmm_rare.io.tasks.Task`; one task of kind "dispersal", if walkers are heated.
    progress : Progress
    """
    if begins_again(problem):
        given, none = Frames(problem.starts), np.zeros(0)
        return Dispersal(given, np.arange(len(given)), _names(len(given)), none, given[:0], none, none)
    progress.stage("starts all over A")
    record = task("dispersal", lambda seed: _disperse(problem, settings, machine, seed))
    given, cooled, crossed = Frames(problem.starts), Frames.from_arrays(record, "cooled"), np.asarray(record["crossed"])
    n = len(given)
    temperatures = np.asarray(record["temperatures"])
    progress.update(
        hottest=f"{temperatures.max(initial=problem.temperature):.0f} K", back_in_A=len(cooled), from_B=int(crossed.sum())
    )
    return Dispersal(
        Frames.join([given, cooled]),
        np.concatenate([np.arange(n), np.where(crossed, n + 1, n)]).astype(np.int64),
        _names(n),
        temperatures,
        Frames.from_arrays(record, "exits"),
        *(np.asarray(record[name]) for name in ("exit_temperature", "exit_energy")),
    )


def _names(n: int) -> tuple[str, ...]:
    """Of groups of walkers, by where they start, with n given structures."""
    given = ["the given structure"] if n == 1 else [f"given structure {i + 1}" for i in range(n)]
    return (*given, "walkers that were hot", "walkers that were hot and in B")


def _disperse(problem: RareEventSystem, settings: RateSettings, machine: Machine, seed: np.random.SeedSequence) -> Mapping:
    """Heat and cool walkers."""
    rng, temperature = np.random.default_rng(seed), problem.temperature
    state, visited = FluxState.start(problem, settings.training_flux_walkers), np.zeros(settings.training_flux_walkers, bool)
    temperatures, frames, crossed, exits, steps, beyond = [], [], [], [], 0, 0
    for _ in range(settings.heating_tries):
        temperature *= settings.heating_factor
        chunk = _hot(problem.with_temperature(temperature), state, settings, machine, rng)
        if chunk is None:
            break
        state, steps = chunk.state, steps + chunk.walker_steps
        visited = visited | (chunk.transitions > 0)
        temperatures.append(temperature)
        frames.append(state.frames)
        crossed.append(visited)
        exits.append(chunk.exits[rng.permutation(len(chunk.exits))[:_EXITS]])
        beyond += int(visited.mean() >= _CROSSING)
        if beyond > _BEYOND or (problem.states.classify(state.frames.positions) != NEITHER).mean() < _LOST:
            break
    cooled, was_in_b, spent = _cool(problem, frames[-_KEPT:], crossed[-_KEPT:], settings, machine, seed)
    mixed, left = rng.permutation(len(cooled)), Frames.join([cooled[:0], *exits])
    return {
        "temperatures": np.array(temperatures),
        **cooled[mixed].arrays("cooled"),
        "crossed": was_in_b[mixed],
        **left.arrays("exits"),
        "exit_energy": ThermalWalkers(problem, 1, machine, seed).energies(left),
        "exit_temperature": np.repeat(temperatures, [len(each) for each in exits]).astype(float),
        "walker_steps": steps + spent,
    }


def _hot(
    problem: RareEventSystem, state: FluxState, settings: RateSettings, machine: Machine, rng: np.random.Generator
) -> FluxChunk | None:
    """A stretch at one temperature; None where the time step is too long for it, or variables are not known there."""
    try:
        # walkers in B go on: nobody is to be replaced by a copy of another one
        chunk = run_flux(problem, state, _LONGER * settings.flux_steps, machine, int(rng.integers(2**31)), None)
    except (DynamicsError, InputError):
        return None
    return chunk if chunk.state.frames.n_finite() == len(chunk.state) else None


def _cool(
    problem: RareEventSystem,
    frames: list[Frames],
    crossed: list[np.ndarray],
    settings: RateSettings,
    machine: Machine,
    seed: np.random.SeedSequence,
) -> tuple[Frames, np.ndarray, int]:
    """Those of the frames that come back to A at the wanted temperature, whether they had been in B, and the cost."""
    places, was_in_b = Frames.join(frames or [Frames(problem.starts[:0])]), np.concatenate([np.zeros(0, bool), *crossed])
    status = problem.states.classify(places.positions)
    walkers = Walkers.start(places[status == NEITHER], np.flatnonzero(status == NEITHER))
    plain = Propagator(problem, None, settings.n_slots, machine, seed)
    stride, steps = max(1, round(settings.flux_steps / problem.check_interval)) * problem.check_interval, 0
    for _ in range(_COOLING):
        if not len(walkers):
            break
        block = plain.advance(walkers, stride)
        steps += block.walker_steps
        places[block.walkers.roots], status[block.walkers.roots] = block.walkers.frames, block.status
        walkers = block.walkers.take(np.flatnonzero(block.status == NEITHER))
    back = status == IN_A
    return places[back], was_in_b[back], steps
