"""Four beads in a row with one torsion, trans at 180 degrees and gauche at 60 and -60: inputs for faults of every kind."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import openmm
from openmm import app

from openmm_rare import Dihedral, Range, RareEventSystem

TRANS, GAUCHE = (2.617993877991494, -2.617993877991494), (-1.5707963267948966, 1.5707963267948966)

CONFIG = """
[system]
name = "chain"
builder = "MODULE:build"
temperature = "300 K"
friction = "5 1/ps"
timestep = "1 fs"
inertial = true

[variables.phi]
type = "dihedral"
atoms = [0, 1, 2, 3]

[states.a]
range = { phi = ["150 deg", "-150 deg"] }

[states.b]
range = { phi = ["-90 deg", "90 deg"] }

[path_sampling]
trials = 10
steps_per_frame = 10
storage = false
"""
"""What `tps` and `path` take; replace a line to make a fault."""


def positions() -> np.ndarray:
    """Trans, nm."""
    angle, bond = 1.95, 0.153
    dx, dy = bond * np.sin(angle / 2), bond * np.cos(angle / 2)
    return np.array([[i * dx, (i % 2) * dy, 0.0] for i in range(4)])


def topology() -> app.Topology:
    """One residue with its bonds."""
    made = app.Topology()
    residue = made.addResidue("BUT", made.addChain())
    atoms = [made.addAtom(f"C{i + 1}", app.element.carbon, residue) for i in range(4)]
    for one, other in zip(atoms[:-1], atoms[1:], strict=True):
        made.addBond(one, other)
    return made


def system(constrain: bool = False, barrier: float = 12.0, box: float | None = None) -> openmm.System:
    """Bonds, angles and a torsion; in a cubic box of that edge with an empty force that knows of periodic boundaries."""
    made = openmm.System()
    for _ in range(4):
        made.addParticle(14.0)
    bonds, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    for i in range(3):
        if constrain:
            made.addConstraint(i, i + 1, 0.153)
        else:
            bonds.addBond(i, i + 1, 0.153, 100000.0)
    for i in range(2):
        angles.addAngle(i, i + 1, i + 2, 1.95, 400.0)
    torsions.addTorsion(0, 1, 2, 3, 3, 0.0, barrier / 2)
    for force in (bonds, angles, torsions):
        made.addForce(force)
    if box is not None:
        made.setDefaultPeriodicBoxVectors(*(box * np.eye(3)))
        pairs = openmm.NonbondedForce()
        pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
        pairs.setCutoffDistance(0.45 * box)
        for _ in range(4):
            pairs.addParticle(0.0, 0.3, 0.0)
        made.addForce(pairs)
    return made


def problem(made: openmm.System | None = None, **options) -> RareEventSystem:
    """Trans to gauche, with momenta at 1 fs unless told otherwise."""
    given = {"temperature": 300, "friction": 5, "timestep": 0.001, "inertial": True, "topology": topology(), **options}
    return RareEventSystem.from_openmm(
        made or system(), positions(), Range({"phi": TRANS}), Range({"phi": GAUCHE}), [Dihedral("phi", (0, 1, 2, 3))], **given
    )


BUILDER = "import chain4\n\ndef build():\n    return chain4.system(), chain4.topology(), chain4.positions()\n"


def write(folder: Path, code: str = BUILDER, **lines: str) -> Path:
    """A configuration and its builder in a folder; `lines` replace keys of :data:`CONFIG`, as timestep='"20 fs"'."""
    module = re.sub(r"\W", "_", f"case_{folder.resolve()}")  # modules of equal name would be one in this process
    text = CONFIG.replace("MODULE", module)
    for key, value in lines.items():
        old = next(line for line in text.splitlines() if line.startswith(f"{key} ="))
        text = text.replace(old, f"{key} = {value}")
    (folder / f"{module}.py").write_text(code)
    (folder / "chain4.py").write_text(Path(__file__).read_text())
    (folder / "config.toml").write_text(text)
    return folder / "config.toml"
