"""Shapes and ranges in the files of a path sampling run: they must fit each other, whatever wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["require_columns", "require_path", "require_shapes", "require_texts"]

_ANY_SIGN = ("moved", "expected")


def require_path(path: np.ndarray, fewest: int = 3) -> np.ndarray:
    """The positions of a path, if they can be that.

    Raises
    ------
    ValueError
        If they have another shape than ``(n_frames, n_atoms, 3)``, with the `fewest` frames or more, or are not finite.
    """
    _require(
        path.ndim == 3 and path.shape[2] == 3 and path.shape[1] > 0 and len(path) >= fewest,
        f"a path has the shape {path.shape}",
    )
    _require(path.dtype.kind == "f" and np.isfinite(path).all(), "a path has positions that are not finite")
    return path


def require_shapes(
    shots: Mapping[str, np.ndarray], trials: Mapping[str, np.ndarray], states: Sequence[Mapping[str, np.ndarray]]
) -> None:
    """Refuse arrays of a record that do not fit each other.

    Parameters
    ----------
    shots : mapping
        As from :meth:`openmm_rare.learning.shots.Shots.arrays`.
    trials : mapping
        Columns of the table of trials.
    states : sequence of mapping
        Arrays of each chain.

    Raises
    ------
    ValueError
        With what does not fit.
    """
    _require(len({len(column) for column in trials.values()}) <= 1, "columns of the trials have different lengths")
    chains, n_chains = trials["chain"], len(states)
    _require(n_chains > 0 and ((chains >= 0) & (chains < n_chains)).all(), "trials belong to chains that are not there")
    _require(len(chains) == 0 or len(set(np.bincount(chains, minlength=n_chains).tolist())) == 1, "chains have lost trials")
    n_atoms = {_n_atoms(state) for state in states}
    positions, n = shots["positions"], len(shots["cycle"])
    _require(n == len(positions), "the number of shooting points is not that of the trials with an outcome")
    if n:
        _require(positions.ndim == 3 and positions.shape[2] == 3, f"shooting points have the shape {positions.shape}")
        n_atoms.add(positions.shape[1])
    _require(len(n_atoms) == 1, f"numbers of atoms differ: {sorted(n_atoms)}")
    _require(np.isfinite(positions).all(), "shooting points are not finite")
    _require_passages(shots, n)


def require_columns(trials: Mapping[str, np.ndarray], kinds: Mapping[str, type]) -> None:
    """Refuse columns of the table of trials that are none, or not of these types, or counts and weights that cannot be right.

    Raises
    ------
    ValueError
        With what is wrong.
    """
    for name, column in trials.items():
        fits = column.ndim == 1 and np.can_cast(column.dtype, kinds[name], "safe")
        _require(fits, f"the column {name} of the trials is {column.dtype}{list(column.shape)}")
        if name not in _ANY_SIGN:
            _require(
                np.isfinite(column).all() and (column >= 0).all(), f"the column {name} of the trials has impossible values"
            )


def require_texts(entries: Any, name: str) -> Any:
    """A list or table, if all that it holds is text.

    Raises
    ------
    ValueError
        If it is not.
    """
    values = entries.values() if isinstance(entries, dict) else entries
    _require(all(isinstance(each, str) for each in values), f"{name} holds something else than text")
    return entries


def _require_passages(shots: Mapping[str, np.ndarray], n: int) -> None:
    if "n_passed" not in shots:  # of 0.1.0
        return
    n_passed, lengths = shots["n_passed"], {len(column) for name, column in shots.items() if name.startswith("passed_")}
    _require(len(n_passed) == n and (n_passed >= 0).all(), "passages belong to other shots")
    _require(lengths == {int(n_passed.sum())}, "columns of the passages have different lengths")
    _require(shots["passed_features"].shape == shots["passed_rates"].shape, "rates of passages do not fit their features")
    _require(np.isin(shots["passed_state"], range(shots["reached"].shape[1] if n else 0)).all(), "passages end in no state")


def _n_atoms(state: Mapping[str, np.ndarray]) -> int:
    """Number of atoms of the current path of a chain."""
    walks = "walked" in state
    positions, velocities = require_path(state["positions"], 1 if walks else 3), state.get("velocities")
    fits = velocities is None or (velocities.shape == positions.shape and np.isfinite(velocities).all())
    _require(fits, "velocities of a current path do not fit its positions")
    _require(state["boxes"].shape == (len(positions), 3, 3), "boxes of a current path do not fit its frames")
    numbers = ("relaxed", "walked", "made", "length") if walks else ("relaxed", "pair")
    _require(all(state[name].shape == () for name in numbers), "a chain or walker has more than one current path")
    if walks:
        _require(int(state["walked"]) >= -1 and int(state["length"]) > 0, "a walker has made less than no trial")
        return positions.shape[1]
    _require(len(state["names"]) in (0, len(positions) + 1), "names of a current path do not fit its frames")
    _require(-1 <= int(state["pair"]) < len(positions), "a pair lies outside its path")
    return positions.shape[1]


def _require(fine: bool | np.bool_, what: str) -> None:
    if not fine:
        raise ValueError(what)
