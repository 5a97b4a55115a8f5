"""How figures look, and how they are made and written; colors of Okabe & Ito, which color-blind readers can tell apart."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.text import Text

from ..io.files import replacing

__all__ = ["BLUE", "COLORMAP", "GRAY", "GREEN", "ORANGE", "RED", "STYLE", "has_scale", "new_figure", "save_figure"]

BLUE, ORANGE, GREEN, RED, GRAY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6B7280"
COLORMAP = "viridis"
STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.edgecolor": "#4B5563",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E7EB",
    "grid.linewidth": 0.6,
    "xtick.color": "#4B5563",
    "ytick.color": "#4B5563",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.usetex": False,  # whatever a matplotlibrc in the present folder says: TeX runs programs
}


def new_figure(rows: int = 1, columns: int = 1, width: float = 6.0, height: float = 3.8) -> tuple[Figure, list[Axes]]:
    """A figure in the package's style, without touching pyplot; sizes in inches.

    Returns
    -------
    figure : Figure
    axes : list of Axes
        Row by row.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.ravel())


def has_scale(figure: Figure) -> bool:
    """Whether a figure says something by a scale of colors."""
    return any(isinstance(each, ScalarMappable) and each.get_array() is not None for each in figure.findobj())


def save_figure(figure: Figure, path: str | Path, dpi: int = 170) -> None:
    """Write a figure atomically; the suffix gives the format."""
    with replacing(path) as temporary, rc_context(STYLE):
        for text in figure.findobj(Text):  # made after new_figure, outside of its style
            text.set_usetex(False)
        figure.dpi = dpi
        figure.get_layout_engine().execute(figure)  # savefig would draw everything once more for this
        figure.set_layout_engine("none")
        figure.savefig(temporary, dpi=dpi)
