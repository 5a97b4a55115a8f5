"""The figures of README and docs/concepts.md, from two runs and forty short ones of brute force.

    openmm-rare rate two_channel_2d --temperature "600 K" --target-error 0.1 --save-paths 40 --seed 1 --out runs/two_channel
    openmm-rare rate langevin_well --importance x --target-error 0.1 --out runs/well
    python docs/figures/draw.py runs/two_channel runs/well --repeats 40

The first run takes most of the time, a quarter of an hour on one busy core.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from openmm_rare import BruteForceRate, Silent, load_committor, load_run
from openmm_rare.systems import double_well_1d, langevin_well, two_channel_2d

BLUE, RED, GREY, INK = "#2b6cb0", "#c05621", "#a0aec0", "#2d3748"
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "font.size": 9,
    "xtick.color": INK,
    "ytick.color": INK,
}


TOP = 2.2 * two_channel_2d.EV  # nothing above it is drawn


def plane(axes):
    """Potential, A and B of two_channel_2d; returns a grid and what of it lies low enough to be shown."""
    x, y = np.meshgrid(np.linspace(-1.5, 1.5, 121), np.linspace(-1.25, 1.25, 101))
    energy = two_channel_2d.energy(x, y)
    low = energy < energy.min() + TOP
    axes.contourf(x, y, np.where(low, energy, np.nan), levels=14, cmap="Greys_r", alpha=0.45)
    states = two_channel_2d.build().states
    for name, region in (("A", states.a), ("B", states.b)):
        center = list(region.center.values())
        axes.add_patch(plt.Circle(center, region.radius, facecolor="white", edgecolor=INK, linewidth=1.2, zorder=3))
        axes.text(*center, name, ha="center", va="center", fontweight="bold", zorder=4, clip_on=True)
    axes.set(xlabel="x / nm", ylabel="y / nm", aspect="equal", xlim=(-1.4, 1.4), ylim=(-1.2, 1.2))
    return x, y, low


def overview(figure, run, folder):
    """What was learned and found, beside the answer; for README."""
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    x, y, low = plane(left)
    model = load_committor(folder / "model.npz")
    logit = np.asarray(model.logit(np.stack([x, y, 0 * x], axis=-1).reshape(-1, 1, 3))).reshape(x.shape)
    for path in run.paths:
        left.plot(*path.T, color=BLUE, linewidth=0.5, alpha=0.35)
    lines = left.contour(x, y, np.where(low, logit, np.nan), levels=[-12, -8, -4, 0, 4], colors=RED, linewidths=1)
    left.clabel(lines, fmt="%g", fontsize=7)
    left.set_title("learned ln q/(1 - q), and paths from A to B", fontsize=9)
    exact, found = two_channel_2d.exact(run.config.system.temperature_k), run.estimate
    names = list(exact.channel_fractions)
    for place, name in enumerate(["k", *names]):
        share, error = (1.0, 0.0) if name == "k" else found.channels[name].values()
        value, true = share * found.rate_per_ps, exact.rate_per_ps * exact.channel_fractions.get(name, 1.0)
        spread = 1.96 * value * np.hypot(found.rate_stderr / found.rate_per_ps, error / share)
        value, spread, true = (1e9 * each for each in (value, spread, true))
        right.errorbar(place, value, spread, fmt="o", color=BLUE, capsize=3, label="estimate, 95 %" * (place == 0))
        right.plot([place - 0.3, place + 0.3], [true, true], color=RED, label="exact" * (place == 0))
    right.set_xticks(range(len(names) + 1), ["k", *(f"{name} way" for name in names)])
    right.set(ylabel="rate / (10⁻⁹ per ps)", ylim=(0, 1.15 * right.get_ylim()[1]), xlim=(-0.6, len(names) + 0.6))
    right.legend(frameon=False, loc="lower left")


def exits(figure, run, _):
    """Where walkers left A, and from which of these places production started."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
    plane(left)
    left.scatter(*run.exits[:, 0, :2].T, s=3, color=BLUE, alpha=0.3, linewidths=0)
    left.set(xlim=(-1.25, -0.6), ylim=(-0.33, 0.33))
    center = list(two_channel_2d.build().states.a.center.values())
    angle = np.degrees(np.arctan2(*(run.exits[:, 0, :2] - center).T[::-1]))
    bins = np.linspace(-180, 180, 37)
    right.hist(angle, bins, color=GREY, density=True, label=f"{len(angle)} exits")
    right.hist(angle[run.roots], bins, color=BLUE, density=True, histtype="step", lw=1.4, label=f"{len(run.roots)} roots")
    right.set(xlabel="direction from A / degrees, B at 0", ylabel="density", xticks=range(-180, 181, 90))
    right.legend(frameon=False)


