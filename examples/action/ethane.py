"""Ethane with flexible bonds (GAFF bonded terms, 1-4 pairs), for a learned action.

openmm-rare action train examples/action/ethane.toml --out runs/ethane
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import openmm
from openmm import app

from openmm_rare import Dihedral, Range, RareEventSystem

CARBON, HYDROGEN = 12.011, 1.008
_CC, _CH = (0.1535, 253634.0), (0.1092, 282252.0)
_CCH, _HCH = (np.radians(110.05), 388.3), (np.radians(108.35), 329.7)
_HYDROGENS = {0: (2, 3, 4), 1: (5, 6, 7)}


def system() -> openmm.System:
    """Two carbons and their six hydrogens."""
    made = openmm.System()
    for mass in (CARBON, CARBON, *[HYDROGEN] * 6):
        made.addParticle(mass)
    bonds, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    bonds.addBond(0, 1, *_CC)
    for carbon, own in _HYDROGENS.items():
        for hydrogen in own:
            bonds.addBond(carbon, hydrogen, *_CH)
            angles.addAngle(hydrogen, carbon, 1 - carbon, *_CCH)
        for one, other in combinations(own, 2):
            angles.addAngle(one, carbon, other, *_HCH)
    for one in _HYDROGENS[0]:
        for other in _HYDROGENS[1]:
            torsions.addTorsion(one, 0, 1, other, 3, 0.0, 0.6276)
    pairs = openmm.NonbondedForce()
    for number in range(8):
        pairs.addParticle(*((-0.0951, 0.34, 0.4577) if number < 2 else (0.0317, 0.26495, 0.06569)))
    pairs.createExceptionsFromBonds([bonds.getBondParameters(k)[:2] for k in range(7)], 0.8333, 0.5)
    for force in (bonds, angles, torsions, pairs):
        made.addForce(force)
    return made


def positions() -> np.ndarray:
    """Staggered, shape (8, 3), nm."""
    x = [[-0.0768, 0.0, 0.0], [0.0768, 0.0, 0.0]]
    for side, phase in ((-1, 0.0), (1, np.pi / 3)):
        for number in range(3):
            angle = phase + 2 * np.pi * number / 3
            across = 0.1092 * np.sin(np.radians(69.95))
            x.append([side * (0.0768 + 0.1092 * np.cos(np.radians(69.95))), across * np.cos(angle), across * np.sin(angle)])
    return np.array(x)


def topology() -> app.Topology:
    """Names and bonds."""
    made = app.Topology()
    residue = made.addResidue("ETH", made.addChain())
    atoms = [
        made.addAtom(f"{'C' if k < 2 else 'H'}{k}", app.element.carbon if k < 2 else app.element.hydrogen, residue)
        for k in range(8)
    ]
    for one, other in [(0, 1), *((c, h) for c, own in _HYDROGENS.items() for h in own)]:
        made.addBond(atoms[one], atoms[other])
    return made


def problem(temperature: float = 300.0) -> RareEventSystem:
    """From one staggered form to the next."""
    return RareEventSystem.from_openmm(
        system(),
        positions(),
        Range({"torsion": (0.7, 1.4)}),
        Range({"torsion": (2.8, -2.8)}),
        Dihedral("torsion", (2, 0, 1, 5)),
        temperature,
        1.0,
        0.00025,
        inertial=True,
        name="ethane",
        topology=topology(),
    )
