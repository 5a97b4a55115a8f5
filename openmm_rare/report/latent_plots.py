"""Figures of latent free energies: arrays in, Axes out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from .style import BLUE, COLORMAP, ORANGE, RED

__all__ = ["plot_line_densities", "plot_plane_densities"]

_FAINTEST = 1e-3  # of the largest density; less is left white


def plot_plane_densities(
    axes: Sequence[Axes],
    edges: tuple[np.ndarray, np.ndarray],
    frames: np.ndarray,
    model: np.ndarray,
    names: tuple[str, str],
    unit: str,
    shown: np.ndarray,
) -> None:
    """Two densities of a plane on one color scale: that of molecular dynamics, and that of the model with frames in red.

    Parameters
    ----------
    axes : sequence of two Axes
    edges : tuple of ndarray
        Of the cells along x and y.
    frames, model : ndarray, shape (n_x, n_y)
        Probabilities.
    names : tuple of str
    unit : str
        Of both; may be empty.
    shown : ndarray, shape (n, 2)
        Every so many frames.
    """
    area = (edges[0][1] - edges[0][0]) * (edges[1][1] - edges[1][0])
    largest, mesh = frames.max() / area, None
    for ax, probability, title in zip(axes, (frames, model), ("molecular dynamics", "latent model"), strict=True):
        density = probability / area
        drawn = np.where(density > _FAINTEST * largest, density, np.nan).T
        mesh = ax.pcolormesh(*edges, drawn, vmin=0.0, vmax=largest, cmap=COLORMAP, rasterized=True)
        ax.set(xlabel=_label(names[0], unit), ylabel=_label(names[1], unit), title=title)
        ax.grid(False)
    axes[1].plot(*shown.T, ".", markersize=3, color=RED)
    per = f" ({unit}$^{{-2}}$)" if unit else ""
    axes[0].figure.colorbar(mesh, ax=list(axes), label=f"probability density{per}", shrink=0.8)


def plot_line_densities(
    ax: Axes, edges: np.ndarray, frames: np.ndarray, model: np.ndarray, name: str, unit: str, shown: np.ndarray
) -> None:
    """Two densities of one coordinate, and frames below."""
    middle, width = 0.5 * (edges[1:] + edges[:-1]), edges[1] - edges[0]
    ax.plot(middle, frames / width, color=BLUE, label="molecular dynamics")
    ax.plot(middle, model / width, color=ORANGE, label="latent model")
    ax.plot(shown[:, 0], np.zeros(len(shown)), "|", color=RED, markersize=6)
    ax.set(xlabel=_label(name, unit), ylabel="probability density" + (f" (1/{unit})" if unit else ""))
    ax.legend(frameon=False)


def _label(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name
