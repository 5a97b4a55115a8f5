"""The command `export`: paths and shooting points in the formats of the field."""

from __future__ import annotations

from pathlib import Path

import click

from .errors import command
from .options import trust_option
from .saying import say, terminal_progress

__all__ = ["export"]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), show_default="FOLDER/export", help="New folder to write.")
@click.option("--format", "kind", metavar="[xtc|dcd|pdb]", default="xtc", show_default=True, help="Of the trajectories.")
@trust_option
@command
def export(folder: Path, out: Path | None, kind: str, trust: bool) -> None:
    """Write the paths of the run in FOLDER, and its shooting points, for MDAnalysis, mdtraj, VMD, PyMOL and nglview.

    \b
    openmm-rare export runs/jung_42d_tps                 paths, weights, committor of each frame, shooting points
    openmm-rare export runs/rate --format dcd --out x    of a rate with --save-paths N
    """
    from ..io.text import format_table
    from ..workflow.export import export_run

    with terminal_progress() as progress:
        made = export_run(folder, out, kind, trust, progress)
    points = [("shooting points", str(made.n_points))] if made.n_points else []
    rows = [("paths", str(made.n_paths)), *points, ("what each file is", str(made.folder / "README.md"))]
    say(f"\n{format_table([('Exported', rows)])}\n")
    say(f"to look at one: vmd {made.folder / 'topology.pdb'} {made.folder / made.first_path}")
