"""The bonds of many walkers as one native force, several walkers at a time: faster than OpenMM's, which goes bond by bond."""

from __future__ import annotations

from xml.etree import ElementTree as xml

import openmm

from ...errors import InputError
from .. import native

__all__ = ["WalkerBondForce", "can_be_native", "suits_native_bonds"]

_FEWEST = 8  # walkers; the native force does 32 at a time, in the time that OpenMM's takes for about five


def suits_native_bonds(platform: str, n_walkers: int) -> bool:
    """Whether the plugin computes bonds on this OpenMM platform, as on Reference and CPU, and faster for so many walkers."""
    if n_walkers < _FEWEST or not native.plugin().available:
        return False
    return openmm.Platform.getPlatformByName(platform).supportsKernels(["CalcWalkerBondForce"])


def can_be_native(force: openmm.Force) -> bool:
    """Whether :class:`WalkerBondForce` can compute what this force does."""
    return (
        type(force) is openmm.CustomBondForce
        and force.getNumBonds() > 0
        and force.getNumEnergyParameterDerivatives() == 0
        and not force.usesPeriodicBoundaryConditions()
    )


class WalkerBondForce(openmm.Force):
    """The energy of a ``CustomBondForce`` that has its bonds in every walker of a replicated System, by the native plugin.

    Parameters
    ----------
    bonds : openmm.CustomBondForce
        Of one walker, whose particles are counted from 0; it is copied, with its name and force group.
    n_walkers : int
        Copies in the System.
    cutoff : float, optional
        In nm: bonds that are as long or longer do not act. Where there are many, each walker has a list of its shorter ones,
        so that a step costs as much as the particles that are near, and not as all pairs.

    Raises
    ------
    ValueError
        If `bonds` is another force or a bond of it has too few or too many parameters, or `n_walkers` is not whole.
    openmm.OpenMMException
        If there are no bonds, a number is out of range, or the force is periodic or wants derivatives with respect to
        parameters; an energy that cannot be computed is found when a Context is made.
    RuntimeError
        If there is no plugin.
    """

    def __init__(self, bonds: openmm.CustomBondForce, n_walkers: int, cutoff: float | None = None) -> None:
        if not isinstance(bonds, openmm.CustomBondForce):
            raise InputError(f"bonds must be a CustomBondForce, not {type(bonds).__name__}")
        _require_parameters(bonds)
        n_walkers = native.whole_number(n_walkers, "n_walkers")
        group, name = str(bonds.getForceGroup()), bonds.getName()
        limit = {"version": "1"} if cutoff is None else {"version": "2", "cutoff": repr(float(cutoff))}
        root = xml.Element("Force", limit, type="WalkerBondForce", name=name, forceGroup=group, numWalkers=str(n_walkers))
        root.append(xml.fromstring(openmm.XmlSerializer.serialize(bonds)))
        self.this = native.make(xml.tostring(root, encoding="unicode")).this  # the pointer, and the ownership with it


def _require_parameters(bonds: openmm.CustomBondForce) -> None:
    """Refuse what the XML of the bonds would not tell, or drop."""
    needed = bonds.getNumPerBondParameters()
    for i in range(bonds.getNumBonds()):
        given = len(bonds.getBondParameters(i)[2])
        if given != needed:
            raise InputError(f"bond {i} has {given} parameters, but a bond of this force needs {needed}")
