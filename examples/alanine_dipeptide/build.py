"""Make the structures of systems/data: alanine dipeptide equilibrated in water, and a path from A to B at 400 K.

python build.py [--out ../../systems/data] [--seed 1] [--path-only | --dry-only]

About a quarter of an hour on one core. Nothing but OpenMM's own force fields goes in; other seeds give other structures.
"""

import argparse
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit
from tqdm import tqdm

from openmm_rare.dynamics.langevin import BAOABLangevinIntegrator
from openmm_rare.io.files import replacing
from openmm_rare.states.states import IN_A, IN_B
from openmm_rare.systems import alanine_dipeptide as alanine

# atom, and the three that its bond (nm), angle and dihedral (degrees) refer to: an extended L-alanine, then minimized
Z_MATRIX = [
    (1, (), ()),
    (4, (1,), (0.152,)),
    (6, (4, 1), (0.134, 116.0)),
    (5, (4, 6, 1), (0.123, 123.0, 180.0)),
    (7, (6, 4, 1), (0.101, 119.0, 0.0)),
    (8, (6, 4, 1), (0.146, 122.0, 180.0)),
    (14, (8, 6, 4), (0.153, 111.0, -80.0)),
    (10, (8, 6, 4), (0.153, 110.0, 158.0)),
    (9, (8, 6, 4), (0.109, 109.0, 40.0)),
    (16, (14, 8, 6), (0.134, 116.0, 150.0)),
    (15, (14, 16, 8), (0.123, 123.0, 180.0)),
    (17, (16, 14, 8), (0.101, 119.0, 0.0)),
    (18, (16, 14, 8), (0.146, 122.0, 180.0)),
    *((atom, (1, 4, 6), (0.109, 109.5, turn)) for atom, turn in zip((0, 2, 3), (60.0, 180.0, -60.0), strict=True)),
    *((atom, (10, 8, 6), (0.109, 109.5, turn)) for atom, turn in zip((11, 12, 13), (60.0, 180.0, -60.0), strict=True)),
    *((atom, (18, 16, 14), (0.109, 109.5, turn)) for atom, turn in zip((19, 20, 21), (60.0, 180.0, -60.0), strict=True)),
]
PROPERTIES = {"Threads": "1", "DeterministicForces": "true"}
"""Of the platform CPU: the same seed gives the same structure."""
HOT = 400.0
LONGEST = 60
"""Frames of the shipped path: longer ones make the package large."""


def solute(psi: float = 150.0) -> np.ndarray:
    """Positions of the molecule from its internal coordinates, shape (22, 3), nm; psi in degrees."""
    x = np.full((alanine.N_SOLUTE, 3), np.nan)
    for atom, references, values in Z_MATRIX:
        if atom == 16:
            values = (*values[:2], psi)
        x[atom] = 0.0
        if not references:
            continue
        length, angle, turn = (*values, 180.0, 0.0)[:3] if len(values) < 3 else values
        a = x[references[0]]
        b = x[references[1]] if len(references) > 1 else a - [1.0, 0.0, 0.0]
        c = x[references[2]] if len(references) > 2 else b + [0.0, 1.0, 0.0]
        along = (a - b) / np.linalg.norm(a - b)
        normal = np.cross(b - c, along)
        normal /= np.linalg.norm(normal)
        angle, turn = np.radians([angle if len(references) > 1 else 180.0, turn])
        across = np.cos(turn) * np.cross(normal, along) + np.sin(turn) * normal
        x[atom] = a + length * (-np.cos(angle) * along + np.sin(angle) * across)
    return x


def simulation(box: float, positions: np.ndarray, temperature: float, seed: int, pressure: float | None = None):
    """A simulation that starts from positions, with velocities drawn."""
    molecules = alanine.topology()
    system = alanine.make_system(molecules, box)
    if pressure is not None:
        barostat = openmm.MonteCarloBarostat(pressure * unit.bar, temperature * unit.kelvin, 25)
        barostat.setRandomNumberSeed(seed)
        system.addForce(barostat)
    integrator = BAOABLangevinIntegrator(temperature, alanine.FRICTION, alanine.TIMESTEP)
    integrator.setRandomNumberSeed(seed)
    made = app.Simulation(molecules, system, integrator, openmm.Platform.getPlatformByName("CPU"), PROPERTIES)
    made.context.setPositions(positions)
    made.context.setVelocitiesToTemperature(temperature, seed)
    return made


def positions_of(made: app.Simulation, wrapped: bool = False) -> np.ndarray:
    """Positions, shape (n_atoms, 3), nm."""
    state = made.context.getState(positions=True, enforcePeriodicBox=wrapped)
    return state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)


