"""Two model systems for learned actions, in reduced units: nm, Da, kJ/mol and ps stand for 1 of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import openmm

from openmm_rare.action.features.pair_types import PairTypes
from openmm_rare.units import KB

SPACING = 6.0  # of the sites of the chain


class Model(NamedTuple):
    """A System, where its dynamics begins, and how its pairs are typed."""

    system: openmm.System
    positions: np.ndarray
    types: PairTypes
    kt: float
    fine: float
    num_dimensions: int
    hotter: float
    features: dict[str, object]

    @property
    def temperature(self) -> float:
        """K."""
        return self.kt / KB


def chain() -> Model:
    """Eight sites between fixed ends, with cubic and quartic bonds (Fermi, Pasta, Ulam and Tsingou 1955)."""
    system, positions = openmm.System(), np.zeros((10, 3))
    positions[:, 0] = SPACING * np.arange(10)
    for mass in (0.0, *[1.0] * 8, 0.0):
        system.addParticle(mass)
    bonds = openmm.CustomBondForce(f"d^2/2+d^3/12+d^4/16;d=r-{SPACING}")
    pairs = np.array([(number, number + 1) for number in range(9)])
    for one, other in pairs:
        bonds.addBond(int(one), int(other))
    system.addForce(bonds)
    types = PairTypes(np.zeros(10, dtype=int), pairs, np.zeros(9, dtype=int))
    return Model(system, positions, types, 1.0, 0.05, 1, 1.8, {"basis": "polynomial", "orders": (6, 5, 4)})


def discs() -> Model:
    """Seven Lennard-Jones discs in a plane, with momenta."""
    system = openmm.System()
    pairs = openmm.NonbondedForce()
    for _ in range(7):
        system.addParticle(1.0)
        pairs.addParticle(0.0, 1.0, 1.0)
    system.addForce(pairs)
    positions, angle = np.zeros((7, 3)), np.arange(6) * np.pi / 3
    positions[1:, :2] = 1.12 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Model(system, positions, PairTypes.of_system(system), 0.15, 0.005, 2, 1.5, {})
