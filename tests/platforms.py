"""The OpenMM platforms of this machine. The name of a GPU's may have a precision after it, "OpenCL double"; mixed without."""

from functools import cache

import numpy as np
import openmm

ALL = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
NAMES = ["Reference", "CPU", "OpenCL", *(name for name in ("CUDA", "HIP") if name in ALL)]
IN_EVERY_PRECISION = ["Reference", "CPU", *(f"{name} {kind}" for name in NAMES[2:] for kind in ("single", "mixed", "double"))]


def make_context(system: openmm.System, integrator: openmm.Integrator, platform: str, positions: np.ndarray) -> openmm.Context:
    """A Context with one thread on the CPU platform."""
    name, precision = f"{platform} mixed".split()[:2]
    properties = {"Reference": {}, "CPU": {"Threads": "1"}}.get(name, {"Precision": precision})
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(name), properties)
    context.setPositions(np.reshape(positions, (-1, 3)))
    return context


@cache
def why_absent(platform: str) -> str:
    """Why there is no such platform, or an empty string if it works."""
    name = platform.split()[0]
    if name not in ALL:
        failures = [failure for failure in openmm.Platform.getPluginLoadFailures() if name in failure]
        return f"OpenMM has no {name} platform here: {failures[0] if failures else 'its plugin is not installed'}"
    system = openmm.System()
    system.addParticle(1.0)
    try:
        make_context(system, openmm.VerletIntegrator(0.001), platform, np.zeros(3))
    except openmm.OpenMMException as error:
        return f"the {platform} platform does not work here: {error}"
    return ""