def run(made: app.Simulation, picoseconds: float, text: str) -> None:
    """Advance, with a bar that says how far."""
    for _ in tqdm(range(round(picoseconds)), desc=text, unit="ps"):
        made.step(round(1.0 / alanine.TIMESTEP))


def scaled(positions: np.ndarray, factor: float) -> np.ndarray:
    """Molecules moved apart, none deformed."""
    moved = positions.copy()
    groups = [slice(0, alanine.N_SOLUTE), *(slice(i, i + 3) for i in range(alanine.N_SOLUTE, len(positions), 3))]
    for group in groups:
        moved[group] += (factor - 1.0) * positions[group].mean(axis=0)
    return moved


def equilibrate(seed: int) -> np.ndarray:
    """A structure in A in the box of the published simulations, shape (1651, 3), nm."""
    modeller = app.Modeller(alanine.topology(0), solute() * unit.nanometer)
    modeller.addSolvent(alanine.force_field(), numAdded=alanine.N_WATERS)
    box = modeller.topology.getPeriodicBoxVectors()[0][0].value_in_unit(unit.nanometer)
    made = simulation(box, modeller.positions, alanine.TEMPERATURE, seed, pressure=1.0)
    made.minimizeEnergy()
    made.context.setVelocitiesToTemperature(alanine.TEMPERATURE, seed)
    run(made, 10, "constant pressure")
    edges = []
    for _ in tqdm(range(80), desc="box", unit=" of 0.25 ps"):
        made.step(round(0.25 / alanine.TIMESTEP))
        volume = made.context.getState().getPeriodicBoxVolume().value_in_unit(unit.nanometer**3)
        edges.append(volume ** (1.0 / 3.0))
    print(f"at 1 bar the edge of the box is {np.mean(edges):.4f} +- {np.std(edges):.4f} nm; it becomes {alanine.BOX} nm")
    start = scaled(positions_of(made, wrapped=True), alanine.BOX / edges[-1])
    made = simulation(alanine.BOX, start, alanine.TEMPERATURE, seed + 1)
    made.minimizeEnergy(maxIterations=50)
    made.context.setVelocitiesToTemperature(alanine.TEMPERATURE, seed + 1)
    run(made, 40, "constant volume")
    states = alanine.make_states()
    while states.classify(positions_of(made)[None])[0] != IN_A:
        run(made, 1, "until in A")
    return positions_of(made, wrapped=True)


def c7eq() -> np.ndarray:
    """The molecule alone, relaxed to the minimum C7eq, shape (22, 3), nm."""
    molecule, exact = alanine.topology(0), openmm.Platform.getPlatformByName("Reference")
    made = app.Simulation(molecule, alanine.make_system(molecule, None), openmm.VerletIntegrator(alanine.TIMESTEP), exact)
    made.context.setPositions(solute(psi=70.0))
    made.minimizeEnergy(tolerance=0.1)
    return positions_of(made)


def hot_path(start: np.ndarray, seed: int) -> np.ndarray:
    """The first short path from A to B of hot dynamics, its ends in the states, shape (n_frames, 1651, 3), nm."""
    states = alanine.make_states()
    made = simulation(alanine.BOX, start, HOT, seed)
    path, from_a = [], False
    with tqdm(desc=f"{HOT:g} K", unit=" frames") as bar:
        while True:
            made.step(alanine.STEPS_PER_FRAME)
            bar.update()
            now = positions_of(made)
            state = states.classify(now[None])[0]
            if state == IN_A:
                path, from_a = [], True
            path.append(now)
            if state == IN_B:
                if from_a:
                    return np.array(path)
                tqdm.write(f"in B at frame {bar.n}, on no way or a long one from A")
            if state == IN_B or len(path) > LONGEST:
                path, from_a = [], False


def write(path: Path, positions: np.ndarray) -> None:
    """Positions, compressed, in single precision."""
    with replacing(path) as temporary:
        np.savez_compressed(temporary, positions=positions.astype(np.float32))


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=alanine.STRUCTURE.parent)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--path-only", action="store_true", help="start from the structure that is there")
    parser.add_argument("--dry-only", action="store_true", help="only the molecule alone, in seconds")
    arguments = parser.parse_args()
    write(arguments.out / alanine.C7EQ.name, c7eq())
    if arguments.dry_only:
        return
    structure = arguments.out / alanine.STRUCTURE.name
    if not arguments.path_only:
        write(structure, equilibrate(arguments.seed))
    with np.load(structure) as archive:
        path = hot_path(archive["positions"].astype(np.float64), arguments.seed + 2)
    write(arguments.out / alanine.INITIAL_PATH.name, path)


if __name__ == "__main__":
    main()
