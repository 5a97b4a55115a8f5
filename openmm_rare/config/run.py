"""The configuration of one run: TOML in, frozen dataclasses out, and back, and the system that it describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from openmm import unit as u

from ..descriptors.build import build_descriptor
from ..errors import InputError, MissingPackageError
from ..io.regular_file import regular_file
from ..io.toml import Section, read_toml, write_toml
from ..problem import RareEventSystem
from ..settings.action import ActionSettings
from ..settings.barrier import BarrierSettings
from ..settings.latent import LatentSettings
from ..settings.paths import PathSettings
from ..settings.rates import RateSettings
from ..settings.reading import read_settings
from ..trust.policy import Trust
from ..trust.user_modules import import_modules
from .earlier import with_block_ps
from .place import FROM_HERE, home_of, place_entries
from .states import build_states, read_states
from .system import SystemConfig
from .variable_fields import with_boxes

__all__ = ["RunConfig", "SamplingConfig", "SystemConfig", "build_system", "load_config", "parse_config"]

_HEADER = "# Every setting of the run, spelled out. Bare numbers are in nm, radians, or plain.\n"
_METHODS = ("importance", "brute_force", "barrier")
_WITHOUT_NETWORK = ("brute_force", "barrier")
_SELDOM = ("importance", "save_paths", "reverse", "backward")  # written where they say something
_OF_ENGINE = ("backend", "max_walker_steps", "save_paths", "reverse")  # options of the command line that are settings
_LARGEST = 1 << 25  # bytes of a configuration


@dataclass(frozen=True)
class SamplingConfig:
    """What to compute, how precisely, and every setting of the engine (section ``[sampling]``).

    Attributes
    ----------
    target_error : float
        Relative standard error at which to stop.
    seed : int
        Same seed, same result.
    platform : str
        Of OpenMM; for all commands.
    method : str
        "importance", "brute_force" or "barrier".
    importance : str
        A variable of the states that is the direction of splitting, instead of a model.
    no_reweighting : bool
        Also say what the model alone would give.
    backward : bool
        What a run says that was made by the ``reverse`` of another one: A and B are exchanged.
    settings : RateSettings
    """

    target_error: float = 0.1
    seed: int = 1
    platform: str = "Reference"
    method: str = "importance"
    importance: str = ""
    no_reweighting: bool = False
    backward: bool = False
    settings: RateSettings = field(default_factory=RateSettings)

    @classmethod
    def parse(cls, section: Section) -> SamplingConfig:
        """From ``[sampling]``, which holds the engine's settings too."""
        own = [f.name for f in fields(cls) if f.name != "settings"]
        section.check((), (*own, *(f.name for f in fields(RateSettings))))
        settings = read_settings(RateSettings, section, {"annealing": u.kelvin})
        method = section.text("method", cls.method)
        if method not in _METHODS:
            raise InputError(f"sampling.method = {method!r} must be one of {', '.join(_METHODS)}")
        return cls(
            check_target_error(section.number("target_error", None, cls.target_error), "sampling.target_error"),
            section.count("seed", cls.seed, least=0),
            section.text("platform", cls.platform),
            method,
            section.text("importance", cls.importance),
            section.flag("no_reweighting", cls.no_reweighting),
            section.flag("backward", cls.backward),
            RateSettings(**settings),
        )

    def to_dict(self) -> dict[str, Any]:
        """For TOML."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "settings"}
        values |= {f.name: getattr(self.settings, f.name) for f in fields(RateSettings)}
        values = {name: value for name, value in values.items() if value or name not in _SELDOM}
        values["annealing"] = [f"{temperature!r} K" for temperature in self.settings.annealing]
        return values


@dataclass(frozen=True)
class RunConfig:
    """A whole configuration.

    Attributes
    ----------
    folder : str
        Absolute; relative file names start here, and modules are looked up here first.
    file : str or None
        The file that it was read from, for messages.
    trust : Trust or None
        Which code may run, never part of the file; None: modules in `folder`.
    system : SystemConfig
    variables, states, channels : dict
        The sections of these names with numbers for quantities, as :class:`~openmm_rare.states.states.States` describe
        themselves, but for functions and selections of atoms, which are names; states and channels are None when the system
        brings its own.
    sampling : SamplingConfig
    path_sampling : PathSettings or None
        Of a run that samples paths, which takes seed and platform from `sampling`.
    barrier : BarrierSettings
        Of a rate by the method "barrier".
    latent : LatentSettings or None
        Of latent coordinates.
    action : ActionSettings or None
        Of a learned action, which takes seed and platform from `sampling`.
    """

    folder: str
    system: SystemConfig
    variables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    states: Mapping[str, Mapping[str, Any]] | None = None
    channels: Mapping[str, Any] | None = None
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    path_sampling: PathSettings | None = None
    barrier: BarrierSettings = field(default_factory=BarrierSettings)
    latent: LatentSettings | None = None
    action: ActionSettings | None = None
    file: str | None = field(default=None, compare=False, repr=False)
    trust: Trust | None = field(default=None, compare=False, repr=False)

    def to_toml(self, place: str | Path | None = None) -> str:
        """TOML with every setting spelled out; :func:`parse_config` turns it back into an equal object.

        For a file in the folder `place` it also says where the files lie from there, so that all may be moved together.
        """
        data: dict[str, Any] = {**place_entries(self.folder, place), "system": self.system.to_dict()}
        data |= {"variables": self.variables, "states": self.states or {}, "channels": self.channels or {}}
        data |= {} if self.latent is None else {"latent": self.latent.to_dict()}
        data |= {} if self.action is None else {"action": self.action.to_dict()}
        if self.path_sampling is None:
            own = {"barrier": self.barrier.to_dict()} if self.sampling.method == "barrier" else {}
            return _HEADER + write_toml(data | {"sampling": self.sampling.to_dict()} | own)
        data["sampling"] = {"seed": self.sampling.seed, "platform": self.sampling.platform}
        return _HEADER + write_toml(data | {"path_sampling": self.path_sampling.to_dict()})

    def with_options(self, temperature_k: float | None = None, **sampling: Any) -> RunConfig:
        """A copy with another temperature or other sampling options; None keeps what there is."""
        given = {key: value for key, value in sampling.items() if value is not None}
        if "target_error" in given:
            check_target_error(given["target_error"], "target_error")
        if "max_steps" in given:
            given["max_walker_steps"] = given.pop("max_steps")
        of_engine = {
            name: given.pop(name) for name in ("backend", "max_walker_steps", "save_paths", "reverse") if name in given
        }
        given["settings"] = replace(given.get("settings", self.sampling.settings), **of_engine)
        barrier = replace(self.barrier, **{name: given.pop(name) for name in ("along",) if name in given})
        system = self.system if temperature_k is None else replace(self.system, temperature_k=temperature_k)
        return replace(self, system=system, sampling=replace(self.sampling, **given), barrier=barrier)

    def expanded(self, problem: RareEventSystem) -> RunConfig:
        """A copy that spells out the problem that was built from it: dynamics, boxes, what its builder chose."""
        chosen = problem.parameters if self.system.is_builtin else {}
        sees = self.path_sampling is not None or not (self.sampling.method in _WITHOUT_NETWORK or self.sampling.importance)
        source = replace(
            self.system,
            parameters={**chosen, **self.system.parameters},
            name=self.system.name or problem.name,
            temperature_k=problem.temperature,
            friction_per_ps=problem.friction,
            timestep_ps=problem.timestep,
            num_dimensions=problem.num_dimensions,
            check_interval=problem.check_interval,
            inertial=problem.inertial or None,
            descriptor=(problem.default_in_descriptor if sees else None) or self.system.descriptor,
        )
        periodic = problem.system.usesPeriodicBoundaryConditions()
        return replace(self, system=source, variables=with_boxes(self.variables) if periodic else self.variables)


def check_target_error(value: float, name: str) -> float:
    """The value, if it can be a relative error.

    Raises
    ------
    ValueError
        If it is not between 0 and 1.
    """
    if not 0.0 < value < 1.0:
        raise InputError(f"{name} = {value!r} must be a relative standard error between 0 and 1, e.g. 0.1 for 10 %")
    return value


def load_config(path: str | Path, trust: bool = False, packages: Sequence[str] = ()) -> RunConfig:
    """Read a configuration file; nothing that it names is imported yet.

    Parameters
    ----------
    path : path
    trust : bool
        Whether all code that it names, and all that its System holds, may run. Otherwise only functions of modules that lie in
        the folder of the configuration may.
    packages : sequence of str
        Installed packages whose functions may run, too.

    Raises
    ------
    ValueError
        If it is no TOML or something in it is not understood; the message names key, section and what is allowed.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    if regular_file(path).stat().st_size > _LARGEST:
        raise InputError(f"{path} has more than {_LARGEST >> 20} MB: this is no configuration")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return replace(parse_config(text, path.parent, trust, packages), file=str(path))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: this is not text in UTF-8 ({error}): save it as UTF-8") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def parse_config(text: str, folder: str | Path, trust: bool = False, packages: Sequence[str] = ()) -> RunConfig:
    """A configuration from TOML text; relative names in it start at `folder`, where its own modules lie.

    Raises
    ------
    ValueError
        As :func:`load_config`.
    """
    top = Section(read_toml(text))
    top.check((), [FROM_HERE, *(f.name for f in fields(RunConfig) if f.name not in ("file", "trust"))])
    home = home_of(top, folder)
    system = SystemConfig.parse(top.section("system"), home)
    variables, states, channels = read_states(top, later=bool(system.imports))
    if system.is_builtin and (states or variables or channels):
        raise InputError(
            f"the built-in system {system.name!r} brings its own variables, states and channels; remove those "
            "sections, or describe a system of your own with builder, or xml and pdb"
        )
    if system.xml is not None and states is None:
        raise InputError("a system from xml needs its states: add [variables.NAME], [states.a] and [states.b]")
    sampling = SamplingConfig.parse(with_block_ps(top.section("sampling"), system.timestep_ps, of_run="folder" in top))
    section = top.section("path_sampling")
    path_sampling = PathSettings.parse(section) if section.raw else None
    trusted = Trust(str(Path(folder).resolve()), tuple(packages), trust)
    barrier = BarrierSettings.parse(top.section("barrier"))
    latent = LatentSettings.parse(top.section("latent")) if "latent" in top else None
    action = ActionSettings.parse(top.section("action")) if "action" in top else None
    parts = system, variables, states, channels, sampling, path_sampling, barrier, latent, action
    return RunConfig(str(home), *parts, trust=trusted)


def build_system(config: RunConfig) -> RareEventSystem:
    """The system, states and dynamics that a configuration describes.

    Raises
    ------
    ValueError
        If a built-in system, module or function is unknown, a file cannot be read, the states or the descriptor are not
        possible, the structure does not lie in A, or code would run that is not trusted.
    """
    states, trust = None, config.trust or Trust(config.folder)
    try:
        if config.states is not None:
            import_modules(config.system.imports, config.folder, trust)  # which may have kinds of variables
            tables = {"variables": config.variables, "states": config.states, "channels": config.channels or {}}
            states = partial(build_states, *read_states(Section(tables)), config.folder, trust)
        problem = config.system.build(config.folder, states, trust)
        if problem.descriptor is not None:
            build_descriptor(problem.descriptor_spec(), len(problem.positions))  # raises what is wrong with it
        return problem
    except (InputError, MissingPackageError) as error:
        if config.file is None or config.file in str(error):
            raise
        raise type(error)(f"{config.file}: {error}") from error
