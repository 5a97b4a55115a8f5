"""The page about a latent free energy: what was fitted, how good it is, and the densities side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..io.files import read_npz
from ..io.text import format_value
from . import latent_plots, plots
from .page import Drawn, saved_figures, write_page
from .results import read_json

__all__ = ["is_of_latent", "latent_groups", "sampling_rows", "write_latent_report"]

_FILE = "latent.json"
_CERTAIN = 10.0  # violations beyond it say no more


def is_of_latent(folder: Path) -> bool:
    """Whether a folder holds a fit of latent coordinates."""
    return (folder / _FILE).is_file()


def write_latent_report(folder: str | Path) -> Path:
    """Draw the figure again and write ``report.html`` of a fit, from ``latent.json`` and ``densities.npz`` alone.

    Raises
    ------
    ValueError
        If a file is damaged.
    """
    folder = Path(folder)
    result = read_json(folder / _FILE)
    densities = None
    if (folder / "densities.npz").is_file():
        densities = read_npz(folder / "densities.npz", "continue the run with --resume, which writes it again")
    return write_page(
        folder / "report.html",
        "latent.html",
        title=f"Latent free energy of {result['system']}",
        temperature=f"{result['temperature_k']:g}",
        result=result,
        groups=latent_groups(result),
        figures=[*saved_figures(_drawn(result, densities), folder / "figures")],
        versions=result["versions"],
    )


def latent_groups(result: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Labels and values by heading, for the page and for the terminal."""
    fit = result["fit"]
    groups = [
        (
            "Coordinates",
            [
                ("coordinates", ", ".join(result["coordinates"])),
                ("metric condition", result["condition"]["verdict"]),
                ("metric of the model", result["metric"].replace("_", " ")),
                *_autoencoder_rows(result["autoencoder"]),
            ],
        ),
        (
            "Free energy",
            [
                ("frames", f"{result['frames']} of {result['runs']} runs at {result['temperature_k']:g} K"),
                ("held-out loss", f"{fit['held_out_loss']:.4g}  (without a model {fit['without_model']:.4g})"),
                *_density_rows(result["comparison"]),
                *_left_out_rows(result["left_out"]),
            ],
        ),
        ("Latent dynamics", sampling_rows(result["sampling"])),
        ("Committor", _committor_rows(result["committor"])),
    ]
    return groups


def _autoencoder_rows(found: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    with_it, plain = found["reconstruction"], found["plain_reconstruction"]
    rows = [("reconstruction error", f"{with_it:.3f} s.d. of the features  (without the metric penalty {plain:.3f})")]
    violations = [found["violation"], found["plain_violation"]]
    if None not in violations and np.isfinite(violations).all():
        rows.append(("violation of the metric", "{}  (without the penalty {})".format(*map(_percent, violations))))
    return rows


def _density_rows(found: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if found is None:
        return [("density", "not compared: frames are spread on purpose, or coordinates are too many for a grid")]
    return [
        ("KL of the frames from the model", f"{found['kl']:.4g}  (one half from the other: {found['kl_floor']:.4g})"),
        ("  from a uniform density", f"{found['kl_uniform']:.3g}"),
        *((f"  marginal {name}", f"{value:.3g}") for name, value in found["kl_pairs"].items()),
        ("half of the difference", f"{found['half_l1']:.3g}"),
        ("probability beyond the frames", f"{found['outside']:.2g}  (extrapolated)"),
    ]


def _left_out_rows(rows: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [
        (
            f"run {row['run'] + 1} left out",
            f"KL from the model of the others {row['kl_model']:.3g}  (from their histogram {row['kl_histogram']:.3g})",
        )
        for row in rows
    ]


def sampling_rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What became of latent dynamics."""
    reasons = ", ".join(f"{name} {_percent(share)}" for name, share in found["rejected"].items() if share)
    rows = [
        ("propagator", f"{found['propagator']}, {found['n_walkers']} walkers of {found['n_steps']} steps"),
        ("acceptance", _percent(found["acceptance"]) + (f"  (rejected: {reasons})" if reasons else "")),
    ]
    if found.get("kl") is not None:
        rows.append(("KL of its frames from the model", f"{found['kl']:.3g}"))
    return [*rows, ("what it does not give", "rates, times, durations: friction and time are of the model")]


def _committor_rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "none" in found:
        return [("none", found["none"])]
    error = format_value(found["logit_error"])
    return [(found["file"], f"for --model of rate and tps; its logit is off by {error} at {found['frames']} frames")]


def _percent(fraction: float) -> str:
    return "over 1000 %" if fraction > _CERTAIN else f"{100 * fraction:.3g} %"


def _drawn(result: Mapping[str, Any], densities: Mapping[str, np.ndarray] | None) -> Iterator[Drawn]:
    if densities is None:
        return
    n, names, unit = len(result["coordinates"]), result["coordinates"], result["unit"]
    try:
        edges = [densities[f"edges_{axis}"] for axis in range(n)]
        frames, model, shown = (densities[name] for name in ("frames", "model", "shown"))
    except KeyError as error:
        raise InputError(f"densities.npz lacks {error}: continue the run with --resume, which writes it again") from error
    if n == 1:
        figure, (ax,) = plots.new_figure()
        latent_plots.plot_line_densities(ax, edges[0], frames, model, names[0], unit, shown)
        yield Drawn("densities", "The density of the model beside that of molecular dynamics", _CAPTION, figure)
        return
    pairs = list(combinations(range(n), 2))
    rows, columns = (2, len(pairs)) if len(pairs) > 1 else (1, 2)
    figure, axes = plots.new_figure(rows, columns, width=4.4 * columns, height=3.3 * rows + 0.4 * (rows == 1))
    for column, pair in enumerate(pairs):
        others = tuple(axis for axis in range(n) if axis not in pair)
        latent_plots.plot_plane_densities(
            (axes[column], axes[len(pairs) + column]),
            (edges[pair[0]], edges[pair[1]]),
            frames.sum(others),
            model.sum(others),
            (names[pair[0]], names[pair[1]]),
            unit,
            shown[:, list(pair)],
        )
    yield Drawn("densities", "The density of the model beside that of molecular dynamics", _CAPTION, figure)


_CAPTION = (
    "Above, the density of the frames of molecular dynamics; below, that of the model, which has seen the forces of these "
    "frames and not how often they came; both on one scale. Red: every so many frames, in their places."
)
