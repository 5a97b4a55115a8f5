"""What a new folder is made of: files, what to add to them, and the dynamics, checked before anything is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmm import unit as u

from ...errors import InputError
from ...io.toml import nearest
from ...units import parse_quantity

__all__ = ["WATERS", "Request"]

WATERS: dict[str, tuple[str, str]] = {
    "tip3p": ("tip3p", "amber14/tip3p.xml"),
    "tip3pfb": ("tip3p", "amber14/tip3pfb.xml"),
    "spce": ("spce", "amber14/spce.xml"),
    "opc3": ("spce", "amber14/opc3.xml"),
    "tip4pew": ("tip4pew", "amber14/tip4pew.xml"),
    "tip4pfb": ("tip4pew", "amber14/tip4pfb.xml"),
    "opc": ("tip4pew", "amber14/opc.xml"),
}
"""Water by name: whose molecules fill the box, before energies are minimized, and OpenMM's file that goes with amber14."""

BOXES: tuple[str, ...] = ("cube", "dodecahedron", "octahedron")
"""Shapes of a box that is filled with water."""

_UNITS: dict[str, u.Unit] = {
    "padding": u.nanometer,
    "cutoff": u.nanometer,
    "ionic_strength": u.molar,
    "hydrogen_mass": u.dalton,
    "temperature": u.kelvin,
    "friction": u.picosecond**-1,
    "timestep": u.picosecond,
    "pressure": u.bar,
    "equilibrate": u.picosecond,
}
_MAY_BE_ZERO = ("ionic_strength", "equilibrate")
_HYDROGEN = 1.008
"""Da."""
_HEAVIEST = 4.04
"""Da; four times the mass of hydrogen, of which a methyl group has three."""
_LONG_STEP, _PLAIN_STEP = 0.004, 0.002
"""ps; what everybody uses with hydrogens of at least 2.9 Da, and with plain ones."""
_COLDEST, _HOTTEST = 1.0, 5000.0
"""K."""


@dataclass(frozen=True)
class Request:
    """Everything that a user says, in K, ps, nm, Da, bar and mol/l; None where the files decide.

    Attributes
    ----------
    structure : Path
        PDB or mmCIF; coordinates of AMBER, GROMACS or CHARMM.
    topology : Path or None
        What goes with the structure: prmtop, top, psf, or a serialized System of OpenMM; None: a force field finds it.
    forcefield : tuple of str
        Force fields of OpenMM for PDB and mmCIF, parameter files for CHARMM.
    include : Path or None
        Where GROMACS looks for the files that a topology includes.
    water : str or None
        One of WATERS, to fill a box with it.
    padding, ionic_strength : float
        Of that box.
    box_shape : str
    box : tuple of float, or None
        Edges, for files that hold none; empty: no box, whatever the files say.
    add_hydrogens : bool
    ph : float
    cutoff, hydrogen_mass : float or None
    temperature, friction, timestep, pressure : float
    equilibrate : float
        ps, half of it at constant pressure.
    platform : str or None
        None: the fastest that works here.
    seed : int
    state_a, state_b : str
        As in ``"phi2=-110..-50, psi2=100..200"``; empty: the user fills them in.
    trajectory : Path or None
        Frames of the same atoms, of which the variables are listed.
    trust : bool
        Whether programs in force field files, and in a System, may run.
    """

    structure: Path
    topology: Path | None = None
    forcefield: tuple[str, ...] = ()
    include: Path | None = None
    water: str | None = None
    padding: float = 1.2
    ionic_strength: float = 0.0
    box_shape: str = "cube"
    box: tuple[float, ...] | None = None
    add_hydrogens: bool = False
    ph: float = 7.0
    cutoff: float | None = None
    hydrogen_mass: float | None = None
    temperature: float = 300.0
    friction: float = 1.0
    timestep: float = _PLAIN_STEP
    pressure: float = 1.0
    equilibrate: float = 50.0
    platform: str | None = None
    seed: int = 1
    state_a: str = ""
    state_b: str = ""
    trajectory: Path | None = None
    trust: bool = False

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Request:
        """From the words of the command line, by the names of the fields; None and what is missing has its default.

        Raises
        ------
        ValueError
            If something is no quantity of its kind, or not possible; the message names the option.
        """
        values = {name: value for name, value in given.items() if value is not None}
        for name, unit in _UNITS.items():
            if name in values:
                values[name] = _quantity(values[name], unit, name)
        if "box" in values:
            values["box"] = _edges(values["box"])
        values.setdefault("timestep", _LONG_STEP if values.get("hydrogen_mass", 0.0) >= 2.9 else _PLAIN_STEP)
        made = cls(**values)
        made._require_possible()
        return made

    def _require_possible(self) -> None:
        """Refuse what no files could make right."""
        if self.water is not None and self.water not in WATERS:
            near = nearest(self.water, WATERS)
            raise InputError(f"--water {self.water} must be one of {', '.join(WATERS)}; did you mean {near!r}?")
        if self.box_shape not in BOXES:
            raise InputError(f"--box-shape {self.box_shape} must be one of {', '.join(BOXES)}")
        if not _COLDEST <= self.temperature <= _HOTTEST:
            raise InputError(f"--temperature {self.temperature:g} K must lie between {_COLDEST:g} and {_HOTTEST:g} K")
        if not 0.0 <= self.ph <= 14.0:
            raise InputError(f"--ph {self.ph:g} must lie between 0 and 14")
        self._require_masses()
        if bool(self.state_a) != bool(self.state_b):
            raise InputError("give both --state-a and --state-b, or none of them and fill the states in afterwards")

    def _require_masses(self) -> None:
        """Refuse masses of hydrogen, and time steps for them, that dynamics does not stand."""
        mass = _HYDROGEN if self.hydrogen_mass is None else self.hydrogen_mass
        if not _HYDROGEN <= round(mass, 3) <= _HEAVIEST:
            raise InputError(
                f"--hydrogen-mass {mass:g} Da must lie between {_HYDROGEN:g} and {_HEAVIEST:g} Da: it is taken from the atom "
                'that the hydrogen is bound to; --hydrogen-mass "3 Da" allows steps of 4 fs'
            )

    @property
    def words(self) -> dict[str, str]:
        """Quantities that go into the configuration, with their units."""
        return {
            "temperature": f"{self.temperature:g} K",
            "friction": f"{self.friction:g} 1/ps",
            "timestep": f"{1000.0 * self.timestep:g} fs",
        }


def _quantity(text: str | float, unit: u.Unit, name: str) -> float:
    """A quantity of an option, which must be positive, or at least 0."""
    option = f"--{name.replace('_', '-')}"
    value = parse_quantity(text, unit, option)
    if value < 0.0 or (value == 0.0 and name not in _MAY_BE_ZERO):
        raise InputError(f"{option} = {text!r} must be {'at least 0' if name in _MAY_BE_ZERO else 'positive'}")
    return value


def _edges(text: str) -> tuple[float, ...]:
    """Edges of a box in nm from "2.6 nm" or "2.6 nm, 3 nm, 3 nm"; none from "none"."""
    if text.strip().lower() == "none":
        return ()
    parts: Sequence[str] = text.split(",")
    edges = [_quantity(part.strip(), u.nanometer, "box") for part in parts]
    if len(edges) not in (1, 3) or not all(map(math.isfinite, edges)):
        raise InputError(f'--box {text!r} must be one edge or three, as "3 nm" or "3 nm, 3 nm, 4 nm", or none')
    return tuple(edges * 3 if len(edges) == 1 else edges)
