r"""Overdamped Langevin dynamics, plain and biased with an exact path weight, as OpenMM ``CustomIntegrator``.

These are the readable specification of the dynamics: everything lives in the integrator's own expressions and variables,
the classes hold no Python state, and an integrator restored from XML (a plain ``CustomIntegrator``) is the same dynamics.

One step of both, per degree of freedom (Euler-Maruyama; mass m, friction :math:`\gamma`, time step :math:`\Delta t`):

.. math::
    x' = x + \frac{\Delta t}{\gamma m} f_0 + s\,(\xi + u), \qquad
    s = \sqrt{\frac{2 k_B T \Delta t}{\gamma m}}, \qquad \xi \sim N(0, 1)

with :math:`f_0` the forces of group 0 only, and u = 0 without bias. The bias force f of group `bias_group` shifts the noise,

.. math::
    u = \min\left[u_\mathrm{max}, \max\left(-u_\mathrm{max}, \alpha \frac{\Delta t}{\gamma m s} f\right)\right], \qquad
    \Delta \ln w = -u \xi - u^2 / 2 ,

where w is the exact likelihood ratio unbiased/biased of the path in discrete time (Girsanov), for every u that is known
before the noise is drawn. u is exactly 0, and ln w does not change at all, where the bias force is 0.

With constraints, each step ends with the correction of OpenMM that makes the positions satisfy them again. It takes back
what of a shift is normal to the surface of the constraints, which would change nothing but the weight. So u is projected on
that surface first, in coordinates weighted by :math:`\sqrt m`, where the noise is the same in all directions:
:math:`u / \sqrt m` is treated as velocities, to which OpenMM applies the constraints at the present positions.

On the Reference and CPU platforms OpenMM draws from one random generator for the whole process, and every new Context
reseeds it with its integrator's seed: give every Context its own seed, and do not run two of them in threads.
"""

import re
from typing import Any

import openmm
from openmm import unit

from ..errors import InputError
from ..units import KB, in_md_units

# Without addUpdateContextState, which these integrators leave out, OpenMM would ignore these forces without a word.
_IGNORED_FORCES = (
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloMembraneBarostat,
    openmm.MonteCarloFlexibleBarostat,
    openmm.AndersenThermostat,
    openmm.CMMotionRemover,
)

MAX_SHIFT = 0.5
"""Default bound on the shift of the noise, in standard deviations."""

DRIFT = "dt/(friction*m)*f0"
"""What tells these integrators from others, also where XML has kept nothing but their expressions."""

_SPREAD = "sqrt(2*kT*dt/(friction*m))"
_SHIFT = "min(max_shift,max(-max_shift,strength*f{group}*sqrt(dt/(2*kT*friction*m))))"
_SHIFT_GROUP = r"max\(-max_shift,strength\*f(\d+)\*sqrt"


class OverdampedLangevinIntegrator(openmm.CustomIntegrator):
    """Unbiased overdamped Langevin dynamics under the forces of group 0.

    Global variables, settable later: ``kT`` (kJ/mol) and ``friction`` (1/ps). Velocities are not used.

    Parameters
    ----------
    temperature : Quantity or float
        In K, positive.
    friction : Quantity or float
        In 1/ps, positive.
    timestep : Quantity or float
        In ps, positive.
    num_dimensions : int
        1, 2 or 3 (default): only the first so many coordinates of each particle move.
    constrained : bool
        Apply the constraints of the System, which are ignored otherwise; in 3 dimensions only.

    Raises
    ------
    ValueError
        If an argument has the wrong unit, is not finite or is out of range.
    """

    def __init__(
        self, temperature: Any, friction: Any, timestep: Any, num_dimensions: int = 3, constrained: bool = False
    ) -> None:
        super().__init__(_positive(timestep, unit.picosecond, "timestep"))
        active = _add_dynamics(self, temperature, friction, num_dimensions, constrained)
        self.addComputePerDof("x", f"x+{active}({DRIFT}+{_SPREAD}*gaussian)")
        if constrained:
            self.addConstrainPositions()


