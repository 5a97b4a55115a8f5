"""What to distrust in sampled transition paths, in sentences that the terminal, result.json and the reports share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..paths.ensemble import PathEnsemble, mean_over_paths
from ..statistics import correlated_mean, effective_sample_size, pareto_k

if TYPE_CHECKING:
    from ..paths.ways import Ways
    from ..settings.paths import PathSettings
    from .path_folder import PathRecord

__all__ = ["all_given_up", "ensemble_warnings", "run_warnings"]

_FEW = 20  # paths, below which averages over them say little
_FEW_INDEPENDENT = 7
_LEAST_COMPARED = 10  # paths, for an average that is compared with another one
_SIGMAS = 4.0
_SHORT = 3.0  # frames of a path between the states
_UNFINISHED = 0.01  # of the trials
_HOPELESS = 20  # trials given up in a row from the start, after which a run stops
_ONE_SIDED = 20  # trials
_HEAVY = 0.7  # Pareto k of weights, from which on their mean converges too slowly
_HELD = 0.1  # moves of walkers that must be kept
_LEAST_JUDGED, _OFF = 40, 0.2  # trials, and part of the expected yield, from which on a difference matters


def all_given_up(record: PathRecord) -> bool:
    """Whether a run has made trials enough to see that none of them ends in a state."""
    unfinished = _unfinished(record)
    return len(unfinished) >= _HOPELESS and bool(unfinished.all())


def run_warnings(
    record: PathRecord,
    result: Mapping[str, Any],
    ensemble: PathEnsemble | None,
    settings: PathSettings,
    inertial: bool,
    ways: Ways | None = None,
) -> list[str]:
    """What to distrust in a path sampling run.

    Parameters
    ----------
    record : PathRecord
    result : mapping
        What :func:`~openmm_rare.folders.path_summary.summarize_paths` found.
    ensemble : PathEnsemble or None
        The accepted paths, if there are any.
    settings : PathSettings
    inertial : bool
        Shots in opposite directions are not independent then, and may give more transition paths than the committor expects.
    ways : Ways, optional
        By which the paths pass the transition region.
    """
    unfinished, n = int(result["unfinished"]), int(result["trials"])
    if n and unfinished == n:
        stopped = f" The run stopped after {record.cycles} of {settings.trials}." if all_given_up(record) else ""
        return [
            f"All {n} trials were given up: no shot reached a state within max_frames = {settings.max_frames} frames.{stopped} "
            "Start anew with a larger max_frames, or look for a long-lived state between A and B."
        ]
    found = []
    if unfinished > _UNFINISHED * n:
        found.append(
            f"{unfinished} of {n} trials ({100 * unfinished / n:.0f} %) were given up before they reached a state: long paths "
            f"are missing. Start anew with a larger max_frames (now {settings.max_frames}), or look for a long-lived state "
            "between A and B."
        )
    waiting = [str(number) for number, done in enumerate(result["relaxed"]) if not done]
    if waiting and all(int(state.get("walked", -1)) >= 0 for state in record.states):
        found.append("The walkers are still in their start-up: run more trials with --resume.")
    elif waiting:
        found.append(
            f"No transition path of the dynamics yet in {settings.kind} {', '.join(waiting)}: run more trials with --resume, "
            "or start from another path (openmm-rare path)."
        )
    few = result["accepted"] < _FEW
    found += [_few(result["accepted"])] if few and len(waiting) < len(result["relaxed"]) else []
    found += [] if few or ensemble is None else list(_of_paths(ensemble, ways))
    if result.get("moves_kept", 1.0) < _HELD:
        found.append(
            f"Walkers keep only {100 * result['moves_kept']:.0f} % of their moves and hardly get on: start anew with fewer "
            f"steps between frames (steps_per_frame, now {settings.steps_per_frame})."
        )
    return found + list(_of_yields(record, result, few)) + list(_of_committor(record, inertial))


def ensemble_warnings(paths: PathEnsemble, ways: Ways | None = None) -> list[str]:
    """What to distrust in averages over paths, wherever they come from; `ways` as in :func:`run_warnings`."""
    return [_few(len(paths.paths))] if len(paths.paths) < _FEW else list(_of_paths(paths, ways))


def _few(n: int) -> str:
    if not n:
        return "No path that started from one of the dynamics was accepted: there is nothing to average over. Run more trials."
    return f"Only {n} path{' was' if n == 1 else 's were'} accepted: averages over them say little. Run more trials."


def _unfinished(record: PathRecord) -> np.ndarray:
    return record.table("n_a") + record.table("n_b") == 0


def _of_paths(paths: PathEnsemble, ways: Ways | None) -> Iterator[str]:
    """Of enough paths: whether they are different, agree with each other, and have frames enough."""
    yield from () if ways is None else ways.warnings()
    independent = _independent(paths)
    if independent < _FEW_INDEPENDENT:
        yield (
            f"The {len(paths.paths)} accepted paths remember each other so long that they count as about {independent:.0f} "
            "independent ones: run more trials."
        )
    else:  # with fewer, errors are not known well enough for a comparison
        yield from _of_agreement(paths)
    if paths.trials is not None:
        yield from _of_weights(paths)
    inner = float(np.average([len(path) - 2 for path in paths.paths], weights=paths.weights))
    if inner < _SHORT:
        yield (
            f"Paths have {inner:.1f} frames between the states on average, and states are tested on frames only: store frames "
            "more often (steps_per_frame)."
        )
    if not all(np.isfinite(path).all() for path in paths.paths):
        yield "Accepted paths hold NaN or infinite positions: do not use them."


def _of_agreement(paths: PathEnsemble) -> Iterator[str]:
    """Whether chains agree with each other, and late paths with early ones."""
    names = np.unique(paths.chains)
    off = [_apart(paths, paths.chains == name) for name in names]
    if any(off):
        yield (
            f"The {paths.kind}s disagree about the mean path time ({paths.kind} {names[int(np.argmax(off))]} by {max(off):.1f} "
            "standard errors): each has seen a part of the paths only. Run more trials, from several first paths if there are "
            "channels."
        )
    drift = _apart(paths, paths.seen(0.5) >= paths.weights)
    if drift:
        yield (
            f"The mean path time drifts: the first half of the trials differs by {drift:.1f} standard errors from the second. "
            f"The paths remember where the {paths.kind}s began: run more trials."
        )


def _independent(paths: PathEnsemble) -> float:
    """So many independent paths would give the mean time of their chains as well; at most as many as carry the weight."""
    carried = effective_sample_size(paths.weights)
    scatter = paths.durations.astype(float)
    for name in np.unique(paths.chains):
        mine = paths.chains == name
        if paths.weights[mine].sum() > 0.0:
            scatter[mine] -= np.average(scatter[mine], weights=paths.weights[mine])
    error = mean_over_paths(scatter, paths.weights, paths.chains)[1]
    return float(min(carried, np.average(scatter**2, weights=paths.weights) / error**2)) if error > 0.0 else carried


def _of_weights(paths: PathEnsemble) -> Iterator[str]:
    """Whether a few of the paths of walkers outweigh the others."""
    k = pareto_k(paths.weights)
    if k > _HEAVY:
        yield (
            f"A few paths outweigh the others (Pareto k {k:.2f} of the weights; {len(paths.weights)} paths count as "
            f"{paths.effective:.0f}): they pass the barrier where walkers hardly go, since the committor is not right there. "
            "Run more trials, or start anew with a larger reach."
        )


def _apart(paths: PathEnsemble, chosen: np.ndarray) -> float:
    """Standard errors between the mean times of some paths and of the others, 0 where they do not differ for sure.

    Both are taken to scatter alike about their own means, which takes fewer paths to know than how each of them does.
    """
    values, weights = paths.durations, paths.weights
    parts = (chosen, ~chosen)
    if min(part.sum() for part in parts) < _LEAST_COMPARED:
        return 0.0
    means = [np.average(values[part], weights=weights[part]) for part in parts]
    scatter = np.where(chosen, values - means[0], values - means[1])
    error = mean_over_paths(scatter, weights, 2 * paths.chains + chosen)[1]
    error *= np.sqrt(sum(weights.sum() / weights[part].sum() for part in parts))
    sigmas = abs(means[0] - means[1]) / error if error > 0.0 else 0.0
    return float(sigmas) if sigmas > _SIGMAS else 0.0


def _of_yields(record: PathRecord, result: Mapping[str, Any], few: bool) -> Iterator[str]:
    """Of yields and acceptance, and of where shots end."""
    n_a, n_b = record.table("n_a").sum(), record.table("n_b").sum()
    finished = int(np.count_nonzero(~_unfinished(record)))
    if finished >= _ONE_SIDED and not n_a * n_b:
        yield (
            f"All shots of {finished} trials ended in {'A' if n_a else 'B'}, none in {'B' if n_a else 'A'}: shooting points "
            "lie on one side of the barrier. Start from another path (openmm-rare path), or look for a state between A and B."
        )
    elif result["trials_after_relaxation"] >= _ONE_SIDED and not result["generated"]:
        yield f"None of the {result['trials_after_relaxation']} trials from paths of the dynamics gave a transition path."
    names = {"yield": "the yield", "acceptance": "the acceptance", "mean_path_time_ps": "the mean path time"}
    unknown = [text for name, text in names.items() if not (result.get(f"{name}_stderr", 1.0) or 0.0) > 0.0]
    if unknown and not few:
        yield f"The error of {' and of '.join(unknown)} is not known: run more trials."
    if result["trials_after_relaxation"] and not np.isfinite(result["expected_yield"]):
        yield "The committor model gave NaN at shooting points: train a new one in a new folder."


def _of_committor(record: PathRecord, inertial: bool) -> Iterator[str]:
    """Whether the latest half of the trials gave as many transition paths as the committor of their time expected."""
    n_a, n_b, chain, expected = (record.table(name) for name in ("n_a", "n_b", "chain", "expected"))
    judged = record.table("relaxed") & (n_a + n_b > 0) & (record.table("cycle") > record.cycles // 2)
    if judged.sum() < _LEAST_JUDGED:
        return
    excess = (n_a > 0) & (n_b > 0)
    off, error = correlated_mean([(excess - expected)[judged & (chain == number)] for number in range(len(record.states))])
    foreseen = float(expected[judged].mean())
    if abs(off) > max(_SIGMAS * error, _OFF * foreseen) and not (inertial and off > 0.0):
        yield (
            f"The latest {judged.sum()} trials gave {foreseen + off:.2f} transition paths each where the committor expected "
            f"{foreseen:.2f} ({abs(off) / error if error else np.inf:.1f} standard errors): it is wrong where it shoots "
            "from. Run more trials, or give the descriptor what it lacks."
        )