def weights(figure, run, _):
    """Weights of the paths that arrived, and how many roots carry the estimate."""
    left, right = figure.subplots(1, 2)
    left.hist(run.log_weights / np.log(10), bins=40, color=BLUE)
    left.set(xlabel="log₁₀ of the weight of a path that reached B", ylabel="paths")
    carried = np.sort(run.contributions)[::-1]
    share = np.cumsum(carried) / carried.sum()
    right.plot(np.arange(1, len(share) + 1), share, color=BLUE)
    right.axvline(run.estimate.ess, color=RED, linewidth=1)
    right.annotate(
        f"effective sample size {run.estimate.ess:.0f}",
        (run.estimate.ess, 0.8),
        color=RED,
        fontsize=8,
        xytext=(-16, 0),
        textcoords="offset points",
        ha="right",
    )
    right.set(xscale="log", xlabel="roots, from the largest contribution on", ylabel="share of the estimate", ylim=(0, 1.02))


def crossing(figure, folder):
    """From which rate paths come to each level, and the rate in the end."""
    result = json.loads((folder / "result.json").read_text())
    curve, axes = result["curve"], figure.subplots()
    levels, rate, error = (np.array(curve[name]) for name in ("levels", "rate_per_ps", "stderr"))
    axes.errorbar(levels, rate, 1.96 * error, fmt="o-", ms=3, color=BLUE, capsize=2, label="flux × probability to come so far")
    axes.axhline(langevin_well.exact(5.0, 5.0).rate_per_ps, color=RED, linewidth=1, label="exact k")
    axes.set(yscale="log", xlabel="level: minus the distance of x from B / nm", ylabel="paths from A per ps")
    axes.legend(frameon=False)


def error_bars(figure, repeats):
    """Intervals of repeated runs beside the truth."""
    problem, true = double_well_1d.build(temperature=900.0), double_well_1d.chain_rate(900.0)
    axes, missed = figure.subplots(), 0
    for seed in range(repeats):
        found = BruteForceRate(problem, target_error=0.15, seed=seed, progress=Silent()).run()
        low, high = found.rate_ci95
        outside = not low <= true <= high
        missed += outside
        axes.plot([seed, seed], [low, high], color=RED if outside else BLUE)
        axes.plot(seed, found.rate_per_ps, "o", markersize=2.5, color=RED if outside else BLUE)
    axes.axhline(true, color=INK, linewidth=1)
    axes.set(xlabel="run, each with its own seed", ylabel="k / (1/ps)")
    axes.set_title(f"{repeats - missed} of {repeats} intervals of 95 % hold the exact rate", fontsize=9)


def main():
    """Draw all of them beside this script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("two_channel", type=Path)
    parser.add_argument("well", type=Path)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    plt.rcParams.update(STYLE)
    run = load_run(arguments.two_channel)
    figures = {
        "overview": ((7.6, 3.3), overview, (run, arguments.two_channel)),
        "exits": ((7.2, 2.9), exits, (run, arguments.two_channel)),
        "weights": ((7.0, 2.6), weights, (run, arguments.two_channel)),
        "crossing": ((4.6, 3.0), crossing, (arguments.well,)),
        "error_bars": ((6.0, 2.6), error_bars, (arguments.repeats,)),
    }
    for name, (size, draw, about) in figures.items():
        figure = plt.figure(figsize=size, layout="constrained")
        draw(figure, *about)
        figure.savefig(arguments.out / f"{name}.png", dpi=130)
        plt.close(figure)


if __name__ == "__main__":
    main()
