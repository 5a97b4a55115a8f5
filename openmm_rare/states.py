"""States A and B as regions in collective variables, and labels for the channels that paths take between them.

NumPy only. A trajectory is tested frame by frame: "The rate" in docs/theory.md says what the rate means.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from .coordination import coordination_numbers
from .disjoint import require_disjoint
from .errors import InputError
from .frame_values import one_per_frame
from .named_functions import Function, function_label
from .region_text import values_text
from .regions import Disc, FunctionRegion, Range, Region
from .user_code import faults_in
from .variables import (
    Angle,
    CollectiveVariable,
    CollectiveVariables,
    Coordinate,
    CoordinationMoment,
    Dihedral,
    Distance,
    FunctionVariable,
    LinearCombination,
)

__all__ = [
    "IN_A",
    "IN_B",
    "NEITHER",
    "Angle",
    "Channels",
    "CollectiveVariable",
    "CollectiveVariables",
    "Coordinate",
    "CoordinationMoment",
    "Dihedral",
    "Disc",
    "Distance",
    "FunctionRegion",
    "FunctionVariable",
    "LabelRule",
    "LinearCombination",
    "Range",
    "Region",
    "States",
    "coordination_numbers",
]

NEITHER: int = 0
IN_A: int = 1
IN_B: int = 2


@dataclass(frozen=True)
class LabelRule:
    """A path in ``region`` whose label is ``after`` (None: any) gets the label ``to``."""

    region: Region
    to: str
    after: str | None = None

    def describe(self) -> dict[str, Any]:
        """JSON-able parameters, the same in every process."""
        return {"region": self.region.describe(), "to": self.to, "after": self.after}


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
        """JSON-able parameters, the same in every process."""
        rules = [rule.describe() for rule in self.rules]
        return {"names": list(self.names), "rules": rules, "arrival": self._arrival_label}


class States:
    """States A and B, and the channels between them.

    Parameters
    ----------
    variables : CollectiveVariables, or one CollectiveVariable or several
        Everything that the regions refer to.
    a, b : Region
        Disjoint regions.
    channels : Channels, optional

    Raises
    ------
    ValueError
        If a region names an unknown variable, or two discs or two ranges of the same variables overlap.
    """

    def __init__(
        self,
        variables: CollectiveVariables | CollectiveVariable | Sequence[CollectiveVariable],
        a: Region,
        b: Region,
        channels: Channels | None = None,
    ) -> None:
        self.variables, self.a, self.b, self.channels = _together(variables), a, b, channels
        regions, rules = {"state A": a, "state B": b}, channels.rules if channels else ()
        regions |= {f"rule {number} of the channels": rule.region for number, rule in enumerate(rules)}
        for label, region in regions.items():
            _check(label, region, self.variables)
        require_disjoint(self.variables, a, b)

    def in_box(self, box: np.ndarray | None) -> "States":
        """The same states with variables in a System with this box, shape (3, 3), nm; None: without periodic boundaries.

        Raises
        ------
        ValueError
            If a variable has another box.
        """
        held = self.variables.in_box(box)
        if held is self.variables:
            return self
        made = copy(self)
        made.variables = held
        return made

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels; "all" where there are none."""
        return ("all",) if self.channels is None else self.channels.names

    def classify(self, positions: np.ndarray) -> np.ndarray:
        """State of every frame.

        Parameters
        ----------
        positions : ndarray of shape (n, n_atoms, 3)
            nm.

        Returns
        -------
        ndarray of int8, shape (n,)
            ``NEITHER`` (0), ``IN_A`` (1) or ``IN_B`` (2).

        Raises
        ------
        ValueError
            If a frame lies in both states, or a collective variable is not finite.
        """
        positions = np.asarray(positions, dtype=np.float64)
        return self._classify(positions, self.variables(positions))

    def _classify(self, positions: np.ndarray, values: np.ndarray) -> np.ndarray:
        in_a = self.a.contains(positions, values, self.variables)
        in_b = self.b.contains(positions, values, self.variables)
        both = in_a & in_b
        if both.any():
            frame = int(np.argmax(both))
            point = values_text(self.variables, values[frame])
            raise InputError(f"frame {frame} lies in both A and B at {point}; define disjoint states")
        return in_a.astype(np.int8) * np.int8(IN_A) + in_b.astype(np.int8) * np.int8(IN_B)

    def observe(self, positions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """State of every frame and the channel label of the path that it belongs to.

        Parameters
        ----------
        positions : ndarray of shape (n, n_atoms, 3)
            nm.
        labels : ndarray of int, shape (n,)
            Labels of the same paths at the tested frame before.

        Returns
        -------
        status : ndarray of int8, shape (n,)
            As in :meth:`classify`.
        labels : ndarray of int64, shape (n,)
            0 in A; outside A what :class:`Channels` says; unchanged if there are no channels.

        Raises
        ------
        ValueError
            As in :meth:`classify`, and if the channels' arrival function misbehaves.
        """
        positions = np.asarray(positions, dtype=np.float64)
        values = self.variables(positions)
        status = self._classify(positions, values)
        labels = np.array(labels, dtype=np.int64)
        if self.channels is not None:
            labels = self.channels.update(status, positions, values, labels, self.variables)
        return status, labels

    def arrival_labels(self, positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Labels ``(n,)`` of paths that arrived in B at these positions with these labels, refined by the channels."""
        if self.channels is None or len(labels) == 0:
            return labels
        return self.channels.arrive(positions, self.variables(positions), labels)

    def describe(self) -> dict[str, Any]:
        """JSON-able definition of the states, the same in every process."""
        return {
            "variables": self.variables.describe(),
            "a": self.a.describe(),
            "b": self.b.describe(),
            "channels": None if self.channels is None else self.channels.describe(),
        }


def _together(variables: CollectiveVariables | CollectiveVariable | Sequence[CollectiveVariable]) -> CollectiveVariables:
    """Variables as they are evaluated together."""
    if isinstance(variables, CollectiveVariables):
        return variables
    several = [variables] if isinstance(variables, CollectiveVariable) else variables
    if not (isinstance(several, (list, tuple)) and all(isinstance(each, CollectiveVariable) for each in several)):
        raise InputError(f"variables must be a list such as [Distance('r', (0, 1))], not {variables!r}")
    return CollectiveVariables(several)


def _check(label: str, region: Region, variables: CollectiveVariables) -> None:
    """Raise ValueError, with the label, if this is no region or does not fit the variables."""
    if not all(callable(getattr(region, name, None)) for name in ("contains", "check", "describe")):
        raise InputError(f"{label} must be a region such as Range({{'r': (0.0, 0.3)}}), not {region!r}")
    try:
        region.check(variables)
    except InputError as error:
        raise InputError(f"{label}: {error}") from error
