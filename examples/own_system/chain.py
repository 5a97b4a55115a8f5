"""A chain of four coarse-grained beads: stands for a small System of your own."""

import numpy as np
import openmm
from openmm import app, unit


def build() -> tuple[openmm.System, app.Topology, unit.Quantity]:
    """The System, its topology, and a structure in the trans state; config.toml could name this as ``chain:build``."""
    system, topology = openmm.System(), app.Topology()
    residue = topology.addResidue("CHN", topology.addChain())
    for i in range(4):
        system.addParticle(72.0 * unit.dalton)
        topology.addAtom(f"C{i + 1}", app.Element.getBySymbol("C"), residue)
    bonds, angles, torsion = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    for i in range(3):
        bonds.addBond(i, i + 1, 0.4, 2000.0)  # nm, kJ/mol/nm^2
    for i in range(2):
        angles.addAngle(i, i + 1, i + 2, np.radians(120.0), 100.0)
    torsion.addTorsion(0, 1, 2, 3, 1, 0.0, 3.0)  # favors trans over gauche
    torsion.addTorsion(0, 1, 2, 3, 3, 0.0, 12.5)  # three wells, barriers of about 26 kJ/mol
    for force in (bonds, angles, torsion):
        system.addForce(force)
    x, y = 0.4 * np.cos(np.radians(60.0)), 0.4 * np.sin(np.radians(60.0))
    trans = np.array([[0.0, 0.0, 0.0], [x, y, 0.0], [x + 0.4, y, 0.0], [2 * x + 0.4, 2 * y, 0.0]])
    return system, topology, trans * unit.nanometer


if __name__ == "__main__":  # python chain.py writes the files that config.toml reads
    system, topology, positions = build()
    with open("system.xml", "w", encoding="utf8") as stream:
        stream.write(openmm.XmlSerializer.serialize(system))
    with open("start.pdb", "w", encoding="utf8") as stream:
        app.PDBFile.writeFile(topology, positions, stream)
