"""Whether walkers in A forget where they started: R-hat between starts and times, and what each walker remembers.

Walkers are the independent units. Every quantity has two values for each walker, from the first and from the second half of a
stretch of dynamics. Where A is one basin and the stretch is long enough, these are two independent draws of one distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..convergence import split_r_hat
from ..states.states import States
from ..states.variable_units import value_text
from ..statistics import effective_sample_size

__all__ = ["Agreement", "Parting", "Quantity", "compare", "quantities", "two_parts"]

_R_HAT = 1.1
_MEMORY, _CHANCE = 0.25, 4.0  # correlation of the halves of walkers that is too much, and standard errors of none
_FEWEST = 20  # walkers of a group that is compared on its own


@dataclass(frozen=True)
class Quantity:
    """Something that walkers in A have a value of.

    Attributes
    ----------
    name : str
    columns : ndarray, shape (2, n_walkers, n_columns)
        In the first and second half; NaN where a walker has none. One column, or the cosine and sine of an angle.
    unit : str or None
        As of :class:`openmm_rare.states.variables.CollectiveVariable`.
    period : float or None
    """

    name: str
    columns: np.ndarray
    unit: str | None = None
    period: float | None = None

    def value(self, members: np.ndarray) -> str:
        """The mean over both halves of some walkers, in words."""
        means = np.nanmean(self.columns[:, members], axis=(0, 1))
        mean = means[0] if self.period is None else np.arctan2(means[1], means[0]) * self.period / (2.0 * np.pi)
        return value_text(float(f"{mean:.3g}"), self.unit)


@dataclass(frozen=True)
class Agreement:
    """How well walkers agree.

    Attributes
    ----------
    r_hat : dict
        By quantity: rank-normalised split R-hat between starts and halves.
    memory : dict
        By quantity: correlation of the two halves of walkers.
    groups : dict
        Name and number of walkers of what was compared.
    limit : float
        Of the memory, that chance alone does not pass.
    """

    r_hat: Mapping[str, float]
    memory: Mapping[str, float]
    groups: Mapping[str, int]
    limit: float

    @property
    def apart(self) -> tuple[str, ...]:
        """Quantities that tell walkers apart by where they started, those remembered best first."""
        names = [name for name in self.r_hat if self.r_hat[name] > _R_HAT or self.memory[name] > self.limit]
        return tuple(sorted(names, key=lambda name: -self.memory[name]))

    @property
    def agree(self) -> bool:
        """Whether walkers have forgotten where they started."""
        return not self.apart

    def between_walkers(self, name: str) -> float:
        """R-hat with each walker as a chain of its two halves: the variance of all is that within, over 1 - memory."""
        return float(1.0 / np.sqrt(max(1.0 - self.memory[name], 1e-6)))

    @property
    def worst(self) -> tuple[str, float]:
        """The quantity of largest R-hat, between starts or between walkers, and that."""
        largest = {name: max(self.between_walkers(name), value) for name, value in self.r_hat.items() if not np.isnan(value)}
        return max(largest.items(), key=lambda item: item[1]) if largest else ("", float("nan"))

    def to_dict(self, shown: Sequence[str]) -> dict:
        """JSON-able: R-hat of these quantities and of the worst, and the groups."""
        names = [name for name in dict.fromkeys([*shown, self.worst[0]]) if name in self.r_hat]
        return {
            "r_hat_between_starts": {name: _number(self.r_hat[name]) for name in names},
            "r_hat_between_walkers": {name: _number(self.between_walkers(name)) for name in names},
            "walkers_by_start": dict(self.groups),
            "agree": self.agree,
        }


@dataclass(frozen=True)
class Parting:
    """Two parts of A between which walkers do not move.

    Attributes
    ----------
    name : str
        Of what tells them apart.
    here : ndarray of bool, shape (n_walkers,)
        Whether a walker is in the second part.
    values : tuple of str
        Of that quantity in the two, in words.
    """

    name: str
    here: np.ndarray
    values: tuple[str, str]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(min(float(value), 1e6), 3)


def quantities(states: States, inputs: Sequence[str], snapshots: np.ndarray, rates: Mapping[str, np.ndarray]) -> list[Quantity]:
    """What walkers are compared by: rates, the variables of the states, and the inputs of the model.

    Parameters
    ----------
    states : States
    inputs : sequence of str
        Names of the inputs.
    snapshots : ndarray, shape (n_times, n_walkers, n_variables + n_inputs)
        Values at times of a stretch; NaN for a walker that did not visit A last.
    rates : mapping
        Name to values in both halves, shape (2, n_walkers), 1/ps.
    """
    found = [Quantity(name, np.asarray(values)[..., None]) for name, values in rates.items()]
    variables = states.variables.variables
    halves = np.array_split(snapshots, 2)
    for column, name in enumerate([*(variable.name for variable in variables), *inputs]):
        variable = variables[column] if column < len(variables) else None
        period = None if variable is None else variable.period
        series = [half[..., column, None] for half in halves]
        if period is not None:
            angles = [2.0 * np.pi * each / period for each in series]
            series = [np.concatenate([np.cos(each), np.sin(each)], axis=-1) for each in angles]
        unit = None if variable is None else variable.unit
        label = name if variable is not None else f"input {name}"
        found.append(Quantity(label, np.stack([_mean_of_known(each) for each in series]), unit, period))
    return found


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """Means over the first axis; NaN where nothing is known."""
    known = np.isfinite(values)
    n = known.sum(0)
    return np.where(n > 0, np.where(known, values, 0.0).sum(0) / np.maximum(n, 1), np.nan)


def compare(found: Sequence[Quantity], group: np.ndarray, names: Sequence[str], weight: np.ndarray) -> Agreement:
    """Compare walkers of different starts, and each with itself.

    Parameters
    ----------
    found : sequence of Quantity
    group : ndarray of int, shape (n_walkers,)
    names : sequence of str
        Of the groups. One of fewer than twenty walkers is compared together with one before it; the first is always there.
    weight : ndarray, shape (n_walkers,)
    """
    present = _large_enough(group)
    group = present[np.searchsorted(present, group, side="right") - 1]
    groups = {names[i]: int((group == i).sum()) for i in present}
    limit = max(_MEMORY, _CHANCE / np.sqrt(max(effective_sample_size(weight), 1.0)))
    r_hat, memory = {}, {}
    for each in found:
        r_hat[each.name], memory[each.name] = _compared(each, [group == i for i in present], weight)
    return Agreement(r_hat, memory, groups, float(limit))


def _large_enough(group: np.ndarray) -> np.ndarray:
    """Numbers of the groups that are compared on their own; walkers of others are added to the one before."""
    numbers, counts = np.unique(group, return_counts=True)
    kept = counts >= _FEWEST
    kept[0] = True
    return numbers[kept]


def _compared(quantity: Quantity, members: Sequence[np.ndarray], weight: np.ndarray) -> tuple[float, float]:
    """R-hat and memory of a quantity: the largest of its columns."""
    known = np.isfinite(quantity.columns).all((0, 2)) & (weight > 0.0)
    r_hats, memories = [], []
    for early, late in np.moveaxis(quantity.columns, -1, 0):
        chains = [np.concatenate([early[rows & known], late[rows & known]]) for rows in members]
        r_hats.append(split_r_hat(chains, [np.tile(weight[rows & known], 2) for rows in members]))
        memories.append(_correlation(early[known], late[known], weight[known]))
    return float(np.max(r_hats)), float(np.max(memories))


def _correlation(one: np.ndarray, other: np.ndarray, weight: np.ndarray) -> float:
    """Correlation coefficient, weighted; 0 where nothing varies."""
    if len(one) < 2:
        return 0.0
    one, other = (values - np.average(values, weights=weight) for values in (one, other))
    squares = np.average(one**2, weights=weight) * np.average(other**2, weights=weight)
    return float(np.average(one * other, weights=weight) / np.sqrt(squares)) if squares > 0.0 else 0.0


def two_parts(agreement: Agreement, found: Sequence[Quantity], states: States) -> Parting | None:
    """Walkers in two parts by what they remember best, a variable of the states where one is remembered too."""
    of = {each.name: each for each in found if not each.name.endswith("flux")}
    names = [name for name in agreement.apart if name in of]
    if not names:
        return None
    known = [variable.name for variable in states.variables.variables]
    name = next((name for name in names if name in known), names[0])
    quantity = of[name]
    columns = np.nan_to_num(quantity.columns).mean(0)
    column = columns[:, int(columns.std(0).argmax())]
    here = column > _border(column)
    if here.all() or not here.any():
        return None
    return Parting(name, here, (quantity.value(~here), quantity.value(here)))


def _border(values: np.ndarray) -> float:
    """Where two groups of values differ most, by the least sum of squares about their means."""
    ordered = np.sort(values)
    n = np.arange(1, len(ordered))
    left, total = np.cumsum(ordered)[:-1], ordered.sum()
    between = left**2 / n + (total - left) ** 2 / (len(ordered) - n)
    place = int(between.argmax())
    return float(0.5 * (ordered[place] + ordered[place + 1]))
