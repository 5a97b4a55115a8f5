"""Two channels in the plane, against the exact rate and channel fractions: python run.py"""

from openmm_rare import ImportanceSamplingRate, TerminalProgress
from openmm_rare.systems import two_channel_2d


def main() -> None:
    """Rate constant and channels at 600 K."""
    system = two_channel_2d.build(temperature=600.0)
    with TerminalProgress() as progress:
        estimate = ImportanceSamplingRate(system, target_error=0.05, seed=1, progress=progress).run()
    exact = two_channel_2d.exact(600.0)
    low, high = estimate.rate_ci95
    print(f"k = {estimate.rate_per_ps:.3g} 1/ps, 95 % interval {low:.3g} to {high:.3g}; exact {exact.rate_per_ps:.3g}")
    for name, share in estimate.channels.items():
        print(f"{name}: {share['fraction']:.3f} +- {share['fraction_stderr']:.3f}; exact {exact.channel_fractions[name]:.3f}")


if __name__ == "__main__":
    main()
