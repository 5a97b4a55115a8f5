"""What a path sampling run says at its end: yields, acceptance and the duration of transition paths, with their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from ..io.text import format_value
from ..paths.ensemble import PathEnsemble
from ..settings.paths import PathSettings
from ..statistics import correlated_mean, pareto_k
from .path_folder import PathRecord
from .path_warnings import run_warnings

if TYPE_CHECKING:
    from ..committor.base import Committor
    from ..paths.ways import Ways

__all__ = ["mean_outcome", "path_rows", "summarize_paths"]

_TOO_EVEN, _RISING = 0.45, (1.0 / 3.0, 1.0 / 45.0)  # mean, and mean with variance, of 2 p (1 - p) over frames of paths


def mean_outcome(
    outcomes: Sequence[np.ndarray], predicted: Sequence[np.ndarray], stationary: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Part of the trials with an outcome, and its standard error where the probability of it wanders from trial to trial.

    Chance makes outcomes differ from their probabilities anew in each trial; slow changes of the probabilities hide in the
    noise of single outcomes, but not in what a model predicts.

    Parameters
    ----------
    outcomes : sequence of ndarray, shape (n_trials,)
        0 or 1; one series for each independent chain.
    predicted : sequence of ndarray, shape (n_trials,)
        Probabilities by a model. A model that knows nothing leaves everything to the outcomes.
    stationary : tuple of float, optional
        Mean and variance of the predictions in infinitely long chains; see :func:`~openmm_rare.statistics.correlated_mean`.

    Returns
    -------
    mean, stderr : float
        NaN where there is nothing; no error from fewer than five trials.
    """
    residuals = [outcome - p for outcome, p in zip(outcomes, predicted, strict=True)]
    mean, noise = correlated_mean(residuals)
    level, wandering = correlated_mean(predicted, stationary)
    return mean + level, float(np.hypot(noise, wandering))


def summarize_paths(
    record: PathRecord,
    ensemble: PathEnsemble | None,
    model: Committor,
    settings: PathSettings,
    inertial: bool = False,
    ways: Ways | None = None,
) -> dict[str, Any]:
    """The content of ``result.json``, with what to distrust in it: ``reliable``, and sentences in ``warnings``.

    Yields and acceptance count the trials from paths that the dynamics has made, or those of walkers after their start-up; mean
    path times are those of the current path, averaged over steps, or of weighted paths.

    Parameters
    ----------
    record : PathRecord
    ensemble : PathEnsemble or None
        The accepted paths, if there are any.
    model : CommittorModel or CommittorEnsemble
        What the run knows of the committor at its end.
    settings : PathSettings
        In aimless shooting points stay near each other: only the paths tell how far they would get in the end, anywhere on a
        path alike.
    inertial : bool
        Whether the dynamics has momenta.
    """
    chain, relaxed, accepted, n_a, n_b = (record.table(name) for name in ("chain", "relaxed", "accepted", "n_a", "n_b"))
    connects, numbers = (n_a > 0) & (n_b > 0), range(len(record.states))
    shown = _averages(record, ensemble, model, settings)
    result = {
        "trials": len(chain),
        "trials_after_relaxation": int(relaxed.sum()),
        "generated": int((connects & relaxed).sum()),
        "accepted": int((accepted & relaxed).sum()),
        "unfinished": int((n_a + n_b == 0).sum()),
        **{key: value for name, (mean, error) in shown.items() for key, value in ((name, mean), (f"{name}_stderr", error))},
        f"{settings.kind}s": len(record.states),
        "relaxed_after": [int((~relaxed & (chain == number)).sum()) for number in numbers],
        "relaxed": [bool(state["relaxed"]) for state in record.states],
        "frames": int(record.table("n_frames").sum()),
    }
    result |= _of_walkers(record, ensemble) if settings.method == "points" else {}
    warnings = run_warnings(record, result, ensemble, settings, inertial, ways)
    return result | {"reliable": not warnings, "warnings": warnings}