class BiasedOverdampedLangevinIntegrator(openmm.CustomIntegrator):
    """Overdamped Langevin dynamics under group 0, its noise shifted along the forces of the bias group.

    Each velocity component holds the log weight of its own degree of freedom, because nothing else per degree of freedom
    is cheap to read: they are set and read by
    :mod:`openmm_rare.dynamics.path_weights`. So velocities and
    kinetic energy (defined as 0) have no other meaning here. On a GPU use precision "mixed" or "double", since in "single"
    the sum loses digits. Settable later: ``strength``, ``max_shift``, ``kT`` (kJ/mol), ``friction`` (1/ps).

    Parameters
    ----------
    temperature : Quantity or float
        In K, positive.
    friction : Quantity or float
        In 1/ps, positive.
    timestep : Quantity or float
        In ps, positive.
    num_dimensions : int
        1, 2 or 3 (default): only the first so many coordinates of each particle move and enter the weight.
    bias_group : int
        Force group of the bias, 1 (default) to 31.
    strength : float
        Factor of the shift, at least 0; 1 (default) adds the bias force in full, 0 not at all.
    max_shift : float
        Largest shift of the noise per degree of freedom, in standard deviations, positive (default 0.5). It costs
        efficiency, never correctness.
    mask_group : int, optional
        Another group, whose forces are 1 where the bias shifts the noise and 0 where it does not.
    constrained : bool
        Apply the constraints of the System, which are ignored otherwise; in 3 dimensions only. They may carry a shift from
        one particle to another and beyond `max_shift`.

    Raises
    ------
    ValueError
        If an argument has the wrong unit, is not finite or is out of range.
    """

    def __init__(
        self,
        temperature: Any,
        friction: Any,
        timestep: Any,
        num_dimensions: int = 3,
        bias_group: int = 1,
        strength: float = 1.0,
        max_shift: float = MAX_SHIFT,
        mask_group: int | None = None,
        constrained: bool = False,
    ) -> None:
        super().__init__(_positive(timestep, unit.picosecond, "timestep"))
        active = _add_dynamics(self, temperature, friction, num_dimensions, constrained)
        strength = in_md_units(strength, unit.dimensionless, "strength")
        if strength < 0:
            raise InputError(f"strength = {strength} is negative; allowed: 0 (no bias) or more, usually at most 1")
        if bias_group not in range(1, 32):
            raise InputError(f"bias_group = {bias_group!r}; allowed: 1 to 31, because group 0 holds the physical forces")
        if mask_group is not None and (mask_group not in range(1, 32) or mask_group == bias_group):
            raise InputError(f"mask_group = {mask_group!r}; allowed: 1 to 31, but not {bias_group}, which holds the bias")
        self.addGlobalVariable("strength", strength)
        self.addGlobalVariable("max_shift", _positive(max_shift, unit.dimensionless, "max_shift"))
        self.addPerDofVariable("y", 0.0)  # u + xi
        self.setKineticEnergyExpression("0")
        # A pass may use one force group only, and each pass costs a random number per degree of freedom: three passes are
        # the minimum. The first two find the same f, evaluated once, since x moves last. -u*xi - u^2/2 = -u*(y - u/2).
        shift = _SHIFT.format(group=bias_group)
        if mask_group is not None:
            self.addPerDofVariable("mask", 1.0)
            self.addComputePerDof("mask", f"f{mask_group}")
            shift = f"mask*{shift}"
        if constrained:
            self._add_constrained_steps(shift)
            return
        self.addComputePerDof("y", f"u+gaussian;u={shift}")
        self.addComputePerDof("v", f"v-{active}u*(y-0.5*u);u={shift}")
        self.addComputePerDof("x", f"x+{active}({DRIFT}+{_SPREAD}*y)")

    def _add_constrained_steps(self, shift: str) -> None:
        """One step with constraints: OpenMM projects velocities only, so the log weights make room for u/sqrt(m)."""
        self.addPerDofVariable("log_weight", 0.0)
        self.addComputePerDof("log_weight", "v")
        self.addComputePerDof("v", f"({shift})/sqrt(m)")
        self.addConstrainVelocities()
        self.addComputePerDof("y", "v*sqrt(m)+gaussian")
        self.addComputePerDof("v", "log_weight-u*(y-0.5*u);u=v*sqrt(m)")
        self.addComputePerDof("x", f"x+{DRIFT}+{_SPREAD}*y")
        self.addConstrainPositions()


