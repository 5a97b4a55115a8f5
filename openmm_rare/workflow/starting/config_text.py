"""The configuration of a new folder: TOML with everything that is known filled in, and what to choose from beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...io.toml import toml_text
from .candidates import Candidate, Candidates
from .request import Request
from .states_given import Bounds, StatesGiven

__all__ = ["FILL_IN", "config_text", "next_commands", "shown_candidates", "values_in_words"]

FILL_IN = "FILL IN"
"""What stands where a number is missing."""
_CHECK_INTERVAL = 10
"""Integration steps between two frames, and between two looks at the states."""

_OTHERS = " Further types: angle, coordination, coordination_moment, function."
_MOST_SHOWN = 24
_TRIALS = 300
_MARGIN = {"dihedral": math.radians(15.0), "distance": 0.02}
"""By which an example of a range is wider than what was seen, radians and nm."""


def shown_candidates(candidates: Candidates) -> tuple[Candidate, ...]:
    """The first of them: about as many of each kind as there is room for."""
    kinds = [[each for each in candidates.variables if each.kind == kind] for kind in ("dihedral", "distance")]
    n_distances = min(len(kinds[1]), max(_MOST_SHOWN // 3, _MOST_SHOWN - len(kinds[0])))
    return (*kinds[0][: _MOST_SHOWN - n_distances], *kinds[1][:n_distances])


def values_in_words(each: Candidate, values: np.ndarray) -> tuple[str, str]:
    """The value in the last frame, and from where to where it went, with units.

    Parameters
    ----------
    each : Candidate
    values : ndarray, shape (n_frames,)
        The last one is that of the structure.
    """
    low, high = _extent(each, values)
    return _in_words(each, float(values[-1])), f"{_in_words(each, low)} to {_in_words(each, high)}"


def config_text(
    request: Request, candidates: Candidates, values: np.ndarray, states: StatesGiven | None, seen_in: str, pdb: str
) -> str:
    """The whole file.

    Parameters
    ----------
    request : Request
        With a platform.
    candidates : Candidates
    values : ndarray, shape (n_frames, n_variables)
        Of all variables, nm and radians; the last row is that of the structure.
    states : StatesGiven or None
        None: to be filled in.
    seen_in : str
        Where the values come from, in words.
    pdb : str
        Name of the structure.
    """
    parts = [_head(states), _system(request, pdb), _variables(candidates, values, states, seen_in)]
    parts += [_states(candidates, values, states, seen_in), _DESCRIPTOR, _sampling(request)]
    return "\n".join(parts)


def next_commands(folder: Path) -> list[str]:
    """What to do with the folder, in this order."""
    config, path, tps = folder / "config.toml", folder / "first.npz", folder / "tps"
    return [
        f"openmm-rare check {config}",
        f"openmm-rare path {config} --out {path}",
        f"openmm-rare tps {config} --initial-path {path} --out {tps}",
        f"openmm-rare rate {config} --model {tps / 'model.npz'} --out {folder / 'rate'}",
    ]


def _head(states: StatesGiven | None) -> str:
    first = "Complete. Next, from the folder of this file:"
    if states is None:
        first = f"Two states are missing: write numbers where this file says {FILL_IN}, or take other variables. Then:"
    paths = "a first path from A to B", "transition paths, and the committor"
    what = ("whether all is well", *paths, "the rate constant from A to B")
    pairs = list(zip(next_commands(Path()), what, strict=True))
    width = max(len(command) for command, _ in pairs)
    lines = [f"# {first}", *(f"#   {command:<{width}}   {words}" for command, words in pairs)]
    return "\n".join([*lines, "# Numbers of atoms count from 0. An unknown key is refused.\n"])


def _system(request: Request, pdb: str) -> str:
    words = request.words
    rows = [
        ("name", toml_text(request.structure.stem), ""),
        ("xml", '"system.xml"', "forces, masses, constraints and box, which stays as it is"),
        ("pdb", toml_text(pdb), "a structure that lies in A"),
        ("temperature", toml_text(words["temperature"]), ""),
        ("friction", toml_text(words["friction"]), "of the Langevin thermostat; weak in a solvent, which has its own"),
        ("timestep", toml_text(words["timestep"]), ""),
        ("inertial", "true", "dynamics with momenta; false: overdamped, for models"),
        (
            "check_interval",
            f"{_CHECK_INTERVAL}",
            "steps between two frames, where A and B are tested: rates depend on it",
        ),
    ]
    return _table("system", "", rows)


def _table(name: str, what: str, rows: Sequence[tuple[str, str, str]]) -> str:
    """A table of TOML with its comments in one column."""
    entries = [(f"[{name}]", what), *((f"{key} = {value}", comment) for key, value, comment in rows)]
    return "\n".join(f"{entry:<29} # {comment}" if comment else entry for entry, comment in entries) + "\n"


def _variables(candidates: Candidates, values: np.ndarray, states: StatesGiven | None, seen_in: str) -> str:
    """What there is to choose from, as comments, and the variables of the states, or of an example."""
    lines = ["# Variables that could tell A from B, of what is not solvent:"]
    rows = [("name", "now", f"in {seen_in}", "atoms", "")]
    column = {each.name: index for index, each in enumerate(candidates.variables)}
    shown = shown_candidates(candidates)
    for each in shown:
        now, extent = values_in_words(each, values[:, column[each.name]])
        rows.append((each.name, now, extent, str(list(each.atoms)), each.label))
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines += [f"#   {'  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()}" for row in rows]
    if not shown:
        lines = ["# No dihedrals or distances were found: name atoms of your own."]
    left = len(candidates.variables) - len(shown)
    lines.append(f"# {f'{left} more are' if left else 'The same is'} in candidates.csv.{_OTHERS}")
    lines.append('# Atoms may be selections of mdtraj: atoms = ["resname NA", "resid 3 and name CG"].')
    names = _chosen(candidates) if states is None else states.names
    for name in names:
        each = candidates.named(name)
        lines += ["", f"[variables.{name}]", f'type = "{each.kind}"', f"{f'atoms = {list(each.atoms)}':<29} # {each.label}"]
    if not names:
        lines += ["", "[variables.r]", 'type = "distance"', "atoms = [0, 1]"]
    return "\n".join(lines) + "\n"


def _chosen(candidates: Candidates) -> tuple[str, ...]:
    """Variables of an example: phi and psi of one residue, else the first dihedral, else the first distance."""
    names = [each.name for each in candidates.variables]
    for name in names:
        if name.startswith("phi") and f"psi{name[3:]}" in names:
            return name, f"psi{name[3:]}"
    return tuple(names[:1])


def _states(candidates: Candidates, values: np.ndarray, states: StatesGiven | None, seen_in: str) -> str:
    if states is not None:
        return "\n".join(
            f"[states.{name}]\n{_range(candidates, bounds)}\n" for name, bounds in (("a", states.a), ("b", states.b))
        )
    names, column = _chosen(candidates), {each.name: index for index, each in enumerate(candidates.variables)}
    lines = [
        "# A holds the structure that the run begins with, B is where it shall go. What lies in neither is the transition,",
        "# and there must be room for it. Narrow states are safe, as long as every visit to a basin passes through its state.",
    ]
    if names:
        around = {name: _example(candidates.named(name), values[:, column[name]]) for name in names}
        lines += [f"# An A around what was seen in {seen_in} would be:", f"#   {_range(candidates, around)}"]
    empty = ", ".join(f'{name} = ["{FILL_IN}", "{FILL_IN}"]' for name in names or ("r",))
    return "\n".join([*lines, *(f"\n[states.{name}]\nrange = {{ {empty} }}" for name in "ab")]) + "\n"


def _example(each: Candidate, values: np.ndarray) -> tuple[float, float]:
    """A range that is somewhat wider than what was seen, in degrees or nm."""
    low, high = _extent(each, values)
    margin = _MARGIN[each.kind]
    if each.kind == "dihedral":
        wide = min(high - low + 2.0 * margin, math.radians(340.0))
        middle = 0.5 * (low + high)
        ends = (math.degrees(middle - 0.5 * wide), math.degrees(middle + 0.5 * wide))
        return tuple(5.0 * round(_turned(end) / 5.0) for end in ends)
    return max(0.0, round(low - margin, 2)), round(high + margin, 2)


def _range(candidates: Candidates, bounds: Bounds) -> str:
    """A range of TOML."""
    entries = []
    for name, ends in bounds.items():
        unit = "deg" if candidates.named(name).kind == "dihedral" else "nm"
        written = (f'"{end:g} {unit}"' if math.isfinite(end) else f"{end}" for end in ends)
        entries.append(f"{name} = [{', '.join(written)}]")
    return f"range = {{ {', '.join(entries)} }}"


def _extent(each: Candidate, values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest value before the last, of an angle around the mean direction, nm or radians."""
    values = values[:-1] if len(values) > 1 else values
    if each.kind != "dihedral":
        return float(values.min()), float(values.max())
    middle = float(np.angle(np.exp(1j * values).mean()))
    off = np.angle(np.exp(1j * (values - middle)))
    return middle + float(off.min()), middle + float(off.max())


