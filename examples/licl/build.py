"""Make the structures of systems/data: ion pairs equilibrated in water, and first paths along which they dissociate.

python build.py [--size small|full] [--cation Li|Na] [--out ../../systems/data] [--seed 1] [--path-only]

Minutes on one core. Nothing but OpenMM's own force fields goes in; other seeds give other structures.
"""

import argparse
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit
from tqdm import tqdm

from openmm_rare.dynamics.langevin import BAOABLangevinIntegrator
from openmm_rare.io.files import replacing
from openmm_rare.states.states import IN_A
from openmm_rare.systems import build, in_water, licl

PROPERTIES = {"Threads": "1", "DeterministicForces": "true"}
"""Of the platform CPU: the same seed gives the same structure."""
MASS = 3.0
"""amu, for steps of 4 fs."""
BOND = {"Li": 0.23, "Na": 0.27}
"""Distances of contact pairs, nm."""
STIFFNESS = 20000.0
"""kJ/mol/nm^2, of the spring that holds the labelled pair together while the water settles."""
APART = 0.45
"""nm, between ions at the beginning."""
DURATIONS = {"small": (10.0, 20.0, 20.0, 2.0), "full": (4.0, 4.0, 4.0, 0.5)}
"""ps under constant pressure, before and while the box is measured; at constant volume with the spring, and without."""
BLOCK = 25
"""Steps between two signs of life."""
RELAXED_BY = 5
"""Accepted shots, of the dynamics itself, that a pulled path is relaxed by."""
LONGEST = 100
"""Frames of a shipped path: longer ones make the package large."""


class Builder:
    """One solution from nothing to a structure in A.

    Parameters
    ----------
    size, cation : str
        As for :func:`openmm_rare.systems.licl.build`.
    seed : int
    """

    def __init__(self, size: str, cation: str, seed: int) -> None:
        self.solution, self.cation, self.seed = licl.SOLUTIONS[size, cation], cation, seed
        self.durations = DURATIONS[size]
        self.molecules = licl.topology(self.solution, cation)
        self.n_ions = 2 * self.solution.n_pairs

    def placed(self) -> tuple[np.ndarray, float]:
        """Ions on sites of water, the labelled ones on neighboring sites, the others far apart; and the edge of the box."""
        modeller = app.Modeller(app.Topology(), [])
        modeller.addSolvent(licl.force_field(), numAdded=self.solution.n_waters + self.n_ions)
        box = modeller.topology.getPeriodicBoxVectors()[0][0].value_in_unit(unit.nanometer)
        x = np.array(modeller.positions.value_in_unit(unit.nanometer)).reshape(-1, 3, 3)
        order = np.random.default_rng(self.seed).permutation(len(x))
        chosen = [int(order[0])]
        neighbor = int(np.argsort(_distances(x[:, 0], x[chosen[0], 0], box))[1])
        for site in order[1:]:
            if len(chosen) == self.n_ions - 1:
                break
            if all(_distances(x[site, 0], x[other, 0], box) > APART for other in (*chosen, neighbor)):
                chosen.append(int(site))
        chosen.insert(self.solution.n_pairs, neighbor)
        water = np.delete(x, chosen, axis=0).reshape(-1, 3)
        return np.concatenate([x[chosen, 0], water]), box

    def simulation(self, box: float, positions: np.ndarray, seed: int, pressure: float | None = None) -> app.Simulation:
        """A simulation that starts from positions, with velocities drawn, in which a spring can hold the labelled pair."""
        system = in_water.make_system(licl.force_field(), self.molecules, box, MASS)
        spring = openmm.CustomBondForce("0.5*spring*(r-r0)^2")
        spring.addGlobalParameter("spring", STIFFNESS)
        spring.addPerBondParameter("r0")
        spring.addBond(*self.solution.pair, [BOND[self.cation]])
        spring.setUsesPeriodicBoundaryConditions(True)
        system.addForce(spring)
        if pressure is not None:
            barostat = openmm.MonteCarloBarostat(pressure * unit.bar, licl.TEMPERATURE * unit.kelvin, 25)
            barostat.setRandomNumberSeed(seed)
            system.addForce(barostat)
        integrator = BAOABLangevinIntegrator(licl.TEMPERATURE, in_water.FRICTION, in_water.LONG_TIMESTEP)
        integrator.setRandomNumberSeed(seed)
        made = app.Simulation(self.molecules, system, integrator, openmm.Platform.getPlatformByName("CPU"), PROPERTIES)
        made.context.setPositions(positions)
        made.minimizeEnergy(maxIterations=200)
        made.context.setVelocitiesToTemperature(licl.TEMPERATURE, seed)
        return made

    def scaled(self, positions: np.ndarray, factor: float) -> np.ndarray:
        """Molecules moved apart, none deformed."""
        moved = positions.copy()
        waters = (slice(i, i + 3) for i in range(self.n_ions, len(positions), 3))
        for group in (*(slice(i, i + 1) for i in range(self.n_ions)), *waters):
            moved[group] += (factor - 1.0) * positions[group].mean(axis=0)
        return moved

    def equilibrated(self) -> np.ndarray:
        """A structure in A in the box of the system, shape (n_atoms, 3), nm."""
        positions, box = self.placed()
        settling, measuring, held, free = self.durations
        made = self.simulation(box, positions, self.seed, pressure=1.0)
        run(made, settling, "constant pressure")
        edges = []
        for _ in tqdm(range(round(4 * measuring)), desc="box", unit=" of 0.25 ps"):
            run(made, 0.25)
            volume = made.context.getState().getPeriodicBoxVolume().value_in_unit(unit.nanometer**3)
            edges.append(volume ** (1.0 / 3.0))
        mean, box = np.mean(edges), self.solution.box
        print(f"at 1 bar the edge of the box is {mean:.4f} +- {np.std(edges):.4f} nm; it becomes {box} nm")
        made = self.simulation(box, self.scaled(positions_of(made), box / edges[-1]), self.seed + 1)
        run(made, held, "constant volume")
        made.context.setParameter("spring", 0.0)
        run(made, free, "without the spring")
        states = licl.make_states(self.solution).in_box(np.eye(3) * box)
        while states.classify(positions_of(made)[None])[0] != IN_A:
            run(made, 0.1)
        return positions_of(made)


