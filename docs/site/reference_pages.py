"""Pages that are made from the code when the site is built: settings, commands, and the interface of Python."""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import click

import openmm_rare
from openmm_rare.cli.main import main
from openmm_rare.config.run import SamplingConfig
from openmm_rare.config.system import SystemConfig
from openmm_rare.settings.action import ActionSettings
from openmm_rare.settings.barrier import BarrierSettings
from openmm_rare.settings.latent import LatentSettings
from openmm_rare.settings.paths import PathSettings
from openmm_rare.settings.rates import RateSettings

FOLDER = Path(__file__).resolve().parents[1] / "reference"

SECTIONS = {
    "system": (SystemConfig,),
    "sampling": (SamplingConfig, RateSettings),
    "path_sampling": (PathSettings,),
    "barrier": (BarrierSettings,),
    "latent": (LatentSettings,),
    "action": (ActionSettings,),
}
"""Dataclasses by the section of a configuration that they are read from."""

FACES = {
    "": "Rates, path sampling, and the problem they are of",
    "states": "Variables, regions and channels",
    "descriptors": "What a network sees",
    "committor": "Committors and their files",
    "bias": "From an importance function to a force",
    "dynamics": "Integrators",
    "mechanism": "What a committor says",
    "ops": "Classes for OpenPathSampling",
    "latent": "Coarse coordinates (experimental)",
    "action": "Long steps from a learned action (experimental)",
}
"""Packages with names for users, and what a page of the reference says of each."""

_TYPES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "tuple[int, ...]": "list of whole numbers",
    "tuple[float, ...]": "list of numbers",
    "tuple[str, ...]": "list of texts",
    "Mapping[str, Any]": "table",
}
_KEYS = {"temperature_k": "temperature", "friction_per_ps": "friction", "timestep_ps": "timestep", "imports": "import"}
_UNITS = {"temperature": 'text, "300 K"', "friction": 'text, "10 1/ps"', "timestep": 'text, "2 fs"'}


def meanings(settings):
    """What the docstring of a dataclass says of each field, by name."""
    lines = inspect.getdoc(settings).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("Attributes")) + 2
    found, names = {}, []
    for line in lines[start:]:
        if line.strip() and not line.startswith(" "):
            names = [name.strip() for name in line.partition(" :")[0].split(",")]
            found |= {name: "" for name in names}
        else:
            found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return found


def _default(field):
    value = field.default_factory() if field.default is dataclasses.MISSING else field.default
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value == "" or value == () or value == {}:
        return ""
    return f"`{list(value)}`" if isinstance(value, tuple) else f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def settings_page():
    """All sections of a configuration that have settings, with their keys."""
    lines = [
        "# Settings",
        "",
        "Every key of a configuration that stands for a number or a choice, with its default, as the code has it. Sections"
        " that say what the problem is, `[variables]`, `[states]`, `[channels]` and `[system.descriptor]`, are in"
        " [configuration files](../guide/configuration.md). In Python the classes have the same names.",
    ]
    for section, classes in SECTIONS.items():
        lines += ["", f"## [{section}]"]
        for settings in classes:
            said = meanings(settings)
            lines += ["", f"`{settings.__module__}.{settings.__name__}`", ""]
            lines += ["| key | | default | meaning |", "|---|---|---|---|"]
            for field in dataclasses.fields(settings):
                if field.name == "settings":
                    continue
                key = _KEYS.get(field.name, field.name)
                kind = _UNITS.get(key) or _TYPES[str(field.type).removesuffix(" | None")]
                text = re.sub(r":\w+:`~?([\w.]+)`", lambda match: f"`{match.group(1).rpartition('.')[2]}`", said[field.name])
                text = text.replace("``", "`").replace("|", "\\|")
                lines.append(f"| `{key}` | {kind} | {_default(field)} | {text} |")
    return "\n".join(lines) + "\n"


def _commands(command, name):
    """(name, command) of a command and all below it."""
    yield name, command
    for below in getattr(command, "commands", {}):
        yield from _commands(command.commands[below], f"{name} {below}")


def commands_page():
    """What each command says of itself with --help."""
    lines = ["# Command line", "", "What each command answers to `--help`."]
    for name, command in _commands(main, "openmm-rare"):
        context = click.Context(command, info_name=name, help_option_names=["-h", "--help"], terminal_width=88)
        lines += ["", f"## {name}", "", "```text", command.get_help(context), "```"]
    return "\n".join(lines) + "\n"


def _shared():
    """Names of ``openmm_rare`` that the page of another package tells, with that page."""
    pages = {}
    for face in FACES:
        for name in importlib.import_module(f"openmm_rare.{face}").__all__ if face else ():
            if name in openmm_rare.__all__:
                pages.setdefault(name, f"openmm_rare.{face}")
    return pages


def face_page(face, title):
    """The names of a package for users; each is told on one page, under the address that is shortest to import."""
    package = f"openmm_rare.{face}".rstrip(".")
    module, shared = importlib.import_module(package), _shared()
    lines = [package, "=" * len(package), "", f"{title}.", "", f".. module:: {package}", ""]
    elsewhere = [name for name in module.__all__ if shared.get(name, package) != package]
    for page in dict.fromkeys(shared[name] for name in elsewhere):
        links = ", ".join(f":py:obj:`{name} <openmm_rare.{name}>`" for name in elsewhere if shared[name] == page)
        lines += [f"* Told in :doc:`{page}`: {links}."]
    lines += [""]
    for name in module.__all__:
        if name not in elsewhere and not name.startswith("__"):
            kind = "class" if inspect.isclass(getattr(module, name)) else "function"
            members = ["   :members:", "   :show-inheritance:"] if kind == "class" else []
            lines += [f".. auto{kind}:: {'openmm_rare' if name in shared else package}.{name}", *members, ""]
    return "\n".join(lines) + "\n"


def write_pages(app, config):
    """Before pages are read."""
    FOLDER.mkdir(exist_ok=True)
    pages = {"settings.md": settings_page(), "commands.md": commands_page()}
    pages |= {f"{f'openmm_rare.{face}'.rstrip('.')}.rst": face_page(face, title) for face, title in FACES.items()}
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf8")


def setup(app):
    """For Sphinx."""
    app.connect("config-inited", write_pages)
    return {"parallel_read_safe": True}
