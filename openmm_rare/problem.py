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

from .descriptors.completed import completed
from .descriptors.default import DefaultDescriptor, default_descriptor
from .errors import InputError
from .states.disjoint import require_something_between
from .states.first_form import fingerprint_form
from .states.function_checks import require_atoms_exist, require_in_a, try_functions
from .states.states import Channels, CollectiveVariable, CollectiveVariables, Region, States
from .structure.bonds import bonds_of
from .structure.box import periodic_box, require_cutoffs_fit, require_same_box
from .structure.checks import checked_positions, checked_topology, require_physical_groups
from .structure.whole_molecules import whole_structure
from .trust.function_code import function_digest
from .trust.user_modules import import_modules
from .units import KB, lengths_in_nm, parse_quantity, whole_number

EV: float = 96.48533
"""One electronvolt per particle in kJ/mol."""


_UNITS = {"temperature": u.kelvin, "friction": u.picosecond**-1, "timestep": u.picosecond}


@dataclass(frozen=True)
class ReducedUnits:
    """Units in which a model system is usually quoted, in kJ/mol, nm and ps."""

    energy: float
    length: float
    time: float


@dataclass(frozen=True, eq=False)
class RareEventSystem:
    """A system, its states A and B, and its dynamics at one temperature.

    Attributes
    ----------
    name : str
    system : openmm.System
        One copy; every force in force group 0.
    positions : ndarray of shape (n_atoms, 3)
        A configuration in A, nm. Molecules that a periodic box has cut in two are made whole.
    more_starts : ndarray of shape (n, n_atoms, 3)
        Further configurations in A, as different as possible, that rates start from as well; none by default.
    states : States
        In a periodic System their variables between atoms use nearest images, unless they say ``box="none"``.
    temperature : float
        K. This and the next two may be given as quantities and are stored as floats.
    friction : float
        1/ps.
    timestep : float
        ps.
    num_dimensions : int
        1, 2 or 3: motion along x, in the xy plane, or everywhere. The other coordinates never change.
    check_interval : int
        Steps between two tests of the states, which is part of their definition, and so of the rate and of the committor. Paths
        are tested at their frames: path sampling takes it for the steps between two frames, unless it is 1.
    inertial : bool
        Langevin dynamics with momenta instead of overdamped dynamics; rates with it need a direction from A to B.
    descriptor : dict, optional
        For ``openmm_rare.descriptors.build.build_descriptor``; selections of atoms and lengths may be text, and the box of the
        System is filled in: see :meth:`descriptor_spec` for what it becomes and for the default.
    reduced : ReducedUnits, optional
    topology : openmm.app.Topology, optional
        Of the same particles and, where the System is periodic, with the same box, if it has one.
    initial_path : Path, optional
        A file with a path from A to B, which path sampling starts from unless told otherwise: ``.npz`` with ``positions``.
    imports : tuple of str
        Modules that know the forces of plugins in the System; other processes import them before they read it.
    parameters : dict
        Arguments of its builder that were chosen to suit the temperature, and belong to the definition of the states.
    notes : str
        Where the system comes from.
    repairs : tuple of str
        What was put right in what was given, in sentences.

    Raises
    ------
    ValueError
        If a number is out of range, a force is outside force group 0, boxes, atoms or a function of the user's do not fit
        the System, or the positions do not lie in A alone.
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
    imports: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    notes: str = ""
    repairs: tuple[str, ...] = ()
    more_starts: np.ndarray = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "topology", checked_topology(self.system, self.topology))
        for name, unit in _UNITS.items():
            value = parse_quantity(getattr(self, name), unit, name)
            if value <= 0:
                raise InputError(f"{name} = {value} {unit.get_symbol()} must be positive")
            object.__setattr__(self, name, value)
        if self.num_dimensions not in (1, 2, 3):
            raise InputError(f"num_dimensions = {self.num_dimensions} must be 1, 2 or 3")
        object.__setattr__(self, "check_interval", whole_number(self.check_interval, "check_interval", "steps"))
        require_something_between(self.states.variables, self.states.a, self.states.b)
        require_physical_groups(self.system)
        self._check_boxes()
        self._check_positions()

    def _check_boxes(self) -> None:
        require_cutoffs_fit(self.system)
        require_same_box(self.topology, self.system)
        object.__setattr__(self, "states", self.states.in_box(periodic_box(self.system)))

    def _check_positions(self) -> None:
        object.__setattr__(self, "positions", checked_positions(self.system, self.positions, "positions"))
        positions = self._whole(self.positions)
        object.__setattr__(self, "positions", positions)
        require_atoms_exist(self.states.variables, len(positions))
        try_functions(self.states, self.positions, self.num_dimensions)
        require_in_a(self.states, positions[None])
        more = [checked_positions(self.system, each, f"more_starts[{i}]") for i, each in enumerate(self.more_starts)]
        more = [self._whole(each) for each in more]
        object.__setattr__(self, "more_starts", np.array(more).reshape(len(more), *positions.shape))
        require_in_a(self.states, self.more_starts, "more_starts[{}]")

    def _whole(self, positions: np.ndarray) -> np.ndarray:
        """Positions with molecules that a periodic box has cut in two made whole."""
        box = periodic_box(self.system)
        if box is None:
            return positions
        whole, n_cut = whole_structure(positions, box, bonds_of(self.system, self.topology, self.positions, self.kt))
        if not n_cut:
            return positions
        repair = f"The structure was cut by its periodic box: {n_cut} bonds were made whole."
        object.__setattr__(self, "repairs", (*self.repairs, repair))
        return whole

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
            Further attributes of the class: num_dimensions, check_interval, inertial, descriptor, reduced, topology, imports,
            notes, more_starts.

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
    def starts(self) -> np.ndarray:
        """All configurations in A that rates start from, shape (n, n_atoms, 3), nm."""
        return np.concatenate([self.positions[None], self.more_starts])

    @property
    def kt(self) -> float:
        """Thermal energy in kJ/mol."""
        return KB * self.temperature

    def with_temperature(self, temperature: float) -> "RareEventSystem":
        """The same problem at another temperature (K)."""
        return replace(self, temperature=temperature)

    def with_check_interval(self, steps: int) -> "RareEventSystem":
        """The same problem with its states tested every so many steps."""
        return self if steps == self.check_interval else replace(self, check_interval=steps)

    def descriptor_spec(self) -> dict[str, Any]:
        """What the network sees, complete: see :func:`openmm_rare.descriptors.completed.completed`.

        The default is made by :func:`openmm_rare.descriptors.default.default_descriptor`: all pair distances of a small system,
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

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"system": openmm.XmlSerializer.serialize(self.system)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import_modules(state["imports"])  # without them XML with forces of plugins cannot be read
        self.__dict__.update(state, system=openmm.XmlSerializer.deserialize(state["system"]))

    def fingerprint(self) -> str:
        """SHA-256 of forces, states and dynamics, but not of the temperature: equal rates at equal temperature.

        Regions, variables and channels that are functions enter by their names and their code.
        """
        # The XML's version of OpenMM says nothing about the system, and a box that follows the System is in its XML.
        xml = re.sub(r'\sopenmmVersion="[^"]*"', "", openmm.XmlSerializer.serialize(self.system))
        states = fingerprint_form(self.states, self.system.usesPeriodicBoundaryConditions())
        code = {name: digest for name, each in self.states.functions().items() if (digest := function_digest(each))}
        content = json.dumps([xml, states, self._dynamics(), *([code] if code else [])], sort_keys=True)
        return hashlib.sha256(content.encode("utf8")).hexdigest()
