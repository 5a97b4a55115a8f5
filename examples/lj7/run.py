"""Seven Lennard-Jones discs from 600 K down, each temperature starting from the model of the one before: python run.py"""

from openmm_rare import ImportanceSamplingRate, TerminalProgress
from openmm_rare.systems import lj7
from openmm_rare.units import KB


def main() -> None:
    """Rate constants at 600, 500, 400 and 300 K beside Kramers-Langer theory."""
    model, coldest = None, lj7.build(temperature=300.0)
    for temperature in (600.0, 500.0, 400.0, 300.0):
        system = coldest.with_temperature(temperature)  # the same states for all, as the model wants them
        with TerminalProgress() as progress:
            run = ImportanceSamplingRate(system, target_error=0.1, seed=1, model=model, progress=progress)
            estimate = run.run()
        model = run.model  # already knows the way: a colder temperature needs only a few rounds more
        kramers = lj7.kramers_rate(KB * temperature / lj7.EPSILON) / lj7.TIME_UNIT
        print(f"{temperature:.0f} K: k = {estimate.rate_per_ps:.3g} +- {estimate.rate_stderr:.1g} 1/ps, Kramers {kramers:.3g}")
        for name, share in estimate.channels.items():
            print(f"    {name}: {100 * share['fraction']:.0f} +- {100 * share['fraction_stderr']:.0f} %")
        for sentence in estimate.warnings:
            print("    Warning:", sentence)


if __name__ == "__main__":
    main()