def _averages(
    record: PathRecord, ensemble: PathEnsemble | None, model: Committor, settings: PathSettings
) -> dict[str, tuple[float, float]]:
    """Means with their errors, by their names in ``result.json``."""
    chain, relaxed, accepted, n_a, n_b, expected = (
        record.table(name) for name in ("chain", "relaxed", "accepted", "n_a", "n_b", "expected")
    )
    connects = (n_a > 0) & (n_b > 0)
    counted = [relaxed & (chain == number) for number in range(len(record.states))]
    predicted = expected.copy()
    if len(record.shots):
        predicted[n_a + n_b > 0] = _predicted_yield(model.logit(np.array(record.shots.positions)))
    stationary = _on_paths(ensemble, model) if settings.selector == "aimless" and ensemble is not None else None
    per_path = (accepted & relaxed).sum() / max((connects & relaxed).sum(), 1)  # of the transition paths, so many are accepted
    squared = None if stationary is None else (per_path * stationary[0], per_path**2 * stationary[1])
    shown = {
        "yield": mean_outcome([connects[mine] for mine in counted], [predicted[mine] for mine in counted], stationary),
        "expected_yield": correlated_mean([expected[mine] for mine in counted], stationary),
        "acceptance": mean_outcome(
            [accepted[mine] for mine in counted], [per_path * predicted[mine] for mine in counted], squared
        ),
        "mean_path_time_ps": (float("nan"), float("nan")) if ensemble is None else ensemble.mean_time(),
    }
    if settings.method == "points":
        del shown["acceptance"]  # nothing is rejected
    return shown


def _of_walkers(record: PathRecord, ensemble: PathEnsemble | None) -> dict[str, Any]:
    """What only a run of walkers has: how even the weights of paths are, and how well the walkers move."""
    moved = record.table("moved")[np.isfinite(record.table("moved"))]
    kept = {"moves_kept": float(moved.mean())} if len(moved) else {}
    if ensemble is None:
        return {"effective_paths": 0.0} | kept
    relative = ensemble.weights / ensemble.weights.mean()
    spread = {"least": float(relative.min()), "largest": float(relative.max()), "pareto_k": pareto_k(relative)}
    return {"effective_paths": ensemble.effective, "weights": spread} | kept


def _predicted_yield(logits: np.ndarray) -> np.ndarray:
    """Probabilities 2 p (1 - p) of a transition path."""
    return 2.0 * expit(logits) * expit(-logits)


def _on_paths(ensemble: PathEnsemble, model: Committor) -> tuple[float, float]:
    """Mean and variance of the predicted yield over the frames of paths that lie between the states.

    Paths lead from a committor of 0 to 1, and no model that has learned it says the same of nearly all their frames. For one
    that does, the moments are those of a committor that rises evenly along paths.
    """
    inner = [_predicted_yield(model.logit(path[1:-1])) for path in ensemble.paths]
    mean, square = (float(np.average([(each**power).mean() for each in inner], weights=ensemble.weights)) for power in (1, 2))
    variance = square - mean**2
    return (mean, variance) if mean < _TOO_EVEN and variance > 0.1 * _RISING[1] else _RISING


def path_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lines for the terminal."""

    def with_error(name: str) -> str:
        return format_value(result[name], result[f"{name}_stderr"])

    waits = [
        f"{n} trial{'' if n == 1 else 's'}" if done else "not yet"
        for n, done in zip(result["relaxed_after"], result["relaxed"], strict=True)
    ]
    kind = "walker" if "walkers" in result else "chain"
    n = result[f"{kind}s"]
    if kind == "walker":
        waiting = ("counted after", ", ".join(dict.fromkeys(waits)))
        paths = f"{result['accepted']}, which count as {result['effective_paths']:.0f} of equal weight"
        moves = ("moves kept", f"{result['moves_kept']:.2f}" if "moves_kept" in result else "none yet")
    else:
        waiting = ("a true path after", ", ".join(waits))
        paths = f"{result['generated']} generated, {result['accepted']} accepted"
        moves = ("acceptance", with_error("acceptance"))
    return [
        ("trials", f"{result['trials']} in {n} {kind}{'s' if n > 1 else ''}"),
        waiting,
        ("transition paths", paths),
        (
            "yield per trial",
            f"{with_error('yield')}; expected by the model {with_error('expected_yield')}; 1/2 at transition states",
        ),
        moves,
        ("mean path time", f"{with_error('mean_path_time_ps')} ps"),
    ]
