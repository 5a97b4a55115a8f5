"""The committor over two variables, as paths to B have met it, with A and B."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..states.outlines import Outline, limits_with
from .interactive.figures import figure, heatmap, outlined
from .path_plots import plot_outlines
from .style import COLORMAP, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MAP_CAPTION", "CommittorMap", "draw_map", "explored_map"]

_FRAMES_PER_CELL = 8  # on average
_FEWEST, _MOST = 15, 60  # cells along an axis

MAP_CAPTION = (
    "The learned committor, the probability to reach B before A, over two variables: its mean over the frames of sampled paths "
    "to B in each cell; without any, cells stay empty. A and B are outlined as far as they are ranges or discs of these "
    "variables. Cells of 0 beside cells of 1 mean that something else decides, or that paths take long steps there."
)


@dataclass(frozen=True)
class CommittorMap:
    """Mean committor of path frames over two variables.

    Attributes
    ----------
    edges : pair of ndarray, shape (n_x + 1,), (n_y + 1,)
    mean : ndarray, shape (n_x, n_y)
        NaN where no frame lies.
    frames : ndarray of int, shape (n_x, n_y)
    """

    edges: tuple[np.ndarray, np.ndarray]
    mean: np.ndarray
    frames: np.ndarray

    @classmethod
    def of(
        cls, values: np.ndarray, committor: np.ndarray, outlines: Mapping[str, Outline], names: tuple[str, str]
    ) -> CommittorMap:
        """Of frames with these values of the two variables, shape (n, 2), on a grid that has room for the states as well."""
        limits = limits_with(outlines, names, values)
        number = int(np.clip(np.sqrt(len(values) / _FRAMES_PER_CELL), _FEWEST, _MOST))
        edges = [np.linspace(*limit, number + 1) for limit in limits]
        frames = np.histogram2d(*values.T, edges)[0]
        total = np.histogram2d(*values.T, edges, weights=committor)[0]
        mean = np.divide(total, frames, out=np.full_like(total, np.nan), where=frames > 0)
        return cls((edges[0], edges[1]), mean, frames.astype(int))

    @property
    def limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Of both axes."""
        x, y = self.edges
        return (float(x[0]), float(x[-1])), (float(y[0]), float(y[-1]))


def draw_map(found: CommittorMap, outlines: Mapping[str, Outline], names: tuple[str, str], labels: tuple[str, str]) -> Figure:
    """The map; `names` are of the variables, `labels` of the axes."""
    drawn, (ax,) = new_figure(width=6.6, height=4.8)
    mesh = ax.pcolormesh(*found.edges, np.ma.masked_invalid(found.mean).T, vmin=0.0, vmax=1.0, cmap=COLORMAP, rasterized=True)
    ax.set(xlabel=labels[0], ylabel=labels[1], xlim=found.limits[0], ylim=found.limits[1])
    ax.grid(False)
    plot_outlines(ax, outlines, names)
    drawn.colorbar(mesh, ax=ax, label="learned committor")
    return drawn


def explored_map(
    found: CommittorMap, outlines: Mapping[str, Outline], names: tuple[str, str], labels: tuple[str, str]
) -> Mapping[str, Any]:
    """The same to explore."""
    told = "%{x:.4g}, %{y:.4g}<br>committor %{z:.3g}, %{customdata} frames"
    cells = heatmap(found.edges, found.mean, "learned committor", told, found.frames) | {"zmin": 0.0, "zmax": 1.0}
    limits = found.limits
    axes = {"xaxis": {"range": limits[0], "showgrid": False}, "yaxis": {"range": limits[1], "showgrid": False}}
    return figure([cells], *labels, height=500, hovermode="closest", **axes, **outlined(outlines, names, limits))
