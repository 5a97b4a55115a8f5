"""The machine: where dynamics is computed and what moves the walkers there, chosen once, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import openmm

from ..bias.force import why_not
from ..dynamics import native
from ..dynamics.native_integrator import BiasedOverdampedLangevinIntegrator
from ..dynamics.platforms import platform_by_name
from ..errors import InputError
from ..structure.openmm_errors import naming_system

__all__ = ["BACKENDS", "Machine"]

BACKENDS: tuple[str, ...] = ("native", "python", "custom_integrator")
"""Ways to move walkers, fastest first; "python" is "custom_integrator" where the System has constraints, where forces act on
axes along which nothing moves, or where the bias force is not Python's."""

_PRECISIONS = ("single", "mixed", "double")


@dataclass(frozen=True)
class Machine:
    """Where dynamics is computed, and what moves the walkers there; one that cannot be used here is not made.

    Parameters
    ----------
    platform : str
        Name of the OpenMM platform.
    backend : str
        What moves walkers: one of :data:`BACKENDS`, or "auto", which becomes the fastest that can be used on the platform.
    threads : int
        Of each Context, on the platform CPU; 0: as many as OpenMM takes, one for each core.
    precision : str
        "single", "mixed" or "double", on platforms that have a choice.

    Raises
    ------
    ValueError
        If the platform or the backend does not exist or cannot be used, or a value is not one of those allowed.
    """

    platform: str = "Reference"
    backend: str = "auto"
    threads: int = 0
    precision: str = "mixed"

    def __post_init__(self) -> None:
        platform_by_name(self.platform)
        if self.precision not in _PRECISIONS:
            raise InputError(f"precision = {self.precision!r} is unknown; choose one of {', '.join(_PRECISIONS)}")
        if self.threads < 0:
            raise InputError(f"threads = {self.threads} must be at least 1, or 0 for one on each core")
        object.__setattr__(self, "backend", _usable(self.backend, self.platform))

    @classmethod
    def choose(cls, machine: Machine | str | None = None, backend: str = "auto") -> Machine:
        """The machine that somebody asks for.

        Parameters
        ----------
        machine : Machine or str, optional
            A name is that of an OpenMM platform; default: Reference, on which small Systems are fast.
        backend : str
            As of a machine; "auto" leaves it to the given one.

        Raises
        ------
        ValueError
            As when one is made, and if the given one has another backend.
        """
        if not isinstance(machine, Machine):
            return cls(machine or cls.platform, backend)
        if backend not in ("auto", machine.backend):
            raise InputError(f"backend = {backend!r}, but the given machine has {machine.backend!r}: choose one of the two")
        return machine

    @property
    def on_processor(self) -> bool:
        """Whether Contexts are made fast and may move at the same time, one thread each."""
        return self.platform in ("Reference", "CPU")

    @property
    def one_thread(self) -> Machine:
        """The same machine with one thread for each Context."""
        return replace(self, threads=1)

    def context(self, system: openmm.System, integrator: openmm.Integrator, what: str = "the System") -> openmm.Context:
        """A Context on this machine; with one thread forces are the same each time, bit for bit.

        Raises
        ------
        ValueError
            If OpenMM cannot make it; the message says of `what`.
        """
        platform = platform_by_name(self.platform)
        wanted = {"Precision": self.precision} | ({"Threads": str(self.threads)} if self.threads else {})
        if self.platform == "CPU" and self.threads == 1:  # PME has threads of its own, one for each core
            wanted["DeterministicForces"] = "true"
        properties = {key: value for key, value in wanted.items() if key in platform.getPropertyNames()}
        with naming_system(what, self.platform):
            return openmm.Context(system, integrator, platform, properties)


def _usable(backend: str, platform: str) -> str:
    """The backend, if it can be used on this OpenMM platform here; for "auto" the fastest that can."""
    if backend not in ("auto", *BACKENDS):
        raise InputError(f"backend {backend!r} is unknown; choose one of {', '.join(BACKENDS)}, or auto")
    if backend not in ("auto", "native"):
        return backend
    problem = _native_problem(platform)
    if problem is None:
        return "native"
    if backend == "native":
        raise InputError(f"the native backend cannot be used on platform {platform}: {problem} Or choose the backend python.")
    return "python"


def _native_problem(platform: str) -> str | None:
    """Why the native backend cannot be used on a platform, in a sentence; None if it can."""
    plugin = native.plugin()
    if platform not in plugin.platforms:
        return " ".join(plugin.problems) or f"the plugin serves {', '.join(plugin.platforms)} only."
    return _trial_step(platform) or why_not("native", platform) or None


@cache
def _trial_step(platform: str) -> str | None:
    """What goes wrong in a native step of a free particle, if anything does: kernels may be there and not run."""
    system = openmm.System()
    system.addParticle(1.0)
    integrator = BiasedOverdampedLangevinIntegrator(300.0, 1.0, 0.001, n_walkers=1, seed=1)
    try:
        context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
        context.setPositions(np.zeros((1, 3)))
        integrator.step(1)
    except openmm.OpenMMException as error:
        return f"a step of one particle failed ({error})."
    return None
