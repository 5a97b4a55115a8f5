"""Self-contained pages of HTML: the templates that they are made from escape whatever they are given."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError
from markupsafe import Markup, escape

from ..io.files import write_text
from . import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Drawn", "FigureFile", "Grid", "pretty", "saved_figures", "write_page"]


@dataclass(frozen=True)
class FigureFile:
    """A figure on disk.

    Attributes
    ----------
    path : Path
    title : str
    caption : str
        What it shows and how to read it, in plain words.
    """

    path: Path
    title: str
    caption: str

    def base64(self) -> str:
        """The content of the file, as pages embed it."""
        return base64.b64encode(self.path.read_bytes()).decode("ascii")


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
    """

    name: str
    title: str
    caption: str
    figure: Figure | None


@dataclass(frozen=True)
class Grid:
    """A table with a header row."""

    heading: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def saved_figures(drawn: Iterable[Drawn], folder: Path) -> Iterator[FigureFile]:
    """Write figures as they are drawn, into a folder that is made if it is missing; those that there are then."""
    folder.mkdir(exist_ok=True)
    for each in drawn:
        path = folder / f"{each.name}.png"
        if each.figure is not None:
            plots.save_figure(each.figure, path)
        if path.is_file():
            yield FigureFile(path, each.title, each.caption)


def pretty(text: str) -> Markup:
    """HTML of a value: powers of ten and units as they are printed in books."""
    escaped = str(escape(text))
    escaped = re.sub(r"(?<=[\d)])e([+-])0*(\d+)", lambda m: f" × 10<sup>{'−' if m[1] == '-' else ''}{m[2]}</sup>", escaped)
    return Markup(re.sub(r"\b1/ps\b", "ps<sup>−1</sup>", escaped))


def _indented(label: str) -> Markup:
    """HTML of a label whose leading blanks mean that it belongs to the one above."""
    return escape(label).replace("  ", Markup("&emsp;"))


_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
)
_PAGES.filters |= {"pretty": pretty, "indented": _indented}


def write_page(path: Path, template: str, **facts: Any) -> Path:
    """Write the page that a template makes of these facts.

    Raises
    ------
    TypeError
        If they are not what the template is for.
    """
    try:
        text = _PAGES.get_template(template).render(facts)
    except UndefinedError as error:  # which is of no kind of Python's
        raise TypeError(str(error)) from error
    write_text(path, text)
    return path
