"""Rate constant of a small System of your own: python run.py"""

from chain import build
from openmm import unit

from openmm_rare import Dihedral, ImportanceSamplingRate, Range, RareEventSystem, TerminalProgress


def main() -> None:
    """Trans to gauche at 300 K."""
    system, topology, positions = build()  # yours: app.PDBFile("my.pdb"), ForceField(...).createSystem(...)
    problem = RareEventSystem.from_openmm(
        system,
        positions,  # in A
        Range({"phi": (2.79, -2.79)}),  # A: within 20 degrees of trans (radians; through pi, since phi is periodic)
        Range({"phi": (-1.57, 1.57)}),  # B: gauche on either side
        [Dihedral("phi", (0, 1, 2, 3))],
        temperature=300 * unit.kelvin,
        friction=10 / unit.picosecond,
        timestep=5 * unit.femtosecond,
        topology=topology,
        name="chain",
    )
    with TerminalProgress() as progress:
        estimate = ImportanceSamplingRate(problem, target_error=0.1, seed=1, progress=progress).run()
    low, high = estimate.rate_ci95
    print(f"k = {estimate.rate_per_ps:.3g} 1/ps, 95 % interval {low:.3g} to {high:.3g}")
    print(f"effective sample size {estimate.ess:.0f}, {estimate.walker_steps:.3g} walker-steps")
    for sentence in estimate.warnings:  # empty when nothing speaks against the error bar
        print("Warning:", sentence)


if __name__ == "__main__":
    main()
