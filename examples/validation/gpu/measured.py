"""Checks of walkers and Contexts: weights, agreement of the two backends, and how fast they are."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

import numpy as np
import openmm
import torch
from verdicts import Failed, Skipped, Where

from openmm_rare import Bias, CommittorBias, CommittorModel, Machine, RareEventSystem, RateSettings, load_committor
from openmm_rare.bias.importance import FastImportance
from openmm_rare.systems import build
from openmm_rare.walkers.slots import SlotContext

__all__ = ["CHECKS"]

_SIGMAS = 4.5
_MOST_APART = 1e-3  # median relative difference of forces, in single precision
_STRENGTH = 0.25  # of a bias that has learned nothing: weights whose mean can still be told
_STRIDE = RateSettings().stride
_MOST_SMALL = 10**3  # walkers, where a processor imitates a GPU
_MOST_OF_ALL = 10**5  # for which all variants are measured
_MODEL = Path(__file__).resolve().parents[2] / "alanine_dipeptide" / "committor.npz"


def _discs(strength: float) -> tuple[RareEventSystem, Bias]:
    """Seven discs at 600 K, and a bias along a network of the default size that has learned nothing."""
    problem = build("lj7", temperature=600.0)
    torch.manual_seed(0)
    model = CommittorModel(problem.descriptor_spec(), 7, temperature=problem.temperature)
    model.standardize(_scattered(problem, 200))
    return problem, Bias(FastImportance(model, problem.num_dimensions), strength, RateSettings().bias_interval)


def _scattered(problem: RareEventSystem, n: int) -> np.ndarray:
    """Structures of A, disturbed in the plane, shape (n, 7, 3), nm."""
    return problem.positions + np.random.default_rng(0).normal(0.0, 0.02, (n, 7, 3)) * [1.0, 1.0, 0.0]


def _moved(where: Where, backend: str, n: int, n_steps: int, strength: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """ln w of walkers after some steps, shape (n,), and their third moment of coordination numbers."""
    problem, bias = _discs(strength)
    slots = SlotContext(problem, n, Machine(where.platform, backend, precision=where.precision), seed, bias)
    slots.set_positions(_scattered(problem, n))
    slots.step(n_steps)
    return slots.log_weights(), problem.states.variables(slots.positions())[:, 1]


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Difference of two means in its standard errors."""
    error = np.hypot(*(values.std(ddof=1) / np.sqrt(len(values)) for values in (one, other)))
    return float((one.mean() - other.mean()) / error)


def mean_weight(where: Where) -> tuple[str, dict]:
    """E[w] = 1 of biased walkers; as a control, weights without their normalization must be seen to have another mean."""
    n, n_steps = (20000, 100) if where.full else (4000, 50)
    log_weights, _ = _moved(where, "native", n, n_steps, _STRENGTH, 1)
    weights, wrong = np.exp(log_weights), np.exp(log_weights - log_weights.mean())
    error, sigmas = weights.std(ddof=1) / np.sqrt(n), [_apart(each, np.ones(n)) for each in (weights, wrong)]
    figure = f"E[w] = {weights.mean():.4f} ± {error:.4f} ({sigmas[0]:+.1f} sigma); control {sigmas[1]:+.0f} sigma off"
    if not abs(sigmas[0]) < _SIGMAS < sigmas[1]:
        raise Failed(figure)
    return figure, {"mean_weight": float(weights.mean()), "stderr": float(error), "control_sigmas": sigmas[1]}


def native_is_python(where: Where) -> tuple[str, dict]:
    """The plugin and Python's integrator give the same distributions; as a control, half of the bias does not."""
    n, n_steps = (20000, 100) if where.full else (4000, 50)
    native, python = (_moved(where, backend, n, n_steps, _STRENGTH, 2) for backend in ("native", "python"))
    control, _ = _moved(where, "native", n, n_steps, 0.5 * _STRENGTH, 3)
    sigmas = [_apart(native[0], python[0]), _apart(native[0] ** 2, python[0] ** 2), _apart(native[1], python[1])]
    seen = _apart(native[0] ** 2, control**2)
    told = ", ".join(f"{each:+.1f}" for each in sigmas)
    figure = f"means of ln w, its square, and mu3 differ by {told} sigma; with half of the bias by {seen:+.0f}"
    if not max(map(abs, sigmas)) < _SIGMAS < abs(seen):
        raise Failed(figure)
    return figure, {"sigmas": sigmas, "control_sigmas": seen}


