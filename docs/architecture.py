"""Draw the picture in docs/architecture.md from the imports of the package: python docs/architecture.py

Needs the extra ``test``. Boxes are packages, one row for each floor of the contract in pyproject.toml; an arrow says that a
package imports from another, unless it does so through a third as well.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import tomllib
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path

import grimp
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).resolve().parent.parent
GROUPS = {  # colors of what belongs together
    "#FDE7C7": "cli workflow report config folders settings",
    "#D3E9F7": "tps ops paths",
    "#D8F0E3": "rates flux walkers action",
    "#EADCF4": "committor learning bias mechanism descriptors",
    "#F1F2F4": "problem systems states structure dynamics trust io parallel units statistics convergence errors faces",
}
COLUMNS, SWEEPS, BEHIND = 5, 6, 3.0
WIDTH, HEIGHT = 1.15, 0.45  # of a box


def floors() -> list[list[str]]:
    """Packages of each floor, from the top."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["id"] == "floors")
    return [[name.strip(" ()") for name in layer.split("|")] for layer in layers]


def imports(packages: set[str]) -> dict[str, set[str]]:
    """Which package imports from which; the folder systems/ lies where it is installed."""
    with tempfile.TemporaryDirectory() as folder:
        house = Path(folder, "openmm_rare")
        package = Path(find_spec("openmm_rare").origin).parent
        systems = next(path for path in (package / "systems", ROOT / "systems") if path.is_dir())
        shutil.copytree(package, house, ignore=shutil.ignore_patterns("lib", "systems", "__pycache__"))
        shutil.copytree(systems, house / "systems", ignore=shutil.ignore_patterns("data", "__pycache__"))
        sys.path.insert(0, folder)
        found = grimp.build_graph("openmm_rare", cache_dir=None)
        sys.path.remove(folder)
    graph: dict[str, set[str]] = {name: set() for name in packages}
    for importer in found.modules:
        for imported in found.find_modules_directly_imported_by(importer):
            here, there = ((name.split(".") + [""])[1] for name in (importer, imported))
            if here != there and {here, there} <= packages:
                graph[here].add(there)
    return graph


def arrows(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The imports that no chain of others makes as well; the graph must have no circle."""
    below: dict[str, set[str]] = {}

    def reached(name: str) -> set[str]:
        if name not in below:
            below[name] = graph[name].union(*map(reached, graph[name]))
        return below[name]

    return sorted((here, there) for here in graph for there in graph[here] if not any(there in reached(n) for n in graph[here]))


def places(rows: list[list[str]], drawn: list[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    """Columns and rows of the boxes: few arrows pass behind a box, and they are short."""
    at = {
        name: (column, number)
        for number, row in enumerate(rows)
        for name, column in zip(row, columns(len(row))[0], strict=True)
    }

    def cost() -> float:
        taken = {place: name for name, place in at.items()}
        total = 0.0
        for here, there in drawn:
            (x0, y0), (x1, y1) = at[here], at[there]
            total += abs(x1 - x0)
            for y in range(y0 + 1, y1):
                x = x0 + (x1 - x0) * (y - y0) / (y1 - y0)
                total += sum(BEHIND * (abs(x - column) < 0.45) for column in range(COLUMNS) if (column, y) in taken)
        return total

    for _ in range(SWEEPS):
        for number, row in enumerate(rows):
            tried = []
            for order in columns(len(row)):
                at |= {name: (column, number) for name, column in zip(row, order, strict=True)}
                tried.append((cost(), order))
            at |= {name: (column, number) for name, column in zip(row, min(tried)[1], strict=True)}
    return at


def columns(n: int) -> list[tuple[int, ...]]:
    """All ways to put n boxes into a row, those first that are in the middle of it."""
    return sorted(permutations(range(COLUMNS), n), key=lambda order: sum(abs(column - COLUMNS // 2) for column in order))


def draw(path: Path) -> None:
    """Write the picture."""
    rows = floors()
    drawn = arrows(imports({name for row in rows for name in row}))
    at = {name: (1.5 * column, -float(row)) for name, (column, row) in places(rows, drawn).items()}
    colors = {name: color for color, names in GROUPS.items() for name in names.split()}
    box = {"boxstyle": "round,pad=0,rounding_size=0.08", "edgecolor": "#4B5563", "lw": 0.8, "zorder": 3}
    arrow = {"arrowstyle": "-|>", "mutation_scale": 8, "lw": 0.8, "color": "#6B7280", "shrinkA": 0, "shrinkB": 0}
    with rc_context({"svg.hashsalt": "openmm_rare", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}):
        figure = Figure(figsize=(8.0, 0.5 * len(rows)), facecolor="white")
        ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        for here, there in drawn:
            (x0, y0), (x1, y1) = at[here], at[there]
            lean = 0.3 * WIDTH * (x1 - x0) / (abs(x1 - x0) + 1.0)
            start, end = (x0 + lean, y0 - 0.5 * HEIGHT), (x1 - lean, y1 + 0.5 * HEIGHT)
            ax.add_patch(FancyArrowPatch(start, end, **arrow)).set_gid(f"{here}->{there}")
        for name, (x, y) in at.items():
            corner = (x - 0.5 * WIDTH, y - 0.5 * HEIGHT)
            ax.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, facecolor=colors.get(name, "white"), **box))
            ax.text(x, y - 0.02, name, ha="center", va="center", zorder=4)
        ax.set(xlim=(-0.8, 1.5 * (COLUMNS - 1) + 0.8), ylim=(-len(rows) + 0.5, 0.5))
        ax.set_axis_off()
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=Path(__file__).with_suffix(".svg"), help="picture to write")
    draw(parser.parse_args().file)
