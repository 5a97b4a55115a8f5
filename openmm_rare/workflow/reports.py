"""The command `openmm-rare report`: the page of a folder again, whatever it holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..config.stored import stored_config
from ..folders.path_files import is_of_paths
from ..io.checksums import naming_contents
from ..report.latent import is_of_latent, write_latent_report
from ..report.paths import write_path_report
from ..report.rate import write_rate_report
from ..report.scan import write_scan_report

__all__ = ["make_report"]


def make_report(folder: str | Path, trust: bool = False, note: Callable[[str], None] | None = None) -> Path:
    """Write the figures and the report of a finished run or scan again.

    Parameters
    ----------
    folder : path
    trust : bool
        Whether code that the folder names may run; without it everything is told that numbers say.
    note : callable, optional
        Is told what is missing without that code.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder holds no finished run or scan, or a file is damaged.
    """
    with naming_contents(folder):
        folder = Path(folder)
        if (folder / "scan.json").is_file():
            for place in (folder, *sorted(each.parent for each in folder.glob("*/config.toml"))):
                stored_config(place)  # must be what the runs recorded
            return write_scan_report(folder)
        if is_of_latent(folder):
            return write_latent_report(folder)
        if is_of_paths(folder):
            return write_path_report(folder, trust=trust, note=note)
        return write_rate_report(folder)
