"""A plugin of pytest: the tests of OpenPathSampling's engine for OpenMM run on ours (make test-ops).

Their integrator is a leapfrog, which ours refuses; BAOABLangevinIntegrator takes its place. Their tests of NaN expect rejected
trials, where ours stops the run.
"""

from typing import Any

import openmm
import openpathsampling.engines.openmm
from openmm import unit

from openmm_rare.dynamics.langevin import BAOABLangevinIntegrator
from openmm_rare.ops.engine import RareEventEngine


def _engine(
    topology: Any,
    system: openmm.System,
    integrator: openmm.Integrator,
    openmm_properties: dict[str, str] | None = None,
    options: dict[str, Any] | None = None,
) -> RareEventEngine:
    step = integrator.getStepSize().value_in_unit(unit.picosecond)
    return RareEventEngine(topology, system, BAOABLangevinIntegrator(300.0, 1.0, step), openmm_properties, options, "CPU")


openpathsampling.engines.openmm.Engine = _engine
