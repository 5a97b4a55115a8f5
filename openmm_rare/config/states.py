"""Collective variables, states and channels of a configuration: from TOML sections to the objects of `states`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from openmm import unit as u

from ..errors import InputError
from ..io.toml import Section, nearest
from ..states import states as st
from ..states.box_variables import BOX_CHOICES, BOXES, BoxVariable
from ..structure.atom_selection import atoms_of
from ..trust.policy import Trust
from ..trust.user_modules import import_function

if TYPE_CHECKING:
    from openmm import app

__all__ = ["ChannelsConfig", "LabelRuleConfig", "RegionConfig", "VariableConfig", "build_states"]

_VARIABLES: dict[str, tuple[type[st.CollectiveVariable], tuple[str, ...], u.Unit | None]] = {
    "coordinate": (st.Coordinate, ("atom", "axis"), u.nanometer),
    "distance": (st.Distance, ("atoms",), u.nanometer),
    "angle": (st.Angle, ("atoms",), u.radian),
    "dihedral": (st.Dihedral, ("atoms",), u.radian),
    "coordination_moment": (st.CoordinationMoment, ("order", "radius"), None),
    "linear_combination": (st.LinearCombination, ("coefficients",), u.nanometer),
    "function": (st.FunctionVariable, ("function",), None),
}
"""Class, parameters, and unit of the values (None: plain numbers) of each type of variable."""


_N_ATOMS = {"distance": 2, "angle": 3, "dihedral": 4}
_OTHER_WORDS = {
    "torsion": "dihedral",
    "dihedral_angle": "dihedral",
    "phi": "dihedral",
    "psi": "dihedral",
    "bond": "distance",
    "bond_length": "distance",
    "dist": "distance",
    "bond_angle": "angle",
    "position": "coordinate",
    "x": "coordinate",
    "y": "coordinate",
    "z": "coordinate",
    "coordination": "coordination_moment",
    "coordination_number": "coordination_moment",
    "linear": "linear_combination",
    "custom": "function",
    "python": "function",
}
"""What other programs call the types of variables."""

_REGIONS = ("range", "disc", "function")


@dataclass(frozen=True)
class VariableConfig:
    """A named collective variable: its type and the parameters of that type; ``box`` is a periodic box in nm, or a word.

    Atoms are numbers or selections of mdtraj, which need the topology.
    """

    name: str
    type: str
    parameters: Mapping[str, Any]

    @classmethod
    def parse(cls, section: Section, name: str) -> VariableConfig:
        """From ``[variables.NAME]``."""
        kind = section.text("type", "")
        if kind not in _VARIABLES:
            hint = f"; did you mean {_OTHER_WORDS.get(kind.lower()) or nearest(kind, _VARIABLES)!r}?" if kind else ""
            raise InputError(f"{section.where('type')} = {kind!r} must be one of {', '.join(_VARIABLES)}{hint}")
        _, required, _ = _VARIABLES[kind]
        knows_box = issubclass(_VARIABLES[kind][0], BoxVariable)
        section.check(("type", *required), ("box",) if knows_box else ())
        readers: dict[str, Callable[[], Any]] = {
            "atom": lambda: _atom(section),
            "axis": lambda: section.count("axis", least=0),
            "order": lambda: section.count("order"),
            "atoms": lambda: _atoms(section),
            "radius": lambda: section.number("radius", u.nanometer),
            "coefficients": lambda: _rows(section, "coefficients"),
            "function": lambda: section.text("function"),
        }
        parameters = {key: readers[key]() for key in required}
        return cls(name, kind, parameters | ({"box": _box(section)} if "box" in section else {}))

    @property
    def unit(self) -> u.Unit | None:
        """Unit of the values; None for plain numbers."""
        return _VARIABLES[self.type][2]

    def expanded(self, periodic: bool) -> VariableConfig:
        """A copy that spells out which box it uses in a System, if that is `periodic`."""
        if periodic and issubclass(_VARIABLES[self.type][0], BoxVariable):
            return replace(self, parameters={**self.parameters, "box": self.parameters.get("box", "system")})
        return self

    def build(self, folder: str, topology: app.Topology | None, trust: Trust) -> st.CollectiveVariable:
        """The collective variable."""
        parameters = dict(self.parameters)
        where = f"variables.{self.name}"
        if "atom" in parameters:
            (parameters["atom"],) = atoms_of([parameters["atom"]], topology, f"{where}.atom", 1)
        if "atoms" in parameters:
            parameters["atoms"] = atoms_of(parameters["atoms"], topology, f"{where}.atoms", _N_ATOMS[self.type])
        if "function" in parameters:
            parameters["function"] = import_function(parameters["function"], folder, f"{where}.function", trust)
        if "coefficients" in parameters:
            parameters["coefficients"] = np.array(parameters["coefficients"])
        return _VARIABLES[self.type][0](self.name, **parameters)


@dataclass(frozen=True)
class RegionConfig:
    """A region: ``kind`` is "range", "disc" or "function"; parameters in nm, radians or plain numbers."""

    kind: str
    parameters: Any

    @classmethod
    def parse(cls, section: Section, units: Mapping[str, u.Unit | None]) -> RegionConfig:
        """From ``[states.a]``, say; `units` are those of the variables."""
        section.check((), _REGIONS)
        if len(section.raw) != 1:
            raise InputError(
                f'[{section.name}] must hold one of: range = {{ phi = ["-180 deg", "0 deg"] }}, '
                'disc = { center = { x = "0.1 nm" }, radius = "0.05 nm" }, function = "module:function"'
            )
        (kind,) = section.raw
        if kind == "function":
            return cls(kind, section.text("function"))
        table = section.section(kind)
        if kind == "range":
            table.check((), units, "variable")
            bounds = {name: table.numbers(name, units[name], positive=False) for name in table.raw}
            for name, pair in bounds.items():
                if len(pair) != 2:
                    raise InputError(f"{table.where(name)} = {table.raw[name]!r} must be [lowest, highest]")
            return cls(kind, bounds)
        table.check(("center", "radius"))
        center = table.section("center")
        center.check((), units, "variable")
        middle = {name: center.number(name, units[name], positive=False) for name in center.raw}
        unit = units[next(iter(middle))] if middle else None
        return cls(kind, {"center": middle, "radius": table.number("radius", unit)})

    def build(self, folder: str, where: str, trust: Trust) -> st.Region:
        """The region."""
        if self.kind == "function":
            return st.FunctionRegion(import_function(self.parameters, folder, f"{where}.function", trust))
        return st.Range(self.parameters) if self.kind == "range" else st.Disc(**self.parameters)

    def to_dict(self) -> dict[str, Any]:
        """For TOML."""
        return {self.kind: self.parameters}


@dataclass(frozen=True)
class LabelRuleConfig:
    """A rule: a path in the region whose label is ``after`` (None: any) gets the label ``to``."""

    region: RegionConfig
    to: str
    after: str | None = None

    @classmethod
    def parse(cls, section: Section, units: Mapping[str, u.Unit | None]) -> LabelRuleConfig:
        """From ``[[channels.rules]]``; `units` are those of the variables."""
        section.check(("to",), ("after", *_REGIONS))
        where = {key: value for key, value in section.raw.items() if key in _REGIONS}
        return cls(RegionConfig.parse(Section(where, section.name), units), section.text("to"), section.text("after"))

    def to_dict(self) -> dict[str, Any]:
        """For TOML."""
        after = {} if self.after is None else {"after": self.after}
        return {"to": self.to, **after, **self.region.to_dict()}


@dataclass(frozen=True)
class ChannelsConfig:
    """Names of the channels, the rules that label paths, and the ``"module:function"`` that refines labels in B."""

    names: tuple[str, ...]
    rules: tuple[LabelRuleConfig, ...] = ()
    arrival: str | None = None

    @classmethod
    def parse(cls, section: Section, units: Mapping[str, u.Unit | None]) -> ChannelsConfig:
        """From ``[channels]``; `units` are those of the variables."""
        section.check(("names",), ("rules", "arrival"))
        rules = tuple(LabelRuleConfig.parse(table, units) for table in section.tables("rules"))
        return cls(section.texts("names"), rules, section.text("arrival"))

    def build(self, folder: str, trust: Trust) -> st.Channels:
        """The channels."""
        rules = [
            st.LabelRule(rule.region.build(folder, f"channels.rules[{number}]", trust), rule.to, rule.after)
            for number, rule in enumerate(self.rules)
        ]
        arrival = None if self.arrival is None else import_function(self.arrival, folder, "channels.arrival", trust)
        return st.Channels(self.names, rules, arrival)

    def to_dict(self) -> dict[str, Any]:
        """For TOML."""
        arrival = {} if self.arrival is None else {"arrival": self.arrival}
        return {"names": self.names, **arrival, "rules": [rule.to_dict() for rule in self.rules]}


def build_states(
    variables: tuple[VariableConfig, ...],
    regions: Mapping[str, RegionConfig],
    channels: ChannelsConfig | None,
    folder: str,
    trust: Trust,
    topology: app.Topology | None = None,
) -> st.States:
    """States A and B (keys "a" and "b") with their variables and channels; modules are looked up in `folder` first.

    The topology is for selections of atoms, and `trust` says which modules may be imported.

    Raises
    ------
    ValueError
        If a function cannot be imported, a selection has no or too many atoms, or the states are not possible.
    """
    collective = st.CollectiveVariables([variable.build(folder, topology, trust) for variable in variables])
    built, paths = {}, None
    for name in ("a", "b"):
        with _named(f"states.{name}"):
            built[name] = regions[name].build(folder, f"states.{name}", trust)
            built[name].check(collective)
    if channels is not None:
        with _named("channels"):
            paths = channels.build(folder, trust)
            for rule in paths.rules:
                rule.region.check(collective)
    with _named("states.a", "states.b"):
        return st.States(collective, built["a"], built["b"], paths)


@contextmanager
def _named(*sections: str) -> Iterator[None]:
    """Say of errors which sections of the configuration they are about, unless they do."""
    try:
        yield
    except InputError as error:
        place = " and ".join(f"[{section}]" for section in sections)
        raise type(error)(str(error) if sections[0] in str(error) else f"{place}: {error}") from error


def _box(section: Section) -> str | list[list[float]] | tuple[float, ...]:
    """A box in words, or its edges or vectors in nm."""
    if isinstance(section.raw["box"], str):
        if section.raw["box"] not in BOXES:
            raise InputError(f"{section.where('box')} = {section.raw['box']!r} must be {BOX_CHOICES}")
        return section.raw["box"]
    if isinstance(section.raw["box"], list) and section.raw["box"] and isinstance(section.raw["box"][0], list):
        return _rows(section, "box")
    return section.numbers("box", u.nanometer)


def _atom(section: Section) -> int | str:
    """The number of an atom, or a selection."""
    return section.text("atom") if isinstance(section.raw["atom"], str) else section.count("atom", least=0)


def _atoms(section: Section) -> str | tuple[int | str, ...]:
    """A selection, or a list of numbers and selections."""
    given = section.raw["atoms"]
    if isinstance(given, str):
        return given
    if not isinstance(given, list):
        return section.counts("atoms", least=0)  # raises
    names = {number: each for number, each in enumerate(given) if isinstance(each, str)}
    numbers = Section({"atoms": [0 if number in names else each for number, each in enumerate(given)]}, section.name)
    return tuple(names.get(number, atom) for number, atom in enumerate(numbers.counts("atoms", least=0)))


def _rows(section: Section, key: str) -> list[list[float]]:
    rows = section.raw[key]
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 3 for row in rows):
        raise InputError(f"{section.where(key)} must be a list of [x, y, z]")
    return [list(Section({key: row}, section.name).numbers(key, None, positive=False)) for row in rows]
