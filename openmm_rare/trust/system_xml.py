"""XML of a System or an integrator, looked at before OpenMM reads it: what it holds is data, of types that are known.

OpenMM runs the program that a PythonForce holds while it reads it, and crashes where an object has the type of another kind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import escape

from ..errors import InputError, UntrustedCodeError
from ..io.regular_file import regular_file
from .policy import HOW_TO_TRUST

__all__ = ["FORCES", "FUNCTIONS", "INTEGRATORS", "checked_xml", "plugin_missing"]

FORCES: frozenset[str] = frozenset(
    """ATMForce AmoebaGeneralizedKirkwoodForce AmoebaMultipoleForce AmoebaTorsionTorsionForce AmoebaVdwForce
    AmoebaWcaDispersionForce AndersenThermostat CMAPTorsionForce CMMotionRemover CommittorForce ConstantPotentialForce
    CustomAngleForce CustomBondForce CustomCVForce CustomCentroidBondForce CustomCompoundBondForce CustomExternalForce
    CustomGBForce CustomHbondForce CustomManyParticleForce CustomNonbondedForce CustomTorsionForce CustomVolumeForce DrudeForce
    GBSAOBCForce GayBerneForce HarmonicAngleForce HarmonicBondForce HippoNonbondedForce LCPOForce MonteCarloAnisotropicBarostat
    MonteCarloBarostat MonteCarloFlexibleBarostat MonteCarloMembraneBarostat NonbondedForce OrientationRestraintForce
    PeriodicTorsionForce RBTorsionForce RGForce RMSDForce WalkerBondForce""".split()
)
"""Types of forces that hold data only: those of OpenMM 8.6 and its plugins but PythonForce, and those of this package."""

FUNCTIONS: frozenset[str] = frozenset(f"{kind}{n}DFunction" for kind in ("Continuous", "Discrete") for n in (1, 2, 3))
"""Types of tabulated functions."""

INTEGRATORS: frozenset[str] = frozenset(
    f"{kind}Integrator"
    for kind in """BiasedOverdampedLangevin Brownian Compound Custom DPD DrudeLangevin DrudeNoseHoover Langevin LangevinMiddle
    NoseHoover QTB VariableLangevin VariableVerlet Verlet""".split()
)
"""Types of integrators: those of OpenMM 8.6 and of this package."""

_MODULES = {"PlumedForce": "openmmplumed", "TorchForce": "openmmtorch", "XtbForce": "openmmxtb"}
"""Python modules of known plugins, by the type of force in XML."""

_LARGEST = 1 << 29  # bytes: a few million atoms
_BLOCK = 1 << 20  # bytes that are parsed at a time
_LONGEST = 1 << 22  # bytes of an element with its attributes, which expat begins again with each block
_DEEPEST = 32  # of elements within each other; OpenMM's own reader calls itself for each
_PLAIN_TYPE = re.compile(r"-?[0-9]+|[a-z]+")  # numbers and words that elements other than objects have as their type
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ENTITIES = {'"': "&quot;", "\n": "&#x0A;", "\r": "&#x0D;", "\t": "&#x09;"}
_KINDS = {"Force": FORCES, "Function": FUNCTIONS, "Integrator": INTEGRATORS}
_HOLDERS = {"Force": ("Forces", "CollectiveVariable", "Force"), "Function": ("Functions",), "Integrator": ("Integrator",)}
"""Elements that are objects, and what holds them."""
_WITH_FUNCTIONS = FORCES | INTEGRATORS


def checked_xml(path: Path, root: str = "System", trusted: bool = False) -> str:
    """The XML of an object, written anew from what was checked, so that OpenMM reads nothing else.

    Parameters
    ----------
    path : Path
    root : str
        What it must be: "System" or "Integrator".
    trusted : bool
        Whether it may hold programs, as a PythonForce does, and forces of any plugin.

    Raises
    ------
    ValueError
        If the file is too large, is no XML, holds another object than a System, or a type that may run a program.
    """
    reader = _Reader(path, root, trusted)
    where = reader.where
    if regular_file(path).stat().st_size > _LARGEST:
        raise InputError(f"{where} has more than {_LARGEST >> 20} MB: a System of so many atoms cannot be read")
    parser = expat.ParserCreate()
    parser.buffer_text = parser.ordered_attributes = True
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        with open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                parser.Parse(block, False)
                if stream.tell() - parser.CurrentByteIndex > _LONGEST:
                    raise InputError(f"{where} has an element of more than {_LONGEST >> 20} MB: OpenMM writes no such file")
                reader.join()
            parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where} is no serialized OpenMM object ({error})") from error
    return reader.text


def plugin_missing(xml: Path, kind: str, imported: Sequence[str] = ()) -> str:
    """What to say of a force of a plugin that is not loaded; `imported` are the modules of plugins that are."""
    needs = f"system.xml: {xml} needs the plugin that defines {kind!r}"
    if imported:
        return f"{needs}, which {', '.join(imported)} of system.import do not: add the Python module that does"
    return (
        f"{needs}: install it and name the Python module that loads it, e.g. [system] import = "
        f'["{_MODULES.get(kind, "module_of_the_plugin")}"]'
    )


class _Reader:
    """Checks elements as they come and writes them again; text between them says nothing in files of OpenMM."""

    def __init__(self, path: Path, root: str, trusted: bool) -> None:
        self._path, self._root, self._trusted = path, root, trusted
        self.where = f"{root.lower()}.xml: {path}"
        self._open: list[tuple[str, bool]] = []  # names of the elements that are open, and whether these can have functions
        self._parts, self._joined = ['<?xml version="1.0" ?>\n'], []

    def join(self) -> None:
        """Once in a while: a text takes as much memory as it is long, its parts many times that."""
        self._joined.append("".join(self._parts))
        self._parts.clear()

    @property
    def text(self) -> str:
        """All that was written again."""
        self.join()
        return "".join(self._joined)

    def doctype(self, *about: object) -> None:
        """What OpenMM never writes, and may be made to grow without end."""
        raise InputError(f"{self.where} is no serialized OpenMM object (it has a DOCTYPE)")

    def start(self, name: str, attributes: list[str]) -> None:
        """An element begins."""
        if not all(map(_NAME.fullmatch, (name, *attributes[::2]))):
            raise InputError(f"{self.where} is no serialized OpenMM object (it has the element {name[:60]!r})")
        if len(self._open) >= _DEEPEST:
            raise InputError(f"{self.where} has more than {_DEEPEST} elements within each other: OpenMM writes no such file")
        pairs = list(zip(attributes[::2], attributes[1::2], strict=True))
        kind = dict(pairs).get("type")
        if not self._open:
            self._check_root(name, kind)
        elif not self._trusted:
            self._check(name, kind)
        self._open.append((name, kind in _WITH_FUNCTIONS))
        written = "".join(f' {key}="{escape(value, _ENTITIES)}"' for key, value in pairs)
        self._parts.append(f"<{name}{written}>")

    def end(self, name: str) -> None:
        """An element ends."""
        self._open.pop()
        self._parts.append(f"</{name}>\n")

    def _check_root(self, name: str, kind: str | None) -> None:
        if kind is None:
            raise InputError(f"{self.where} is no serialized OpenMM object (it begins with {name[:60]!r})")
        known = {"System"} if self._root == "System" else INTEGRATORS
        if name != self._root or kind not in known and not (self._trusted and kind.endswith(self._root)):
            what = f"{name[:60]} of the type {kind[:60]}" if kind == self._root or name == self._root else kind[:60]
            raise InputError(f"{self.where} holds a {what}, not {'a System' if self._root == 'System' else 'an integrator'}")

    def _check(self, name: str, kind: str | None) -> None:
        """Refuse programs, and objects where OpenMM would take them for others, which crashes."""
        holder, has_functions = self._open[-1]
        if name == "Functions" and not has_functions:
            raise InputError(f"{self.where} has tabulated functions in {holder[:60]!r}: OpenMM writes no such file")
        if name not in _HOLDERS:
            fits = kind is None or _PLAIN_TYPE.fullmatch(kind)
        else:
            fits = holder in _HOLDERS[name] and (kind is None or kind in _KINDS[name])
            if name == "Force" and kind is not None and kind.endswith("Force") and kind not in FORCES:
                raise UntrustedCodeError(self._refusal(kind[:60]))
        if not fits:
            raise InputError(f"{self.where} has {name} of the type {(kind or '')[:60]!r} in {holder[:60]!r}: a damaged file")

    def _refusal(self, kind: str) -> str:
        """Of a force that may run a program."""
        if kind == "PythonForce":
            return f"{self.where} has a PythonForce, a program that runs as soon as it is read: {HOW_TO_TRUST}"
        return f"{plugin_missing(self._path, kind)}; forces of plugins may run programs: {HOW_TO_TRUST}"
