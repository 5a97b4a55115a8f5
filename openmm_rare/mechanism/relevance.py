"""Which inputs matter: how much worse the model predicts the shots when one of them is replaced by noise.

Jung, Covino & Hummer (2019), section V.C; the permutation variant is that of Breiman (2001). Noise over the whole range is
more than an input ever varies by: it makes any model worse that uses the input at all, also one that uses it for nothing. A
permutation keeps the spread, so that on shots which the model has not seen a useless input does not raise the loss on average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from ..errors import InputError
from .table import Logit, ShotTable, paired_columns, shot_losses

__all__ = ["METHODS", "Relevance", "input_relevance"]

METHODS: tuple[str, ...] = ("noise", "permutation")
_FLOOR_SIGMAS = 6.0
_FALSE_ALARM = 0.01  # that any input which does not matter is taken for one that does


@dataclass(frozen=True, eq=False)
class Relevance:
    """Increase of the loss per shot for each input, or group of inputs, most relevant first.

    Attributes
    ----------
    names : list of str
    columns : list of list of int
        Of the inputs, for every name.
    increase, stderr : ndarray, shape (n,)
        Mean over repeats, and its standard error from repeats and from the finite number of shots.
    floor : float
        What an input that does not matter can show by chance: an increase above it is a finding.
    loss : float
        Loss per shot with all inputs as they are.
    method : str
    confirmed : frozenset of str, optional
        Names that another test found to matter too: only they count as such.
    """

    names: list[str]
    columns: list[list[int]]
    increase: np.ndarray
    stderr: np.ndarray
    floor: float
    loss: float
    method: str
    confirmed: frozenset[str] | None = None

    @property
    def normalized(self) -> np.ndarray:
        """Increase relative to the largest; zeros if nothing increases the loss."""
        largest = self.increase.max(initial=0.0)
        return self.increase / largest if largest > 0.0 else np.zeros_like(self.increase)

    @property
    def above_floor(self) -> np.ndarray:
        """Which inputs matter beyond doubt, booleans ``(n,)``."""
        sigmas = norm.isf(_FALSE_ALARM / len(self.names))
        seen = self.increase > np.maximum(self.floor, sigmas * self.stderr)
        return seen if self.confirmed is None else seen & np.isin(self.names, sorted(self.confirmed))

    def confirmed_by(self, other: Relevance) -> Relevance:
        """The same, with only those inputs above the noise that are so in another relevance, too."""
        names = zip(other.names, other.above_floor, strict=True)
        return replace(self, confirmed=frozenset(name for name, seen in names if seen))

    def rows(self) -> list[dict]:
        """One record for each input, JSON-able."""
        columns = zip(self.names, self.columns, self.increase, self.stderr, self.normalized, self.above_floor, strict=True)
        keys = ("name", "columns", "increase", "stderr", "normalized", "above_noise")
        return [
            dict(zip(keys, (n, list(c), float(i), float(s), float(r), bool(a)), strict=True)) for n, c, i, s, r, a in columns
        ]


def input_relevance(
    logit: Logit,
    table: ShotTable,
    rng: np.random.Generator,
    *,
    method: str = "noise",
    groups: Mapping[str, Sequence[int]] | None = None,
    n_repeats: int = 20,
    n_resamples: int = 200,
) -> Relevance:
    """Measure the relevance of every input.

    Parameters
    ----------
    logit : callable
        The model: inputs ``(n, n_inputs)`` to logits ``(n,)``.
    table : ShotTable
    rng : numpy.random.Generator
    method : str
        "noise" draws an input evenly between its least and its largest value among the shots; "permutation" shuffles it, so
        that its distribution stays. Columns of one group are drawn, or shuffled together, at the same time.
    groups : mapping from name to columns, optional
        By default each input is by itself but the sine and cosine of one angle, which go together.
    n_repeats : int
        Draws of the noise.
    n_resamples : int
        Bootstrap resamples of the shooting points for the errors.

    Raises
    ------
    ValueError
        For an unknown method, a group that names no input, or fewer than 2 repeats.
    """
    if method not in METHODS:
        raise InputError(f"method = {method!r} must be one of {', '.join(METHODS)}")
    if n_repeats < 2:
        raise InputError(f"n_repeats = {n_repeats} must be at least 2: their spread is the error")
    groups = _columns_by_name(groups, table)
    before = shot_losses(logit(table.inputs), table.n_a, table.n_b)
    resamples = rng.multinomial(len(table), np.full(len(table), 1.0 / len(table)), n_resamples).astype(float)
    shots = resamples @ (table.n_a + table.n_b)
    increase, error = np.zeros(len(groups)), np.zeros(len(groups))
    for index, columns in enumerate(groups.values()):
        change = np.stack([_replaced(logit, table, columns, method, rng) for _ in range(n_repeats)]) - before
        increase[index] = change.sum() / n_repeats / table.n_shots
        over_shots = (resamples @ change.mean(0)) / shots
        over_repeats = change.sum(1).std(ddof=1) / table.n_shots / np.sqrt(n_repeats)
        error[index] = np.hypot(over_shots.std(ddof=1), over_repeats)
    order = np.argsort(-increase, kind="stable")
    names, columns = list(groups), list(groups.values())
    return Relevance(
        [names[i] for i in order],
        [columns[i] for i in order],
        increase[order],
        error[order],
        _noise_floor(increase),
        float(before.sum() / table.n_shots),
        method,
    )


def _columns_by_name(groups: Mapping[str, Sequence[int]] | None, table: ShotTable) -> dict[str, list[int]]:
    """What is replaced together: the groups, or single inputs with both halves of each pair."""
    groups = {name: list(each) for name, each in (paired_columns(table.names) if groups is None else groups).items()}
    for name, columns in groups.items():
        if not columns or not all(0 <= column < len(table.names) for column in columns):
            raise InputError(f"group {name!r} = {columns} must name columns from 0 to {len(table.names) - 1}")
    return groups


def _replaced(logit: Logit, table: ShotTable, columns: list[int], method: str, rng: np.random.Generator) -> np.ndarray:
    """Losses of the shots ``(n,)`` without what these columns know."""
    inputs = table.inputs.copy()
    if method == "permutation":
        inputs[:, columns] = inputs[rng.permutation(len(inputs))][:, columns]
    else:
        low, high = inputs[:, columns].min(0), inputs[:, columns].max(0)
        inputs[:, columns] = rng.uniform(low, high, (len(inputs), len(columns)))
    return shot_losses(logit(inputs), table.n_a, table.n_b)


def _noise_floor(increase: np.ndarray) -> float:
    """The mean of the many inputs that matter least, plus six of their standard deviations, both estimated robustly.

    A model of many inputs fits noise with all of them: replacing any then raises the loss on its own training data. The lower
    three quarters of the increases tell by how much, as long as most inputs do not matter; few inputs tell nothing, and the
    floor is 0.
    """
    if len(increase) < 8:
        return 0.0
    lower = np.sort(increase)[: (3 * len(increase)) // 4]
    middle = float(np.median(lower))
    spread = 1.4826 * float(np.median(np.abs(lower - middle)))
    return max(middle + _FLOOR_SIGMAS * spread, 0.0)