def forces(where: Where) -> tuple[str, dict]:
    """OpenMM's forces on alanine dipeptide in water, as its own testInstallation compares them, with those of Reference."""
    problem, found = build("alanine_dipeptide"), []
    for platform in ("Reference", where.platform):
        machine = Machine(platform, precision=where.precision)
        context = machine.context(problem.system, openmm.VerletIntegrator(0.001), problem.name)
        context.setPositions(problem.positions)
        found.append(context.getState(forces=True).getForces(asNumpy=True)._value)
    size = np.linalg.norm(found[0], axis=1)
    apart = float(np.median(np.linalg.norm(found[1] - found[0], axis=1) / size))
    figure = f"median difference from Reference {apart:.1e}"
    if not apart < _MOST_APART:
        raise Failed(figure)
    return figure, {"median_difference": apart}


def throughput(where: Where) -> tuple[str, dict]:
    """Walker-steps per second of seven discs, biased and not, as between two branchings: positions go in, walkers move, and
    positions and weights come out."""
    if not where.full and where.walkers > _MOST_SMALL:
        raise Skipped("for GPUs, or --full")
    problem, bias = _discs(_STRENGTH)
    numbers, told = {}, []
    for backend, name in itertools.product(("native", "python"), ("plain", "biased")):
        if where.walkers > _MOST_OF_ALL and (backend, name) != ("native", "biased"):
            continue  # to make a System of 10^6 walkers takes Python most of a minute, each time
        begun = time.perf_counter()
        machine = Machine(where.platform, backend, precision=where.precision)
        slots = SlotContext(problem, where.walkers, machine, 1, bias if name == "biased" else None)
        speed = _speed(slots, _scattered(problem, where.walkers), 2.0 if where.full else 0.3)
        numbers[f"{backend} {name}"] = {"walker_steps_per_second": speed, "seconds_in_all": time.perf_counter() - begun}
        told.append(f"{backend} {name} {speed / 1e3:.0f}")
        del slots
    return ", ".join(told) + " k steps/s", numbers


def _speed(slots: SlotContext, positions: np.ndarray, seconds: float) -> float:
    """Walker-steps per second over some round trips, the first one not counted."""

    def trip() -> None:
        slots.set_positions(positions)
        slots.step(_STRIDE)
        slots.positions()
        slots.log_weights()

    trip()
    begun, n_trips = time.perf_counter(), 0
    while n_trips == 0 or time.perf_counter() - begun < seconds:
        trip()
        n_trips += 1
    return n_trips * _STRIDE * len(positions) / (time.perf_counter() - begun)


def alanine_contexts(where: Where) -> tuple[str, dict]:
    """Steps per second of alanine dipeptide in water: one Context, several at the same time, and one with a learned bias."""
    problem, model = build("alanine_dipeptide", hydrogen_mass=3), load_committor(_MODEL)
    numbers, told = {}, []
    for name, n_contexts in [("plain", n) for n in ((1, 2, 4, 8) if where.full else (1, 2))] + [("biased", 1)]:
        systems = [deepcopy(problem.system) for _ in range(n_contexts)]
        if name == "biased":
            CommittorBias(systems[0], model, problem.temperature, topology=problem.topology)
        machine, contexts = Machine(where.platform, precision=where.precision), []
        for seed, system in enumerate(systems, 1):
            integrator = openmm.LangevinMiddleIntegrator(problem.temperature, problem.friction, problem.timestep)
            integrator.setRandomNumberSeed(seed)
            contexts.append(machine.context(system, integrator, problem.name))
            contexts[-1].setPositions(problem.positions)
            contexts[-1].setVelocitiesToTemperature(problem.temperature, seed)
        speed = _steps_per_second(contexts, 3.0 if where.full else 1.0)
        finite = all(np.isfinite(each.getState(energy=True).getPotentialEnergy()._value) for each in contexts)
        if not finite:
            raise Failed(f"the energy of {n_contexts} Contexts, {name}, is not finite")
        numbers[f"{name} {n_contexts}"] = speed
        told.append(f"{n_contexts} {name}: {speed:.3g}")
    return "Contexts: steps/s, all together; " + ", ".join(told), numbers


def _steps_per_second(contexts: Sequence[openmm.Context], seconds: float) -> float:
    """Of all Contexts together, each in a thread."""

    def steps(context: openmm.Context, n: int) -> None:
        context.getIntegrator().step(n)
        context.getState(energy=True)  # waits for a GPU

    n = 2
    with ThreadPoolExecutor(len(contexts)) as pool:
        list(pool.map(steps, contexts, [n] * len(contexts)))  # the first steps compile kernels
        while True:
            begun = time.perf_counter()
            list(pool.map(steps, contexts, [n] * len(contexts)))
            took = time.perf_counter() - begun
            if took > 0.3 * seconds:
                return n * len(contexts) / took
            n = 2 * n if took < 0.02 * seconds else int(n * seconds / took)


CHECKS: dict[str, Callable[[Where], tuple[str, dict]]] = {
    each.__name__: each for each in (forces, mean_weight, native_is_python, throughput, alanine_contexts)
}
"""The checks of this module by name."""
