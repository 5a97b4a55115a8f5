r"""A bias along a learned committor in a System of a user's own, as OpenMM's own ``Metadynamics`` is one along variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openmm
from openmm import app, unit

from ..committor.base import Committor
from ..descriptors.completed import completed
from ..dynamics import native, native_integrator
from ..dynamics.overdamped import shifting_group
from ..dynamics.path_weights import log_weights, restart_weights
from ..errors import InputError
from ..units import KB, in_md_units
from .force import auto_force, make_bias_force
from .importance import importance_of

__all__ = ["CommittorBias"]

_NAME = "CommittorBias"
_SAME = 1e-6
_FORCES = ("auto", "native", "python")
_BAROSTATS = (
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloFlexibleBarostat,
    openmm.MonteCarloMembraneBarostat,
)


class CommittorBias:
    r"""The energy :math:`U_b(x) = -2 s k_B T \ln I(x)`, added to a System, and the weights that undo it.

    I is the committor of a model, the probability to reach B before A, and s the strength; with s = 1 the drift along
    :math:`2 k_B T \nabla \ln I` is that of the trajectories which end in B. Make it before the Context or Simulation; the force
    takes the highest free force group.

    Which weight is right depends on the integrator:

    * Langevin dynamics of any kind, with or without momenta (``openmm.LangevinMiddleIntegrator``, ``BrownianIntegrator``,
      ``NoseHooverIntegrator``, :class:`~openmm_rare.dynamics.langevin.BAOABLangevinIntegrator`): a static bias, whose long
      trajectories sample :math:`e^{-(U + U_b)/k_B T}`. A *configuration* has the weight :math:`w(x) = e^{+U_b(x)/k_B T}`, up to
      a constant: ln w is :meth:`log_weight`, after any step, and averages are :math:`\sum w f / \sum w` over frames. It says
      nothing about how long a trajectory takes.
    * :class:`~openmm_rare.dynamics.biased_langevin.BiasedLangevinIntegrator` and
      :class:`~openmm_rare.dynamics.overdamped.BiasedOverdampedLangevinIntegrator` with ``bias_group=bias.group``: the bias
      shifts the noise. A *path* has a weight, unbiased over biased, that is exact for every time step: :meth:`log_path_weight`,
      since :meth:`begin_path`. Rates are made of these.

    Parameters
    ----------
    system : openmm.System
        The force is added to it.
    model : Committor
        Between two states, of all atoms of the System. It is copied.
    temperature : Quantity or float
        That of the dynamics, K.
    strength : float
        s, above 0 and at most 1.
    num_dimensions : int
        How many coordinates of each atom move.
    topology : openmm.app.Topology, optional
        Says which atoms are of one molecule, where the System has no bonds that do.
    force : str
        "native", the force of the plugin, "python", or "auto" for the plugin where it is there and knows the model.

    Attributes
    ----------
    force : openmm.Force
    group : int
        Force group of the bias.
    kt : float
        kJ/mol.

    Raises
    ------
    ValueError
        If the model does not fit the System or its periodic box, the box changes, an argument is out of range, or there is no
        free force group.

    Examples
    --------
    >>> bias = CommittorBias(system, load_committor("model.npz"), 300 * unit.kelvin)
    >>> simulation = app.Simulation(topology, system, openmm.LangevinMiddleIntegrator(300, 1, 0.002))
    >>> simulation.context.setPositions(positions)
    >>> simulation.step(100)
    >>> weight = np.exp(bias.log_weight(simulation.context))
    """

    def __init__(
        self,
        system: openmm.System,
        model: Committor,
        temperature: Any,
        *,
        strength: float = 1.0,
        num_dimensions: int = 3,
        topology: app.Topology | None = None,
        force: str = "auto",
    ) -> None:
        self.kt = KB * _temperature(temperature)
        if not 0.0 < strength <= 1.0:
            raise InputError(f"strength = {strength!r} must be above 0 and at most 1")
        if num_dimensions not in (1, 2, 3):
            raise InputError(f"num_dimensions = {num_dimensions!r} must be 1, 2 or 3")
        _require_fit(system, model, topology)
        self.group = _free_group(system)
        importance = importance_of(model, num_dimensions)
        kind = _kind_of(force, importance)
        self.force = make_bias_force(kind, importance, None, 1, strength * self.kt)
        self.force.setForceGroup(self.group)
        self.force.setName(_NAME)
        self._index = system.addForce(self.force)

    def energy(self, context: openmm.Context) -> float:
        """:math:`U_b` at the present positions, kJ/mol.

        Raises
        ------
        ValueError
            If the Context is of a System without this bias.
        """
        self._require_in(context.getSystem())
        return context.getState(energy=True, groups={self.group}).getPotentialEnergy()._value

    def log_weight(self, context: openmm.Context) -> float:
        """ln of the weight of the present configuration in an unbiased average, :math:`U_b / k_B T`, up to a constant.

        Raises
        ------
        ValueError
            If the bias of this Context is no static one at this temperature: its integrator leaves the force out, has another
            temperature, or shifts the noise.
        """
        integrator = context.getIntegrator()
        if shifting_group(integrator) is not None or isinstance(
            integrator, native_integrator.BiasedOverdampedLangevinIntegrator
        ):
            raise InputError("the integrator shifts the noise by the bias, which is no static one: ask log_path_weight")
        if not integrator.getIntegrationForceGroups() >> self.group & 1:
            raise InputError(f"the integrator leaves out the force group {self.group} of the bias: setIntegrationForceGroups")
        if hasattr(integrator, "getTemperature"):
            temperature = in_md_units(integrator.getTemperature(), unit.kelvin, "temperature")
            if abs(KB * temperature / self.kt - 1.0) > _SAME:
                raise InputError(f"the integrator has {temperature:g} K, the bias {self.kt / KB:g} K: give both the same")
        return self.energy(context) / self.kt

    def begin_path(self, context: openmm.Context) -> None:
        """From here on a path has a weight: see :meth:`log_path_weight`.

        Without momenta that sets velocities to zero, in whose place the weight is kept.

        Raises
        ------
        ValueError
            As :meth:`log_path_weight`.
        """
        self._require_shift(context)
        restart_weights(context)

    def log_path_weight(self, context: openmm.Context) -> float:
        """ln of the weight of the path since :meth:`begin_path`, unbiased over biased.

        Raises
        ------
        ValueError
            If the integrator does not shift the noise by the force group of this bias, or leaves out another force.
        """
        self._require_shift(context)
        return float(log_weights(context, 1)[0])

    def _require_shift(self, context: openmm.Context) -> None:
        """As :meth:`log_path_weight`."""
        if shifting_group(context.getIntegrator()) != self.group:
            raise InputError(
                "paths have a weight with BiasedLangevinIntegrator and BiasedOverdampedLangevinIntegrator only, made with "
                f"bias_group={self.group}: with other integrators ask log_weight"
            )
        system = context.getSystem()
        self._require_in(system)
        left_out = [force.getName() for force in system.getForces() if force.getForceGroup() not in (0, self.group)]
        if left_out:
            raise InputError(f"the integrator leaves out {left_out[0]}, which is in another force group: call setForceGroup(0)")

    def _require_in(self, system: openmm.System) -> None:
        mine = system.getForce(self._index) if self._index < system.getNumForces() else None
        if mine is None or (mine.getName(), mine.getForceGroup()) != (_NAME, self.group):
            raise InputError("the Context is of a System without this bias: make the CommittorBias first, and then the Context")


def _temperature(given: Any) -> float:
    """K."""
    temperature = in_md_units(given, unit.kelvin, "temperature")
    if temperature <= 0.0:
        raise InputError(f"temperature = {temperature} K must be positive")
    return temperature


def _require_fit(system: openmm.System, model: Committor, topology: app.Topology | None) -> None:
    """Refuse a model of other atoms, of more states, or of another periodic box."""
    if not isinstance(model, Committor):
        raise InputError(f"model must be a committor, as load_committor reads one, not {type(model).__name__}")
    if model.n_states != 2:
        raise InputError(f"a {model.title} between {model.n_states} states is no bias: it needs a model of two")
    if model.n_atoms != system.getNumParticles():
        raise InputError(f"the model is one of {model.n_atoms} atoms, the System has {system.getNumParticles()} particles")
    if _lacks_box(model.spec, completed(model.spec, system, topology)):
        raise InputError(
            "the descriptor of the model measures without a periodic box between molecules of a System that has one: train a "
            'model with box = "system" in its descriptor, or with box = "none" if that is meant'
        )
    changing = [force.getName() for force in system.getForces() if isinstance(force, _BAROSTATS)]
    if changing and _has_box(model.spec):
        raise InputError(f"{changing[0]} changes the periodic box, and the descriptor of the model measures in a fixed one")


def _lacks_box(given: Any, complete: Any) -> bool:
    """Whether a specification, or a part of it, has a box only when it is made complete."""
    if isinstance(given, Mapping):
        added = "box" in complete and "box" not in given
        return added or any(_lacks_box(value, complete[key]) for key, value in given.items() if key in complete)
    if isinstance(given, list | tuple):
        return any(map(_lacks_box, given, complete))
    return False


def _has_box(spec: Any) -> bool:
    """Whether a specification, or a part of it, measures in a box."""
    if isinstance(spec, Mapping):
        return spec.get("box", "none") != "none" or any(map(_has_box, spec.values()))
    return isinstance(spec, list | tuple) and any(map(_has_box, spec))


def _free_group(system: openmm.System) -> int:
    """The highest force group that no force is in."""
    free = set(range(32)) - {force.getForceGroup() for force in system.getForces()}
    if not free - {0}:
        raise InputError("all force groups of the System are taken: put some of its forces into one group")
    return max(free)


def _kind_of(force: str, importance: Any) -> str:
    """What evaluates the bias here."""
    if force not in _FORCES:
        raise InputError(f"force = {force!r} must be one of {', '.join(_FORCES)}")
    if force != "auto":
        return force
    return auto_force(importance) if native.plugin().platforms else "python"
