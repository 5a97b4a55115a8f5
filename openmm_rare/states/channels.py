"""Channels: labels of the ways that paths take from A to B (NumPy only)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..trust.named_functions import Function, function_label, function_of_label
from ..trust.user_code import faults_in
from .frame_values import one_per_frame
from .regions import IN_A, IN_B, Region, region_from
from .variables import CollectiveVariables

__all__ = ["Channels", "LabelRule"]


@dataclass(frozen=True)
class LabelRule:
    """A path in ``region`` whose label is ``after`` (None: any) gets the label ``to``."""

    region: Region
    to: str
    after: str | None = None

    def describe(self) -> dict[str, Any]:
        """JSON-able parameters, the same in every process: as a configuration has them."""
        after = {} if self.after is None else {"after": self.after}
        return {"to": self.to, **after, **self.region.describe()}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "LabelRule":
        """Inverse of :meth:`describe`."""
        region = {key: value for key, value in description.items() if key not in ("to", "after")}
        return cls(region_from(region), description["to"], description.get("after"))


class Channels:
    """Labels that follow each path from its exit of A and name the channel by which it arrives in B.

    A label knows nothing of the past but itself: that is what makes channels exact under splitting.

    Parameters
    ----------
    names : sequence of str
        ``names[label]`` is the channel of a path that arrives in B with that label. Every path starts with label 0, and
        gets it back in A.
    rules : sequence of LabelRule
        At every tested frame outside A, the one that arrives in B included, the first rule applies whose ``after`` is the
        label of the path and whose region contains the frame: at most one rule at each frame.
    arrival : callable, optional
        Module-level function (positions (n, n_atoms, 3) in nm, values (n, n_variables), labels (n,)) -> labels (n,).
        It sees only frames in B, after the rules, and may refine their labels.

    Raises
    ------
    ValueError
        If names are missing or repeated, a rule names another, or the function has no importable name.
    """

    def __init__(self, names: Sequence[str], rules: Sequence[LabelRule] = (), arrival: Function | None = None) -> None:
        self.names, self.rules, self.arrival = tuple(names), tuple(rules), arrival
        if not self.names or len(set(self.names)) != len(self.names):
            raise InputError(f"names must be different strings, at least one, not {self.names}")
        for rule in self.rules:
            for name in (rule.to, rule.to if rule.after is None else rule.after):
                if name not in self.names:
                    raise InputError(f"a rule names the channel {name!r}, which is none of {list(self.names)}")
        self._arrival_label = None if arrival is None else function_label(arrival, "arrival")

    def label(self, name: str) -> int:
        """Label of the channel of this name."""
        return self.names.index(name)

    def name(self, label: int) -> str:
        """Name of the channel with this label."""
        return self.names[label]

    def update(
        self,
        status: np.ndarray,
        positions: np.ndarray,
        values: np.ndarray,
        labels: np.ndarray,
        variables: CollectiveVariables,
    ) -> np.ndarray:
        """Labels, int64 of shape (n,), after frames of this status: 0 in A, by the rules elsewhere, refined in B.

        Raises
        ------
        ValueError
            As :meth:`arrive`.
        """
        free = status != IN_A
        labels = np.where(free, labels, 0)
        for rule in self.rules:
            candidates = free if rule.after is None else free & (labels == self.label(rule.after))
            if candidates.any():
                applies = candidates & rule.region.contains(positions, values, variables)
                labels[applies] = self.label(rule.to)
                free &= ~applies
        arrived = np.flatnonzero(status == IN_B)
        if len(arrived) > 0:
            labels[arrived] = self.arrive(positions[arrived], values[arrived], labels[arrived])
        return labels

    def arrive(self, positions: np.ndarray, values: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Labels of frames in B, refined by the arrival function if there is one.

        Raises
        ------
        ValueError
            If the function returns anything but one index into ``names`` for each frame.
        """
        if self.arrival is None or len(positions) == 0:
            return labels
        name = self._arrival_label
        with faults_in(f"{name} fails for positions of shape {positions.shape}"):
            returned = self.arrival(positions, values, labels)
        new = one_per_frame(returned, len(positions), name, "iu")
        if not (new.min() >= 0 and new.max() < len(self.names)):
            raise InputError(f"{name} must return labels from 0 to {len(self.names) - 1}, not {np.unique(new)}")
        return new

    def describe(self) -> dict[str, Any]:
        """JSON-able parameters, the same in every process: as a configuration has them."""
        arrival = {} if self._arrival_label is None else {"arrival": self._arrival_label}
        return {"names": list(self.names), **arrival, "rules": [rule.describe() for rule in self.rules]}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "Channels":
        """Inverse of :meth:`describe`; functions may be given by name, or as they are.

        Raises
        ------
        ValueError
            As the class, and for a function that cannot be imported.
        """
        arrival = description.get("arrival")
        arrival = function_of_label(arrival) if isinstance(arrival, str) else arrival
        return cls(description["names"], [LabelRule.from_description(rule) for rule in description["rules"]], arrival)
