r"""Langevin dynamics with momenta whose noise is shifted along a bias force, with the exact weight of every path.

A step is that of :class:`~openmm_rare.dynamics.langevin.BAOABLangevinIntegrator` under the forces of group 0, with other noise
(per degree of freedom; mass m, friction :math:`\gamma`, time step :math:`\Delta t`):

.. math::
    v' = a v + b\,(\xi + u), \qquad a = e^{-\gamma \Delta t}, \qquad b = \sqrt{(1 - a^2)\,k_B T / m}, \qquad \xi \sim N(0, 1)

    u = \min\left[u_\mathrm{max}, \max\left(-u_\mathrm{max}, \alpha \frac{\Delta t}{m b} f\right)\right], \qquad
    \Delta \ln w = -u \xi - u^2 / 2

with f the bias force where the step begins, known before the noise is drawn. All the rest of a step is a function of positions,
velocities and noise, constraints included, so that w is the likelihood ratio unbiased/biased of the path, whatever u is. A bias
force among those that kick would have no such ratio: a kick has no density of its own.

The noise that acts along a constraint is taken back by it, and a shift of it would change nothing but the weight. So u is
projected on the constraints first, in coordinates weighted by :math:`\sqrt m`, where the noise is the same in all directions.
Pushing costs :math:`f^2/(4 \gamma m k_B T)` nats per time: it pays where the thermostat is the main friction, in implicit
solvent, and not in water, whose own friction cannot be biased.
"""

from __future__ import annotations

from typing import Any

from openmm import unit

from ..errors import InputError
from ..units import in_md_units
from .langevin import BAOABLangevinIntegrator
from .overdamped import MAX_SHIFT

__all__ = ["LOG_WEIGHT", "BiasedLangevinIntegrator"]

LOG_WEIGHT = "log_path_weight"
"""Variable per degree of freedom, which tells this integrator from others, also where XML has kept nothing else."""

_SHIFT = "min(max_shift,max(-max_shift,strength*f{group}*sqrt(dt^2/((1-kept^2)*kT*m))))"


class BiasedLangevinIntegrator(BAOABLangevinIntegrator):
    """Langevin dynamics with momenta under group 0, its noise shifted along the forces of the bias group.

    The log weight of every degree of freedom is a variable of the integrator, which
    :mod:`openmm_rare.dynamics.path_weights` sets and sums over each walker. On a GPU use precision "mixed" or "double", since
    in "single" the sum loses digits. Settable later: ``strength``, ``max_shift``, ``kT`` (kJ/mol), ``friction`` (1/ps).

    Parameters
    ----------
    temperature : Quantity or float
        In K, positive.
    friction : Quantity or float
        In 1/ps, positive: without friction there is no noise to shift.
    timestep : Quantity or float
        In ps, positive.
    num_dimensions : int
        1, 2 or 3 (default): only the first so many coordinates of each particle move and enter the weight. Fewer than 3 are
        for Systems without constraints.
    virtual_sites : bool
        For Systems with virtual sites, as of :class:`~openmm_rare.dynamics.langevin.BAOABLangevinIntegrator`.
    bias_group : int
        Force group of the bias, 1 (default) to 31.
    strength : float
        Factor of the shift, at least 0; 1 (default) adds the bias force in full, 0 not at all.
    max_shift : float
        Largest shift of the noise per degree of freedom, in standard deviations, positive (default 0.5), before constraints
        carry it from one particle to another. It costs efficiency, never correctness.

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
        virtual_sites: bool = False,
        bias_group: int = 1,
        strength: float = 1.0,
        max_shift: float = MAX_SHIFT,
    ) -> None:
        self._begin(temperature, friction, timestep, num_dimensions, virtual_sites)
        if self.getGlobalVariableByName("friction") == 0.0:
            raise InputError("friction = 0 leaves no noise to shift: give a positive one, or use BAOABLangevinIntegrator")
        strength = in_md_units(strength, unit.dimensionless, "strength")
        max_shift = in_md_units(max_shift, unit.dimensionless, "max_shift")
        if strength < 0:
            raise InputError(f"strength = {strength} is negative; allowed: 0 (no bias) or more, usually at most 1")
        if max_shift <= 0:
            raise InputError(f"max_shift = {max_shift} must be positive")
        if bias_group not in range(1, 32):
            raise InputError(f"bias_group = {bias_group!r}; allowed: 1 to 31, because group 0 holds the physical forces")
        self.addGlobalVariable("strength", strength)
        self.addGlobalVariable("max_shift", max_shift)
        for name in ("shift", "noise", LOG_WEIGHT):
            self.addPerDofVariable(name, 0.0)
        # Forces of one group are kept until another group is asked for or positions change: those that the last kick has
        # evaluated serve the next one, and then those of the bias are asked for, before anything moves.
        self.addComputePerDof("v", f"v+0.5*dt*{self._active}f0/m")
        self.addComputePerDof("shift", _SHIFT.format(group=bias_group))
        self._drift("v")
        if num_dimensions == 3:
            self._project_shift()
        self.addComputePerDof("noise", "shift+gaussian")
        self.addComputePerDof(LOG_WEIGHT, f"{LOG_WEIGHT}-{self._active}shift*(noise-0.5*shift)")
        self._friction_and("noise")
        self._drift("v")
        self._last_kick("f0")

    def _project_shift(self) -> None:
        """OpenMM projects velocities only, which are the way covered over the time here, so that v is free."""
        self.addComputePerDof("v", "shift/sqrt(m)")
        self.addConstrainVelocities()
        self.addComputePerDof("shift", "v*sqrt(m)")
