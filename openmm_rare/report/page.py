"""Self-contained pages of HTML: the templates that they are made from escape whatever they are given."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError
from markupsafe import Markup, escape

from ..io.files import write_text
from . import plots
from .interactive.scripts import MOLECULES, PLOTS, Script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Drawn", "FigureFile", "Grid", "pretty", "saved_figures", "write_page"]

_WIDE, _SMALLEST = 1250, 2.65  # pixels; how much smaller a picture may be shown
_HEADING = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)


@dataclass(frozen=True)
class Grid:
    """A table with a header row."""

    heading: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class FigureFile:
    """A figure of a page.

    Attributes
    ----------
    path : Path or None
        Of its picture; None for one that is nothing without scripts.
    title : str
    caption : str
        What it shows and how to read it, in plain words.
    plot : mapping, optional
        The same for plotly.js, which takes the place of the picture where scripts run.
    molecule : mapping, optional
        A molecule for 3Dmol.js, likewise.
    table : Grid, optional
        The numbers, below the caption.
    lines : bool
        Whether the picture has no scale of colors, and may be turned into one for the night.
    """

    path: Path | None
    title: str
    caption: str
    plot: Mapping[str, Any] | None = None
    molecule: Mapping[str, Any] | None = None
    table: Grid | None = None
    lines: bool = False

    @property
    def least_width(self) -> int:
        """So narrow may a picture of several panels be shown, in pixels, if its text is to be read; 0 for one panel."""
        if self.path is None:
            return 0
        with open(self.path, "rb") as stream:
            width = int.from_bytes(stream.read(20)[16:], "big")  # of a PNG
        return round(width / _SMALLEST) if width > _WIDE else 0

    def base64(self) -> str:
        """The picture, as pages embed it."""
        return "" if self.path is None else base64.b64encode(self.path.read_bytes()).decode("ascii")


@dataclass(frozen=True)
class Drawn:
    """A figure before it is written.

    Attributes
    ----------
    name : str
        Of its file, without folder and suffix.
    title : str
    caption : str
    figure : matplotlib.figure.Figure or None
        None: the file stays as it is.
    plot, molecule, table : optional
        As of :class:`FigureFile`.
    """

    name: str
    title: str
    caption: str
    figure: Figure | None
    plot: Mapping[str, Any] | None = None
    molecule: Mapping[str, Any] | None = None
    table: Grid | None = None


def saved_figures(drawn: Iterable[Drawn], folder: Path) -> Iterator[FigureFile]:
    """Write figures as they are drawn, into a folder that is made if it is missing; those that there are then."""
    folder.mkdir(exist_ok=True)
    for each in drawn:
        path = folder / f"{each.name}.png"
        if each.figure is not None:
            plots.save_figure(each.figure, path)
        there = path.is_file()
        if there or each.molecule is not None:
            of_lines = each.figure is not None and not plots.has_scale(each.figure)
            about = (each.plot, each.molecule, each.table, of_lines)
            yield FigureFile(path if there else None, each.title, each.caption, *about)


def pretty(text: str) -> Markup:
    """HTML of a value: powers of ten and units as they are printed in books."""
    escaped = str(escape(text))
    escaped = re.sub(r"(?<=[\d)])e([+-])0*(\d+)", lambda m: f" × 10<sup>{'−' if m[1] == '-' else ''}{m[2]}</sup>", escaped)
    return Markup(re.sub(r"\b1/ps\b", "ps<sup>−1</sup>", escaped))


def _indented(label: str) -> Markup:
    """HTML of a label whose leading blanks mean that it belongs to the one above."""
    return escape(label).replace("  ", Markup("&emsp;"))


def _with_index(body: str) -> dict[str, Any]:
    """The body of a page with a place to jump to at each heading, and these: place and HTML of each."""
    sections: list[tuple[str, Markup]] = []

    def placed(found: re.Match[str]) -> str:
        place = f"section-{len(sections) + 1}"
        sections.append((place, Markup(found[1])))
        return f'<h2 id="{place}">{found[1]}</h2>'

    return {"body": Markup(_HEADING.sub(placed, body)), "sections": sections}


_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
)
_PAGES.filters |= {"pretty": pretty, "indented": _indented, "with_index": _with_index}


def write_page(path: Path, template: str, **facts: Any) -> Path:
    """Write the page that a template makes of these facts.

    Raises
    ------
    TypeError
        If they are not what the template is for.
    """
    figures: Sequence[FigureFile] = facts.get("figures", ())
    scripts: list[Script] = [PLOTS] if any(each.plot for each in figures) else []
    scripts += [MOLECULES] if any(each.molecule for each in figures) else []
    try:
        text = _PAGES.get_template(template).render(facts | {"scripts": scripts})
    except UndefinedError as error:  # which is of no kind of Python's
        raise TypeError(str(error)) from error
    write_text(path, text)
    return path
