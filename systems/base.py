"""What a rare-event problem consists of: a system, two states, and the dynamics whose rate is asked for."""

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import unit as u

from openmm_rare.completed_descriptor import completed
from openmm_rare.default_descriptor import DefaultDescriptor, default_descriptor
from openmm_rare.errors import InputError
from openmm_rare.nearest_image import box_vectors
from openmm_rare.states import IN_A, IN_B, Channels, CollectiveVariable, CollectiveVariables, Region, States
from openmm_rare.units import KB, in_md_units

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
        For ``openmm_rare.descriptors.build_descriptor``; selections of atoms and lengths may be text, and the box of the System
        is filled in: see :meth:`descriptor_spec` for what it becomes and for the default.
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
        for name, unit in _UNITS.items():
            value = in_md_units(getattr(self, name), unit, name)
            if value <= 0:
                raise InputError(f"{name} = {value} {unit.get_symbol()} must be positive")
            object.__setattr__(self, name, value)
        if self.num_dimensions not in (1, 2, 3):
            raise InputError(f"num_dimensions = {self.num_dimensions} must be 1, 2 or 3")
        if not isinstance(self.check_interval, int) or self.check_interval < 1:
            raise InputError(f"check_interval = {self.check_interval} must be a whole number of steps, at least 1")
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
        status = self.states.classify(positions[None])[0]
        if status != IN_A:
            where = "in B" if status == IN_B else "in neither state"
            values = dict(zip(self.states.variables.names, self.states.variables(positions[None])[0], strict=True))
            raise InputError(f"positions must lie in A, but are {where}: {values}; A is {self.states.a.describe()}")

    @classmethod
    def from_openmm(
        cls,
        system: openmm.System,
        positions: Any,
        state_a: Region,
        state_b: Region,
        variables: CollectiveVariables | list[CollectiveVariable],
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
        variables : CollectiveVariables or list of CollectiveVariable
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
        if u.is_quantity(positions):
            positions = positions.value_in_unit(u.nanometer)
        if not isinstance(variables, CollectiveVariables):
            variables = CollectiveVariables(variables)
        return cls(
            name=name,
            system=system,
            positions=np.array(positions, dtype=np.float64),
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
        """What the network sees, complete: see :func:`openmm_rare.completed_descriptor.completed`.

        The default is made by :func:`openmm_rare.default_descriptor.default_descriptor`: all pair distances of a small system,
        the coordinates of a single particle, and of a larger system what its states are about.

        Raises
        ------
        ValueError
            If the descriptor does not fit the System, or there is none and none can be chosen.
        """
        return self._descriptor.spec

    @property
    def descriptor_note(self) -> str | None:
        """What was chosen by default for a larger system, in a sentence; None where nothing needs to be said."""
        return self._descriptor.note

    @property
    def default_in_descriptor(self) -> dict[str, Any] | None:
        """The complete descriptor where something of it was chosen here or follows from the System; None elsewhere."""
        plain = {"kind": "pair_distances"} if self.descriptor is None and len(self.positions) > 1 else self.descriptor
        changed = plain is not None and self.descriptor_spec() != plain
        return self.descriptor_spec() if changed else None

    @cached_property
    def _descriptor(self) -> DefaultDescriptor:
        made = DefaultDescriptor(self.descriptor)
        if self.descriptor is None:
            made = default_descriptor(self.system, self.topology, self.states, self.num_dimensions)
        return DefaultDescriptor(completed(made.spec, self.system, self.topology), made.note)

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
