"""Every method by name: one repeat of it, counted in force evaluations and CPU seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec

from forward_flux import Found, forward_flux
from problems import PROBLEMS, PeerProblem
from weighted_ensemble import weighted_ensemble

from openmm_rare import ImportanceSamplingRate, Silent

__all__ = ["METHODS", "repeat", "why_missing"]

_REFERENCE_ERROR = 0.1  # what the settings of the peers are for


def _ours(problem: PeerProblem, target_error: float, seed: int) -> Found:
    """Default settings, and a model trained anew."""
    run = ImportanceSamplingRate(problem.system, seed=seed, target_error=target_error, progress=Silent())
    estimate = run.run()
    low, high = estimate.rate_ci95
    error = estimate.rate_stderr / estimate.rate_per_ps
    steps, training = estimate.walker_steps, estimate.training_walker_steps
    return Found(estimate.rate_per_ps, error, low, high, steps, training, (estimate.flux_per_ps, estimate.p_ab))


def _peer(method: Callable[[PeerProblem, float, int], Found]) -> Callable[[PeerProblem, float, int], Found]:
    """The effort that a target error takes, if errors fall with the square root of it."""
    return lambda problem, target_error, seed: method(problem, (_REFERENCE_ERROR / target_error) ** 2, seed)


def _westpa(problem: PeerProblem, effort: float, seed: int) -> Found:
    from westpa_ensemble import westpa_ensemble

    return westpa_ensemble(problem, effort, seed)


METHODS: dict[str, Callable[[PeerProblem, float, int], Found]] = {
    "ours": _ours,
    "ffs": _peer(forward_flux),
    "we": _peer(weighted_ensemble),
    "westpa": _peer(_westpa),
}
"""Importance sampling of this package, forward flux sampling, weighted ensemble, and WESTPA's of the same bins."""


def why_missing(method: str) -> str | None:
    """Why a method cannot be tried here."""
    missing = method == "westpa" and find_spec("westpa") is None
    return "WESTPA is not installed (pip install westpa, in an environment with this package)" if missing else None


def repeat(problem_name: str, method: str, target_error: float, seed: int) -> dict:
    """One line of the record; a run that fails is an outcome as well."""
    problem = PROBLEMS[problem_name]()
    line = {"problem": problem_name, "method": method, "target_error": target_error, "seed": seed}
    begun = time.process_time()
    try:
        found = METHODS[method](problem, target_error, seed)
    except (RuntimeError, FloatingPointError) as error:
        return line | {"failure": str(error), "cpu_seconds": time.process_time() - begun}
    return line | vars(found) | {"cpu_seconds": time.process_time() - begun}
