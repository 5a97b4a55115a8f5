"""The system of a configuration: built-in, from a function, or from the files of OpenMM."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openmm
from openmm import app
from openmm import unit as u

from ..errors import InputError
from ..io.files import resolved
from ..io.toml import Section
from ..problem import RareEventSystem
from ..states.states import States
from ..structure.box import other_box, structure_box
from ..structure.checks import require_openmm
from ..structure.files import read_structure, read_system, require_same_atoms
from ..structure.nearest_image import box_in_words
from ..trust.policy import Trust
from ..trust.user_code import faults_in
from ..trust.user_modules import import_function, import_modules

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SystemConfig"]

_QUANTITIES = {
    "temperature": ("temperature_k", u.kelvin, "K"),
    "friction": ("friction_per_ps", u.picosecond**-1, "1/ps"),
    "timestep": ("timestep_ps", u.picosecond, "ps"),
}
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class SystemConfig:
    """Where the system comes from (``name``, ``builder``, or ``xml`` with ``pdb``), and its dynamics.

    Attributes
    ----------
    name : str or None
        One of the built-in systems, or any name for a system of your own.
    builder : str or None
        ``"module:function"`` that returns a RareEventSystem, or ``(System, topology, positions)``.
    xml, pdb : str or None
        Serialized System, and a structure in A: PDB, or mmCIF where the name ends with .cif or .mmcif.
    more_starts : tuple of str
        Further structures in A, of the same atoms, in files like that of ``pdb``.
    imports : tuple of str
        The key ``import``: modules of plugins whose forces the System has, imported before it is read.
    box : str or None
        Which periodic box counts where that of the structure differs: "structure" or "system"; None: they must agree.
    parameters : dict
        Arguments of the built-in system or of the builder.
    temperature_k, friction_per_ps, timestep_ps : float or None
        Of the dynamics; None, here and below, leaves the choice to the built-in system or the builder.
    num_dimensions : int or None
        1, 2 or 3: motion along x, in the plane, or everywhere.
    check_interval : int or None
        Steps between two tests of the states.
    inertial : bool or None
        Langevin dynamics with momenta, and not overdamped.
    descriptor : dict or None
        What the network sees; None leaves the choice to the system.
    """

    name: str | None = None
    builder: str | None = None
    xml: str | None = None
    pdb: str | None = None
    more_starts: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    box: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    temperature_k: float | None = None
    friction_per_ps: float | None = None
    timestep_ps: float | None = None
    num_dimensions: int | None = None
    check_interval: int | None = None
    inertial: bool | None = None
    descriptor: Mapping[str, Any] | None = None

    @classmethod
    def parse(cls, section: Section, home: Path) -> SystemConfig:
        """From ``[system]``; file names are relative to `home`."""
        names = ("name", "builder", "xml", "pdb")
        others = ("num_dimensions", "check_interval", "inertial", "descriptor")
        section.check((), (*names, "more_starts", "import", "box", "parameters", *_QUANTITIES, *others))
        source = {key: section.text(key) for key in names}
        beside = [key for key in ("xml", "pdb") if source["builder"] is not None and source[key] is not None]
        if beside:
            raise InputError(
                f"section [system] has both builder and {' and '.join(beside)}; a builder returns System, topology and "
                f"positions itself: remove {' and '.join(beside)}, or the builder"
            )
        if (source["xml"] is None) != (source["pdb"] is None):
            raise InputError("section [system] needs both xml (the serialized System) and pdb (a structure in A)")
        if all(value is None for value in source.values()):
            raise InputError(
                'section [system] must give one of: name = "lj7" (the command `openmm-rare systems` lists them), '
                'builder = "module:function", or xml = "system.xml" with pdb = "start.pdb" (or .cif)'
            )
        more_starts = section.texts("more_starts") if "more_starts" in section else ()
        if more_starts and source["xml"] is None:
            raise InputError(
                "system.more_starts goes with xml and pdb; a builder returns a RareEventSystem with more_starts itself"
            )
        files = [(key, source[key]) for key in ("xml", "pdb")] + [("more_starts", name) for name in more_starts]
        for key, name in files:
            if name is not None and not (home / name).is_file():
                raise InputError(
                    f"system.{key} = {name!r} does not exist; looked for {resolved(home / name)} "
                    "(relative names start at the folder of the configuration)"
                )
        quantities = {name: section.number(key, unit) for key, (name, unit, _) in _QUANTITIES.items()}
        return cls(
            **source,
            **quantities,
            more_starts=more_starts,
            imports=section.texts("import") if "import" in section else (),
            box=_which_box(section),
            parameters=section.section("parameters").raw,
            num_dimensions=section.count("num_dimensions"),
            check_interval=section.count("check_interval"),
            inertial=section.flag("inertial", False) if "inertial" in section else None,
            descriptor=section.section("descriptor").raw or None,
        )

    @property
    def is_builtin(self) -> bool:
        """Whether ``name`` is one of the systems of this package."""
        return self.builder is None and self.xml is None

    def to_dict(self) -> dict[str, Any]:
        """For TOML: what is given, quantities with their units."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for key, (name, _, spelling) in _QUANTITIES.items():
            value = values.pop(name)
            values[key] = None if value is None else f"{value!r} {spelling}"
        values["import"] = values.pop("imports")
        return {key: value for key, value in values.items() if value not in (None, {}, ())}

    def build(self, folder: str, states: Callable[[app.Topology | None], States] | None, trust: Trust) -> RareEventSystem:
        """The system with its dynamics.

        Parameters
        ----------
        folder : str
            Where relative names start.
        states : callable or None
            Makes those of the configuration from the topology.
        trust : Trust
            What may run of the code that is named, or that the System holds.

        Raises
        ------
        ValueError
            If something is unknown, missing, unreadable, not trusted, or does not fit.
        """
        import_modules(self.imports, folder, trust)
        if self.is_builtin:
            from ..systems import BUILDERS, build

            if self.name not in BUILDERS:
                return build(self.name)  # raises, with the names that there are
            options = {"temperature": self.temperature_k}
            if self.temperature_k is None or {"temperature", "kt_over_epsilon"} & set(self.parameters):
                options = {}  # replaced afterwards
            return self._with_dynamics(self._call(BUILDERS[self.name], options), self.name)
        if self.builder is None:
            system, topology, positions = self._read_files(Path(folder), trust)
            return self._own(system, topology, positions, states, self._read_starts(Path(folder), system))
        made = self._call(import_function(self.builder, folder, "system.builder", trust), {})
        if isinstance(made, RareEventSystem):
            if states is not None:
                raise InputError(f"{self.builder} returns a system with its own states; remove the section [states]")
            return self._with_dynamics(made, self.builder)
        if not (isinstance(made, tuple) and len(made) == 3):
            raise InputError(
                f"{self.builder} must return a RareEventSystem or (openmm.System, topology, positions), "
                f"not {f'{len(made)} values' if isinstance(made, tuple) else type(made).__name__}"
            )
        return self._own(*made, states)

    def _call(self, builder: Callable[..., Any], options: Mapping[str, Any]) -> Any:
        """Call a builder with the parameters, after a check that it has them."""
        known = inspect.signature(builder).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
            Section(self.parameters, "system.parameters").check((), known)
        given = {**self.parameters, **{key: value for key, value in options.items() if key in known}}
        needed = [
            name for name, parameter in known.items() if parameter.default is parameter.empty and parameter.kind in _NAMED
        ]
        missing = [name for name in needed if name not in given]
        if missing:
            raise InputError(f"[system.parameters] lacks {', '.join(missing)}, which {self.builder or self.name} needs")
        with nullcontext() if self.builder is None else faults_in(f"system.builder = {self.builder!r} fails"):
            return builder(**given)

    def _own(
        self,
        system: openmm.System,
        topology: app.Topology | None,
        positions: Any,
        states_of: Callable[[app.Topology | None], States] | None,
        more_starts: Sequence[u.Quantity] = (),
    ) -> RareEventSystem:
        if states_of is None:
            raise InputError("the system needs its states: add [variables.NAME], [states.a] and [states.b]")
        states = states_of(topology)
        missing = [key for key, (name, _, _) in _QUANTITIES.items() if getattr(self, name) is None]
        if missing:
            raise InputError(f'section [system] lacks {", ".join(missing)}, e.g. temperature = "300 K"')
        require_openmm(system, topology)
        self._choose_box(system, topology)
        return RareEventSystem(
            name=self.name or "user",
            system=system,
            topology=topology,
            positions=positions,
            more_starts=more_starts,
            states=states,
            imports=self.imports,
            **self._dynamics(),
        )

    def _read_files(self, folder: Path, trust: Trust) -> tuple[openmm.System, app.Topology, u.Quantity]:
        xml, pdb = folder / self.xml, folder / self.pdb
        system = read_system(xml, self.imports, trust.everything)
        topology, positions = read_structure(pdb)
        require_same_atoms(system, xml, topology, pdb)
        return system, topology, positions

    def _read_starts(self, folder: Path, system: openmm.System) -> list[u.Quantity]:
        """Positions of the further structures in A."""
        found = []
        for path in (folder / name for name in self.more_starts):
            topology, positions = read_structure(path)
            require_same_atoms(system, folder / self.xml, topology, path)
            found.append(positions)
        return found

    def _choose_box(self, system: openmm.System, topology: app.Topology | None) -> None:
        """Give System and structure the same box, the one that is asked for.

        A System keeps the box that it was created with; a structure has that of the simulation that it was taken from.
        """
        if self.box == "structure":
            if not system.usesPeriodicBoundaryConditions():
                raise InputError('system.box = "structure", but the System has no periodic boundaries: remove it')
            box = structure_box(topology)
            if box is None:
                raise InputError(f'system.box = "structure", but {self.pdb or "the topology"} has no box: give box = "system"')
            system.setDefaultPeriodicBoxVectors(*box)
        boxes = other_box(topology, system)
        if boxes is None:
            return
        if self.box is None:
            theirs, own = (box_in_words(box) for box in boxes)
            names = (self.pdb, self.xml) if self.builder is None else (f"the topology of {self.builder}", "its System")
            raise InputError(
                f"{names[0]} has the box {theirs}, {names[1]} {own}, as it was created with: constant pressure changes a box "
                'afterwards. Say which is right in [system]: box = "structure" or box = "system"'
            )
        topology.setPeriodicBoxVectors(system.getDefaultPeriodicBoxVectors())

    def _with_dynamics(self, problem: RareEventSystem, source: str) -> RareEventSystem:
        if self.box is not None:
            raise InputError(f"system.box = {self.box!r}, but {source} brings its own box: remove it")
        return replace(problem, imports=(*problem.imports, *self.imports), **self._dynamics())

    def _dynamics(self) -> dict[str, Any]:
        """What is given of the dynamics, under the names that RareEventSystem has."""
        values = {
            "temperature": self.temperature_k,
            "friction": self.friction_per_ps,
            "timestep": self.timestep_ps,
            "num_dimensions": self.num_dimensions,
            "check_interval": self.check_interval,
            "inertial": self.inertial,
            "descriptor": None if self.descriptor is None else dict(self.descriptor),
        }
        return {key: value for key, value in values.items() if value is not None}


def _which_box(section: Section) -> str | None:
    box = section.text("box")
    if box not in (None, "structure", "system"):
        raise InputError(f'system.box = {box!r} must be "structure" or "system"')
    return box