def _turned(degrees: float) -> float:
    """The same angle between -180 and 180."""
    return degrees if -180.0 <= degrees <= 180.0 else (degrees + 180.0) % 360.0 - 180.0


def _in_words(each: Candidate, value: float) -> str:
    return f"{_turned(math.degrees(value)):.0f} deg" if each.kind == "dihedral" else f"{value:.3f} nm"


_DESCRIPTOR = """# What the network sees. Without this section: internal coordinates of the molecules that the states
# name, or distances among the named atoms of different molecules. With the water around a molecule:
# [system.descriptor]
# kind = "concatenate"
# [[system.descriptor.parts]]
# kind = "internal_coordinates"
# atoms = "not water"
# [[system.descriptor.parts]]
# kind = "symmetry_functions"
# centers = "not water and not element H"
# species = { O = "water and name O", H = "water and element H" }
# shells = ["0.1 nm", "0.25 nm", "0.4 nm"]
# cutoff = "0.6 nm"
"""


def _sampling(request: Request) -> str:
    rate = [
        ("platform", toml_text(request.platform or "CPU"), ""),
        ("seed", f"{request.seed}", ""),
        ("target_error", "0.25", "relative standard error at which to stop"),
    ]
    paths = [
        ("trials", f"{_TRIALS}", "of each chain"),
        ("chains", "1", "independent ones, which share one committor"),
        ("scouting", "100", "trials' worth of work on finding other ways first; 0: none"),
    ]
    return "\n".join(
        [
            _table("sampling", "of `rate`; platform and seed of all commands", rate),
            _table("path_sampling", "of `path` and `tps`", paths),
        ]
    )
