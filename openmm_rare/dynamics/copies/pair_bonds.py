"""Forces between all pairs of particles as bonds, which stay within one copy of a System however many lie in the same place."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import openmm
from openmm import unit

__all__ = ["PAIR_FORCES", "cut_off", "pair_bonds", "plain_number"]

PAIR_FORCES: tuple[type, ...] = (openmm.NonbondedForce, openmm.CustomNonbondedForce)
"""Kinds of forces that become bonds."""

_COULOMB = 138.93545764438198  # 1/(4 pi epsilon_0) in kJ/mol nm/e^2, as in OpenMM


def pair_bonds(force: openmm.Force) -> list[tuple[openmm.CustomBondForce, float | None]]:
    """Bonds with the energy of a force of :data:`PAIR_FORCES` that is not periodic, each force with the cutoff of its bonds.

    A cutoff in nm is not in the expression of the energy: see :func:`cut_off`. The other things that OpenMM does at one, the
    reaction field and the switching function, are. Its long-range correction needs a box.
    """
    method = force.getNonbondedMethod()
    cutoff = None if method == type(force).NoCutoff else plain_number(force.getCutoffDistance())
    switch = plain_number(force.getSwitchingDistance()) if cutoff is not None and force.getUseSwitchingFunction() else None
    if isinstance(force, openmm.NonbondedForce):
        return _bonds_of_nonbonded(force, cutoff, switch)
    return [(_bonds_of_custom_nonbonded(force, cutoff, switch), cutoff)]


def cut_off(bonds: openmm.CustomBondForce, cutoff: float) -> None:
    """Write a cutoff in nm into the energy: bonds that are as long or longer have none."""
    energy = bonds.getEnergyFunction()
    within = _free_name("within", energy)
    bonds.setEnergyFunction(f"select(step(r-{cutoff!r}),0,{within});{within}={energy}")


def plain_number(value: Any) -> Any:
    """A quantity as a number in md units; anything else as it is."""
    return value.value_in_unit_system(unit.md_unit_system) if unit.is_quantity(value) else value


def _free_name(name: str, energy: str) -> str:
    """A name that does not occur in an energy."""
    while name in energy:
        name += "_"
    return name


def _switching(name: str, cutoff: float, switch: float) -> str:
    """The definition of the factor that takes an energy to zero, from the switching distance to the cutoff."""
    share = f"((r-{switch!r})/({cutoff!r}-{switch!r}))"
    return f"{name}=select(step(r-{switch!r}),1+{share}^3*(-10+{share}*(15-6*{share})),1)"


def _pair_force(source: openmm.Force, energy: str, parameters: list[str]) -> openmm.CustomBondForce:
    """An empty bond force with the name, group and global parameters of the force that it replaces."""
    result = openmm.CustomBondForce(energy)
    result.setName(source.getName())
    result.setForceGroup(source.getForceGroup())
    for name in parameters:
        result.addPerBondParameter(name)
    for i in range(source.getNumGlobalParameters()):
        result.addGlobalParameter(source.getGlobalParameterName(i), source.getGlobalParameterDefaultValue(i))
    return result


_OF_PAIR = ["charge_product", "sigma", "epsilon"]
_POINT_CHARGES = f"{_COULOMB}*charge_product/r"
_LENNARD_JONES = "4*epsilon*((sigma/r)^12-(sigma/r)^6)"


def _bonds_of_nonbonded(
    force: openmm.NonbondedForce, cutoff: float | None, switch: float | None
) -> list[tuple[openmm.CustomBondForce, float | None]]:
    """Coulomb and Lennard-Jones energy of all pairs that are no exception, and of the exceptions that do interact."""
    particles = [[plain_number(p) for p in force.getParticleParameters(i)] for i in range(force.getNumParticles())]
    exceptions = [[plain_number(p) for p in force.getExceptionParameters(i)] for i in range(force.getNumExceptions())]
    special = {(min(i, j), max(i, j)): tuple(parameters) for i, j, *parameters in exceptions}
    pairs = {}
    for i, j in combinations(range(len(particles)), 2):
        if (i, j) not in special:
            (q_i, sigma_i, epsilon_i), (q_j, sigma_j, epsilon_j) = particles[i], particles[j]
            pairs[i, j] = (q_i * q_j, 0.5 * (sigma_i + sigma_j), (epsilon_i * epsilon_j) ** 0.5)
    plain = f"{_POINT_CHARGES}+{_LENNARD_JONES}"
    if cutoff is None:
        return [(_with_bonds(_pair_force(force, plain, _OF_PAIR), special | pairs), None)]
    energy = _LENNARD_JONES if switch is None else f"switch*{_LENNARD_JONES};{_switching('switch', cutoff, switch)}"
    if any(charge_product for charge_product, _, _ in pairs.values()):
        energy = f"{_reaction_field(force, cutoff)}+{energy}"
    result = [(_with_bonds(_pair_force(force, energy, _OF_PAIR), pairs), cutoff)]
    if any(charge_product or epsilon for charge_product, _, epsilon in special.values()):
        result.append((_with_bonds(_pair_force(force, plain, _OF_PAIR), special), None))
    return result


def _reaction_field(force: openmm.NonbondedForce, cutoff: float) -> str:
    """Coulomb energy where a dielectric continuum lies beyond the cutoff."""
    dielectric = force.getReactionFieldDielectric()
    curvature = (dielectric - 1.0) / (2.0 * dielectric + 1.0) / cutoff**3
    shift = 3.0 * dielectric / (2.0 * dielectric + 1.0) / cutoff
    return f"{_COULOMB}*charge_product*(1/r+{curvature!r}*r^2-{shift!r})"


def _with_bonds(
    result: openmm.CustomBondForce, pairs: dict[tuple[int, int], tuple[float, float, float]]
) -> openmm.CustomBondForce:
    for (i, j), parameters in pairs.items():
        if parameters[0] or parameters[2]:
            result.addBond(i, j, parameters)
    return result


def _bonds_of_custom_nonbonded(
    force: openmm.CustomNonbondedForce, cutoff: float | None, switch: float | None
) -> openmm.CustomBondForce:
    """The same energy expression over bonds; the particle parameters name1, name2 become parameters of the bond."""
    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    renamed, energy = [name + side for side in "12" for name in names], force.getEnergyFunction()
    if switch is not None:
        factor, whole = _free_name("switch", energy), _free_name("whole", energy)
        energy = f"{factor}*{whole};{_switching(factor, cutoff, switch)};{whole}={energy}"
    result = _pair_force(force, energy, renamed)
    for i in range(force.getNumEnergyParameterDerivatives()):
        result.addEnergyParameterDerivative(force.getEnergyParameterDerivativeName(i))
    particles = [force.getParticleParameters(i) for i in range(force.getNumParticles())]
    excluded = {frozenset(force.getExclusionParticles(i)) for i in range(force.getNumExclusions())}
    for i, j in _interacting_pairs(force):
        if frozenset((i, j)) not in excluded:
            result.addBond(i, j, particles[i] + particles[j])
    return result


def _interacting_pairs(force: openmm.CustomNonbondedForce) -> list[tuple[int, int]]:
    """All pairs, or those of the interaction groups: once for every group, as in OpenMM."""
    if not force.getNumInteractionGroups():
        return list(combinations(range(force.getNumParticles()), 2))
    pairs = []
    for group in range(force.getNumInteractionGroups()):
        first, second = (set(particles) for particles in force.getInteractionGroupParameters(group))
        unique = {tuple(sorted((i, j))) for i in first for j in second if i != j}
        pairs += sorted(unique)
    return pairs
