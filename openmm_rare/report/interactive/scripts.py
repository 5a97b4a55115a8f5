"""Scripts of others that a page carries, compressed, with their licences."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MOLECULES", "PLOTS", "Script"]

_FOLDER = Path(__file__).with_name("vendored")


@dataclass(frozen=True)
class Script:
    """A script of the folder ``vendored``, whose README says where it is from.

    Attributes
    ----------
    name : str
        What pages call it.
    file : str
        Of the compressed script.
    licence : str
        File with the text that has to go along.
    """

    name: str
    file: str
    licence: str

    def base64(self) -> str:
        """The compressed script as pages embed it."""
        return base64.b64encode((_FOLDER / self.file).read_bytes()).decode("ascii")

    def licence_text(self) -> str:
        """The licence, which goes wherever the script goes."""
        return (_FOLDER / self.licence).read_text(encoding="utf8").strip()


PLOTS = Script("plotly.js", "plotly-cartesian.min.js.gz", "plotly.LICENSE")
MOLECULES = Script("3Dmol.js", "3Dmol-min.js.gz", "3Dmol.LICENSE")
