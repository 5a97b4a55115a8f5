"""The command `init`: from structure files of a user's own to a folder for `path`, `tps` and `rate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..io.terminal_text import printable
from .errors import UserError, command
from .options import fastest_platform_option, trust_option

if TYPE_CHECKING:
    from ..workflow.starting.start import Seen, Started

__all__ = ["init"]

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("structure", type=_FILE)
@click.option("--out", type=_FILE, help="New folder for system.xml, start.pdb, config.toml and candidates.csv.")
@click.option("--list", "only_list", is_flag=True, help="Only list variables that could tell A from B; write nothing.")
@click.option("--topology", type=_FILE, help="AMBER .prmtop, GROMACS .top, CHARMM .psf, or system.xml of OpenMM.")
@click.option(
    "--forcefield",
    multiple=True,
    metavar="FILE",
    show_default="amber14-all.xml and the water",
    help="For PDB and mmCIF: XML of OpenMM, or yours. For CHARMM: parameter files. Repeatable.",
)
@click.option("--include", type=_FILE, help="GROMACS: folder of the files that a .top includes.")
@click.option(
    "--water",
    metavar="[tip3p|tip3pfb|spce|opc3|tip4pew|tip4pfb|opc]",
    help="PDB and mmCIF: fill a box with this water, and neutralize it by Na+ or Cl-.",
)
@click.option("--padding", metavar="LENGTH", show_default="1.2 nm", help="Water: least distance between periodic copies.")
@click.option("--box-shape", metavar="[cube|dodecahedron|octahedron]", show_default="cube", help="Water: shape of the box.")
@click.option("--ionic-strength", metavar="MOLAR", show_default="0 M", help="Water: salt beyond what neutralizes.")
@click.option("--box", metavar="EDGES", show_default="that of the files", help='"3 nm", "3 nm, 3 nm, 4 nm", or none.')
@click.option("--add-hydrogens", is_flag=True, help="PDB and mmCIF: add the hydrogens that are missing.")
@click.option("--ph", type=float, show_default="7", help="Of added hydrogens.")
@click.option("--cutoff", metavar="LENGTH", show_default="1 nm, CHARMM 1.2 nm", help="Of PME in real space.")
@click.option("--hydrogen-mass", metavar="MASS", show_default="that of hydrogen", help='"3 Da" allows steps of 4 fs.')
@click.option("--temperature", metavar="TEMPERATURE", show_default="300 K")
@click.option("--pressure", metavar="PRESSURE", show_default="1 bar", help="In the first half of equilibration.")
@click.option("--friction", metavar="RATE", show_default="1 1/ps", help="Of the Langevin thermostat.")
@click.option("--timestep", metavar="TIME", show_default="2 fs; 4 fs with heavy hydrogen")
@click.option(
    "--equilibrate",
    metavar="PS",
    show_default="50 ps",
    help="Half of it at constant pressure, the rest in the mean box; 0: only minimize.",
)
@click.option("--state-a", metavar="RANGES", help='As "phi2=-110..-50, r_1NA_2CL=..0.31": degrees and nm, names from --list.')
@click.option("--state-b", metavar="RANGES", help="Likewise.")
@click.option("--trajectory", type=_FILE, help="Show values of the variables along this, which mdtraj reads.")
@click.option("--seed", type=click.IntRange(min=0), show_default="1", help="Of ions, velocities and noise.")
@fastest_platform_option
@trust_option
@command
def init(structure: Path, out: Path | None, only_list: bool, **options: Any) -> None:
    """Make a folder for a molecule of your own from STRUCTURE, for `path`, `tps` and `rate`.

    \b
    openmm-rare init ala.pdb --water tip3p --out ala             PDB or mmCIF, in a box of water
    openmm-rare init raw.pdb --add-hydrogens --water tip3p --ionic-strength 0.15 --out x
    openmm-rare init start.pdb --topology system.xml --out x     a System of OpenMM, as it is
    openmm-rare init x.rst7 --topology x.prmtop --out x          AMBER
    openmm-rare init x.gro --topology topol.top --out x          GROMACS
    openmm-rare init x.crd --topology x.psf --forcefield par.prm --box "6 nm" --out x    CHARMM

    The energy is minimized and the box equilibrated, and config.toml is written with everything but the two states A
    and B, which only you know: it lists dihedrals and distances of your molecule with their values, to choose from.
    """
    from ..workflow.starting.request import Request
    from ..workflow.starting.start import look, start

    given = {name: value for name, value in options.items() if value not in (None, "", ())}
    request = Request.parse({"structure": structure, **given})
    if only_list:
        _show(look(request))
        return
    if out is None:
        raise UserError("say where to write: --out FOLDER (or --list, to look at the variables first)")
    _show_started(start(request, out))


def _show(seen: Seen) -> None:
    """Variables with their values."""
    from ..io.text import format_columns
    from ..workflow.starting.config_text import shown_candidates, values_in_words

    columns = {each.name: column for column, each in enumerate(seen.candidates.variables)}
    shown = shown_candidates(seen.candidates)
    if not shown:
        click.echo("No dihedrals or distances were found: name atoms of your own.")
        return
    heads = ["now", f"in {seen.where}"][: len(seen.values)]
    words = [values_in_words(each, seen.values[:, columns[each.name]])[: len(heads)] for each in shown]
    rows = [[each.name, *pair, each.label] for each, pair in zip(shown, words, strict=True)]
    left = len(columns) - len(shown)
    more = f"{left} more are written to candidates.csv, with --out FOLDER.\n" if left else ""
    click.echo(f"\n{format_columns(['variable', *heads, 'atoms'], rows)}\n{more}")


def _show_started(made: Started) -> None:
    """What was made, and what comes next."""
    from ..io.text import format_table
    from ..workflow.starting.config_text import next_commands

    click.echo(f"\n{format_table([('System', made.facts)])}")
    _show(made.seen)
    for sentence in made.warnings:
        click.secho(printable(f"Warning: {sentence}"), fg="red", err=True)
    folder = made.folder
    if not made.complete:
        click.echo(printable(f"next: write the states A and B into {folder / 'config.toml'}, where it says FILL IN; then"))
    for number, words in enumerate(next_commands(folder)):
        click.echo(printable(f"{'next: ' if made.complete and number == 0 else '      '}{words}"))
