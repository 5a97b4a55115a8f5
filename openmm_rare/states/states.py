"""States A and B as regions in collective variables, and labels for the channels that paths take between them.

NumPy only. A trajectory is tested frame by frame: "The rate" in docs/theory.md says what the rate means.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np

from ..errors import InputError
from ..trust.function_code import function_digest
from ..trust.named_functions import Function, function_label
from .channels import Channels, LabelRule
from .coordination import coordination_numbers
from .disjoint import require_disjoint
from .region_text import values_text
from .regions import IN_A, IN_B, NEITHER, Disc, FunctionRegion, Range, Region, region_from
from .variables import (
    Angle,
    CollectiveVariable,
    CollectiveVariables,
    Coordinate,
    Coordination,
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
    "Coordination",
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
            If a variable has another box, or nearest images never come to a state.
        """
        held = self.variables.in_box(box)
        if held is self.variables:
            return self
        for region in (self.a, self.b):
            region.check(held)
        made = copy(self)
        made.variables = held
        return made

    def exchanged(self) -> "States":
        """The same states, each with the name of the other; labels of channels follow their rules on the way back."""
        made = copy(self)
        made.a, made.b = self.b, self.a
        return made

    def functions(self) -> dict[str, Function]:
        """Functions of variables, regions and channels, by their names."""
        regions = [self.a, self.b, *(rule.region for rule in self.channels.rules)] if self.channels else [self.a, self.b]
        found = [value for each in self.variables.variables for value in vars(each).values() if callable(value)]
        found += [region.function for region in regions if isinstance(region, FunctionRegion)]
        found += [self.channels.arrival] if self.channels and self.channels.arrival is not None else []
        return {function_label(each, "function"): each for each in found}

    @property
    def may_be_edited(self) -> str:
        """What to add where a system turns out to be another one: functions of the user's count with their code."""
        own = [name for name, each in self.functions().items() if function_digest(each)]
        return f" (the code of {', '.join(own)} counts)" if own else ""

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
        """JSON-able definition of the states, the same in every process: as a configuration has it, in numbers."""
        channels = {} if self.channels is None else {"channels": self.channels.describe()}
        regions = {"a": self.a.describe(), "b": self.b.describe()}
        return {"variables": self.variables.describe(), "states": regions, **channels}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "States":
        """Inverse of :meth:`describe`; functions may be given by name, or as they are.

        Raises
        ------
        ValueError
            As the class, for types that do not exist, and functions that cannot be imported.
        """
        channels = description.get("channels")
        return cls(
            CollectiveVariables.from_description(description["variables"]),
            *(region_from(description["states"][name]) for name in ("a", "b")),
            None if channels is None else Channels.from_description(channels),
        )


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
