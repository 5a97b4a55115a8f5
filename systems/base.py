"""What a rare-event problem consists of: a system, two states, and the dynamics whose rate is asked for."""

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import unit as u

from openmm_rare.disjoint import require_something_between
from openmm_rare.errors import InputError
from openmm_rare.nearest_image import box_vectors
from openmm_rare.region_text import region_text, values_text
from openmm_rare.states import IN_A, IN_B, Channels, CollectiveVariable, CollectiveVariables, Region, States
from openmm_rare.units import KB, in_md_units, lengths_in_nm, whole_number

EV: float = 96.48533
"""One electronvolt per particle in kJ/mol."""


_UNITS = {"temperature": u.kelvin, "friction": u.picosecond**-1, "timestep": u.picosecond}


@dataclass(frozen=True)
class ReducedUnits:
    """Units in which a model system is usually quoted.

    Attributes
    ----------
    energy : float
        kJ/mol.
    length : float
        nm.
    time : float
        ps.
    """

    energy: float
    length: float
    time: float


@dataclass(frozen=True, eq=False)
class RareEventSystem:
    """A system, its states A and B, and its overdamped dynamics at one temperature.

    Attributes
    ----------
    name : str
    system : openmm.System
        One copy; every force in force group 0.
    positions : ndarray of shape (n_atoms, 3)
        A configuration in A, nm.
    states : States
    temperature : float
        K. This and the next two may be given as quantities and are stored as floats.
    friction : float
        1/ps.
    timestep : float
        ps.
    num_dimensions : int
        1, 2 or 3: motion along x, in the xy plane, or everywhere. The other coordinates never change.
    check_interval : int
        Steps between two tests of the states, which is part of the definition of the rate.
    inertial : bool
        Langevin dynamics with momenta, for path sampling, instead of overdamped dynamics, which rates need.
    descriptor : dict, optional
        For ``openmm_rare.descriptors.build_descriptor``; see :meth:`descriptor_spec` for the default.
    reduced : ReducedUnits, optional
    topology : openmm.app.Topology, optional
    initial_path : Path, optional
        A file with a path from A to B, which path sampling starts from unless told otherwise: ``.npz`` with ``positions``.
    parameters : dict
        Arguments of its builder that were chosen to suit the temperature, and belong to the definition of the states.
    notes : str
        Where the system comes from.

    Raises
    ------
    ValueError
        If a number is out of range, a force is outside force group 0, or the positions do not lie in A alone.
    """

    name: str
    system: openmm.System
    positions: np.ndarray
    states: States
    temperature: float
    friction: float
    timestep: float
    num_dimensions: int = 3
    check_interval: int = 1
    inertial: bool = False
    descriptor: dict[str, Any] | None = None
    reduced: ReducedUnits | None = None
    topology: Any = field(default=None, repr=False)
    initial_path: Path | None = field(default=None, repr=False)
    parameters: dict[str, Any] = field(default_factory=dict)
    notes: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.system, openmm.System):
            raise InputError(f"system must be an openmm.System, not {type(self.system).__name__}")
        for name, unit in _UNITS.items():
            value = in_md_units(getattr(self, name), unit, name)
            if value <= 0:
                raise InputError(f"{name} = {value} {unit.get_symbol()} must be positive")
            object.__setattr__(self, name, value)
        if self.num_dimensions not in (1, 2, 3):
            raise InputError(f"num_dimensions = {self.num_dimensions} must be 1, 2 or 3")
        object.__setattr__(self, "check_interval", whole_number(self.check_interval, "check_interval", "steps"))
        require_something_between(self.states.variables, self.states.a, self.states.b)
        self._check_forces()
        self._check_boxes()
        self._check_positions()

    def _check_forces(self) -> None:
        for force in self.system.getForces():
            if force.getForceGroup() != 0:
                raise InputError(
                    f"{force.getName()} is in force group {force.getForceGroup()}; physical forces belong in group 0, "
                    "the others are for the bias: call setForceGroup(0)"
                )

    def _check_boxes(self) -> None:
        own = box_vectors(self.system.getDefaultPeriodicBoxVectors(), "the box of the System")
        for variable in self.states.variables.variables:
            box = getattr(variable, "box", None)
            if box is None:
                continue
            if not self.system.usesPeriodicBoundaryConditions():
                raise InputError(f"variable {variable.name!r} has a box, but the System has no periodic boundaries: remove it")
            if not np.allclose(box, own, rtol=1e-6, atol=1e-6):
                raise InputError(
                    f"variable {variable.name!r} has the box {box.tolist()}, the System {own.tolist()} (nm): give it "
                    "system.getDefaultPeriodicBoxVectors()"
                )

    def _check_positions(self) -> None:
        positions = np.array(self.positions, dtype=np.float64)
        expected = (self.system.getNumParticles(), 3)
        if positions.shape != expected or not np.isfinite(positions).all():
            raise InputError(f"positions must be finite numbers (nm) of shape {expected}, not of {positions.shape}")
        object.__setattr__(self, "positions", positions)
        try:
            status = self.states.classify(positions[None])[0]
        except IndexError as error:
            raise InputError(
                f"a collective variable names an atom that does not exist: the system has {len(positions)} atoms, numbered "
                f"from 0 ({error})"
            ) from error
        if status != IN_A:
            where = "in B" if status == IN_B else "in neither state"
            variables = self.states.variables
            values, region = values_text(variables, variables(positions[None])[0]), region_text(self.states.a, variables)
            raise InputError(f"positions must lie in A, but are {where}: {values}; A is {region}")

    @classmethod
    def from_openmm(
        cls,
        system: openmm.System,
        positions: Any,
        state_a: Region,
        state_b: Region,
        variables: CollectiveVariables | CollectiveVariable | list[CollectiveVariable],
        temperature: float | u.Quantity,
        friction: float | u.Quantity,
        timestep: float | u.Quantity,
        *,
        channels: Channels | None = None,
        name: str = "user",
        **options: Any,
    ) -> "RareEventSystem":
        """A problem of your own, from OpenMM objects.

        Parameters
        ----------
        system : openmm.System
        positions : Quantity or array_like of shape (n_atoms, 3)
            A configuration in A (nm without unit).
        state_a, state_b : Region
        variables : CollectiveVariables, or one CollectiveVariable or a list of them
            Everything that the regions refer to.
        temperature, friction, timestep : float or Quantity
            K, 1/ps and ps without unit.
        channels : Channels, optional
        name : str
        **options
            Further attributes of the class: num_dimensions, check_interval, descriptor, reduced, topology, notes.

        Raises
        ------
        ValueError
            As the class, and for quantities of the wrong unit.
        """
        return cls(
            name=name,
            system=system,
            positions=lengths_in_nm(positions, "positions"),
            states=States(variables, state_a, state_b, channels),
            temperature=temperature,
            friction=friction,
            timestep=timestep,
            **options,
        )

    @property
    def kt(self) -> float:
        """Thermal energy in kJ/mol."""
        return KB * self.temperature

    def with_temperature(self, temperature: float) -> "RareEventSystem":
        """The same problem at another temperature (K)."""
        return replace(self, temperature=temperature)

    def descriptor_spec(self) -> dict[str, Any]:
        """The descriptor, by default all pair distances, or the coordinates of a single particle."""
        if self.descriptor is not None:
            return self.descriptor
        if len(self.positions) == 1:
            return {"kind": "coordinates", "columns": list(range(self.num_dimensions)), "scale": 1.0}
        return {"kind": "pair_distances"}

    def _dynamics(self) -> dict[str, Any]:
        return {
            "friction_per_ps": self.friction,
            "timestep_ps": self.timestep,
            "num_dimensions": self.num_dimensions,
            "check_interval": self.check_interval,
        } | ({"inertial": True} if self.inertial else {})  # models of before it existed keep their fingerprint

    def describe(self) -> dict[str, Any]:
        """JSON-able summary: everything but the forces and positions, whose content the fingerprint stands for."""
        return {
            "name": self.name,
            "n_atoms": len(self.positions),
            "temperature_k": self.temperature,
            **self._dynamics(),
            "states": self.states.describe(),
            "descriptor": self.descriptor_spec(),
            "notes": self.notes,
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str:
        """SHA-256 of forces, states and dynamics, but not of the temperature: equal rates at equal temperature.

        Regions, variables and channels that are functions enter by name, not by content.
        """
        # The XML's version of OpenMM says nothing about the system.
        xml = re.sub(r'\sopenmmVersion="[^"]*"', "", openmm.XmlSerializer.serialize(self.system))
        content = json.dumps([xml, self.states.describe(), self._dynamics()], sort_keys=True)
        return hashlib.sha256(content.encode("utf8")).hexdigest()