def _distances(points: np.ndarray, point: np.ndarray, box: float) -> np.ndarray:
    away = points - point
    return np.linalg.norm(away - box * np.round(away / box), axis=-1)


def positions_of(made: app.Simulation) -> np.ndarray:
    """Positions with molecules in the box, shape (n_atoms, 3), nm."""
    state = made.context.getState(positions=True, enforcePeriodicBox=True)
    return state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)


def run(made: app.Simulation, picoseconds: float, text: str | None = None) -> None:
    """Advance, with a bar that says how far if there is a text for it."""
    total = round(picoseconds / in_water.LONG_TIMESTEP)
    with tqdm(total=total, desc=text, unit=" steps", disable=text is None) as bar:
        for done in range(0, total, BLOCK):
            made.step(min(BLOCK, total - done))
            bar.update(min(BLOCK, total - done))


def first_path(cation: str, seed: int) -> np.ndarray:
    """A path of the dynamics itself from A to B of the small box, shape (n_frames, n_atoms, 3), nm."""
    from openmm_rare import Machine
    from openmm_rare.tps import find_path

    problem = build("licl", cation=cation, hydrogen_mass=MASS)
    found = find_path(problem, "biased", relax=RELAXED_BY, seed=seed, machine=Machine("CPU", threads=1))
    print(f"a path of {len(found.frames)} frames, after {found.trials} shots")
    if len(found.frames) > LONGEST:
        raise SystemExit(f"that is longer than {LONGEST} frames: try another seed")
    return found.frames.positions


def write(path: Path, positions: np.ndarray) -> None:
    """Positions, compressed, in single precision."""
    with replacing(path) as temporary:
        np.savez_compressed(temporary, positions=positions.astype(np.float32))


def main() -> None:
    """Write the structure, and for a small box the path that starts from the one that the package has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--cation", choices=("Li", "Na"), default="Li")
    parser.add_argument("--out", type=Path, default=licl.structure_file("small", "Li").parent)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--path-only", action="store_true", help="leave the structure that is there")
    arguments = parser.parse_args()
    size, cation = arguments.size, arguments.cation
    if not arguments.path_only:
        positions = Builder(size, cation, arguments.seed).equilibrated()
        write(arguments.out / licl.structure_file(size, cation).name, positions)
    if size == "small":
        write(arguments.out / licl.path_file(size, cation).name, first_path(cation, arguments.seed))


if __name__ == "__main__":
    main()
