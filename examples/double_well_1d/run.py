"""One particle in a double well, against the exact rate: python run.py"""

import numpy as np

from openmm_rare import ImportanceSamplingRate, TerminalProgress
from openmm_rare.systems import double_well_1d


def main() -> None:
    """Rate constant and committor at 300 K."""
    system = double_well_1d.build(temperature=300.0, barrier=25.0)
    with TerminalProgress() as progress:
        run = ImportanceSamplingRate(system, target_error=0.05, seed=1, progress=progress)
        estimate = run.run()
    low, high = estimate.rate_ci95
    print(f"k = {estimate.rate_per_ps:.3g} 1/ps, 95 % interval {low:.3g} to {high:.3g}")
    print(f"exact: {double_well_1d.chain_rate(300.0, 25.0):.3g} 1/ps, for the time step of the simulation")
    # the learned committor, beside the exact one
    x = np.linspace(-0.3, 0.3, 7)
    positions = np.zeros((7, 1, 3))
    positions[:, 0, 0] = x
    learned, exact = run.model.log_importance(positions), np.log(double_well_1d.committor(x, 300.0, 25.0))
    for row in zip(x, learned, exact, strict=True):
        print("x = {:+.1f} nm: ln I = {:6.2f}, exact {:6.2f}".format(*row))


if __name__ == "__main__":
    main()