def shifting_group(integrator: openmm.Integrator) -> int | None:
    """The force group by which an integrator shifts the noise, also of one that XML brought back; None: it shifts none."""
    if isinstance(integrator, openmm.CustomIntegrator):
        steps = (integrator.getComputationStep(step)[2] for step in range(integrator.getNumComputations()))
        found = [int(group) for expression in steps for group in re.findall(_SHIFT_GROUP, expression)]
        return found[0] if found else None
    return None


def check_system(system: openmm.System, bias_group: int | None = None, num_dimensions: int = 3) -> None:
    """Refuse a System that the overdamped integrators would not simulate as it stands.

    Parameters
    ----------
    system : openmm.System
        The System of the Context, copies of walkers and bias force included.
    bias_group : int, optional
        The force group of the bias, if there is one.
    num_dimensions : int
        Dimensions in which particles move.

    Raises
    ------
    ValueError
        If there are constraints on particles that move in fewer than 3 dimensions, forces outside group 0 and the bias
        group, or forces that act through the Context's state update (barostats, thermostats, removers of center-of-mass
        motion).
    """
    if system.getNumConstraints() and num_dimensions != 3:
        raise InputError(
            f"the System has {system.getNumConstraints()} constraints, which OpenMM can apply to particles that move in 3 "
            f"dimensions only, and num_dimensions = {num_dimensions}; set it to 3, or build the System without constraints"
        )
    for index, force in enumerate(system.getForces()):
        label = f"force {index} ({force.getName()})"
        if isinstance(force, _IGNORED_FORCES):
            raise InputError(f"{label} would have no effect in overdamped dynamics; remove it from the System")
        if force.getForceGroup() not in (0, bias_group):
            raise InputError(
                f"{label} is in force group {force.getForceGroup()}, which is not integrated; physical forces belong in "
                f"group 0, the bias in {'a group passed as bias_group' if bias_group is None else bias_group}"
            )


def _add_dynamics(
    integrator: openmm.CustomIntegrator, temperature: Any, friction: Any, num_dimensions: int, constrained: bool
) -> str:
    """Add what both integrators share; returns the factor "active*" that keeps the other coordinates still, or ""."""
    integrator.addGlobalVariable("kT", KB * _positive(temperature, unit.kelvin, "temperature"))
    integrator.addGlobalVariable("friction", _positive(friction, unit.picosecond**-1, "friction"))
    if num_dimensions not in (1, 2, 3):
        raise InputError(f"num_dimensions = {num_dimensions!r}; allowed: 1, 2 or 3")
    if constrained and num_dimensions != 3:
        raise InputError(f"num_dimensions = {num_dimensions!r}; with constrained=True it must be 3")
    if num_dimensions == 3:
        return ""
    # Before there is a Context, OpenMM holds one vector for all particles, and spreads it when the Context is made. The
    # expression function vector() would do too, but on the Reference platform it cannot stand together with f0.
    active = integrator.addPerDofVariable("active", 1.0)
    integrator.setPerDofVariable(active, [openmm.Vec3(*(float(axis < num_dimensions) for axis in range(3)))])
    return "active*"


def _positive(value: Any, expected: unit.Unit, name: str) -> float:
    """`in_md_units`, positive."""
    result = in_md_units(value, expected, name)
    if result <= 0:
        raise InputError(f"{name} = {value} must be positive")
    return result
