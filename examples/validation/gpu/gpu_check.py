r"""Everything that only a GPU can show, in one command of less than 8 minutes, without a network: one table and one JSON file.

    python examples/validation/gpu/gpu_check.py                          # CUDA at full size, OpenCL at a small one
    python examples/validation/gpu/gpu_check.py --platform OpenCL        # where OpenCL is the GPU's, --full as well
    python examples/validation/gpu/gpu_check.py --quick --only tests "E[w]"

Checks, each a process of its own with a limit of its own, so that what fails, hangs or crashes stops no other: OpenMM's forces
beside those of Reference, what evaluates a bias, the tests of the plugin in single, mixed and double precision, E[w] = 1, the
native integrator against Python's, throughput of 10³ to 10⁶ walkers, several Contexts of alanine dipeptide in water, the rate
of seven discs, and path sampling of alanine dipeptide. Where a platform is missing, all of its rows are skipped, and say why.
Throughput is measured alone, the rest several at a time where there are cores. The file is written after every row; the exit
status is 1 if one failed.

A machine without a network. The package runs from this checkout; `openmm_rare/lib` (the built plugin) and `openmm_rare/systems`
(a link to `../systems`) have to be in it. What its Python lacks is taken from the folder `wheels` beside this script, filled
where there is a network:

    pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        $(printf -- "--platform manylinux_2_%s_x86_64 " 17 28 34) -d examples/validation/gpu/wheels \
        OpenMM==8.6.1 OpenMM-CUDA-13==8.6.1 netCDF4 cftime tqdm click tomli-w jinja2 markupsafe pytest pluggy iniconfig

They are unpacked below `build/gpu_check`; nothing is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as machine
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from verdicts import Outcome, Where

__all__ = ["HEADER", "ROWS", "Row", "main", "run_row"]

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[2]
_WHEELS = _HERE / "wheels"
_PRECISIONS = ("single", "mixed", "double")


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes
    ----------
    title : str
    check : str
        Its function in ``checks.py`` or ``measured.py``.
    seconds : float
        After which it has failed, at full size on a GPU.
    precision : str
    walkers : int
    alone : bool
        Whether nothing else may run meanwhile.
    """

    title: str
    check: str
    seconds: float
    precision: str = "mixed"
    walkers: int = 0
    alone: bool = False


ROWS: tuple[Row, ...] = (
    *(Row(f"forces, {precision}", "forces", 60, precision) for precision in _PRECISIONS),
    Row("bias forces", "doctor", 60),
    Row("rate of LJ7", "lj7_rate", 150),
    Row("path sampling of alanine dipeptide", "alanine_paths", 120),
    *(Row(f"tests of the plugin, {precision}", "plugin_tests", 150, precision) for precision in _PRECISIONS),
    *(Row(f"E[w] = 1, {precision}", "mean_weight", 60, precision) for precision in _PRECISIONS),
    Row("native = Python", "native_is_python", 60),
    *(
        Row(f"throughput, 10^{power} walkers", "throughput", limit, walkers=10**power, alone=True)
        for power, limit in ((3, 40), (4, 40), (5, 60), (6, 130))
    ),
    Row("alanine dipeptide in water", "alanine_contexts", 60, alone=True),
)
"""Everything that is tried on a platform, what takes longest early."""

_SLOWER = 3.0  # limits where a processor imitates a GPU, and does other work as well
HEADER = ("check", "platform", "result", "figure", "seconds")
"""Heads the table."""


def _environment() -> dict[str, str]:
    """For children: the package of this checkout, and what was in the wheels."""
    site, wheels = _ROOT / "build" / "gpu_check", sorted(str(wheel) for wheel in _WHEELS.glob("*.whl"))
    if wheels and not site.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
        subprocess.run([*pip, "--target", str(site), *wheels], check=True)
    paths = [str(_ROOT), *([str(site)] if site.exists() else []), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}


def run_row(row: Row, where: Where, seconds: float, environment: dict[str, str]) -> Outcome:
    """Try it in a process of its own, which is ended with all of its children after so many seconds."""
    with tempfile.TemporaryDirectory() as folder:
        given, out, log = (Path(folder) / name for name in ("where.json", "out.json", "log"))
        given.write_text(json.dumps(asdict(where)), encoding="utf8")
        command = [sys.executable, str(_HERE / "checks.py"), row.check, str(given), str(out)]
        with open(log, "w") as stream:
            child = subprocess.Popen(
                command, cwd=_ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                status = child.wait(max(1.0, seconds))
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                return Outcome("FAIL", f"not done after {seconds:.0f} s")
        if out.exists():
            return Outcome(**json.loads(out.read_text(encoding="utf8")))
        said = log.read_text(errors="replace").strip().splitlines()
        return Outcome("FAIL", f"ended with status {status}: {said[-1] if said else 'nothing said'}"[:300])


class Report:
    """The rows that are done, in a table on the terminal and in a file.

    Parameters
    ----------
    path : Path
        Written anew after each row.
    about : dict
        What stands in the file beside the rows.
    """

    def __init__(self, path: Path, about: dict) -> None:
        self.path, self.about, self.rows = path, about, []
        path.parent.mkdir(parents=True, exist_ok=True)
        for cells in (HEADER, ["---"] * len(HEADER)):
            print("| " + " | ".join(cells) + " |", flush=True)

    def add(self, row: Row, where: Where, outcome: Outcome, seconds: float) -> None:
        """Print it and keep it."""
        cells = (row.title, where.platform, outcome.result, outcome.figure.replace("|", "/"), f"{seconds:.0f}")
        print("| " + " | ".join(cells) + " |", flush=True)
        size = "full" if where.full else "small"
        of_row = {"check": row.title, "platform": where.platform, "precision": row.precision, "size": size}
        self.rows.append(of_row | asdict(outcome) | {"seconds": seconds})
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.about | {"rows": self.rows}, indent=1), encoding="utf8")
        new.replace(self.path)

    def count(self, result: str) -> int:
        """Rows that came to this."""
        return sum(row["result"] == result for row in self.rows)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--platform", action="append", help="of OpenMM; may be repeated; default: CUDA and OpenCL")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small sizes on all platforms")
    size.add_argument("--full", action="store_true", help="full sizes on all platforms; default: on CUDA and HIP")
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose title has one of these in it")
    parser.add_argument("--minutes", type=float, default=7.8, help="for all; what has not begun by then is skipped")
    parser.add_argument("--together", type=int, default=max(1, len(os.sched_getaffinity(0)) // 4), help="processes at a time")
    parser.add_argument("--out", type=Path, default=Path("gpu_check.json"))
    arguments = parser.parse_args(given)
    arguments.platform = arguments.platform or ["CUDA", "OpenCL"]
    arguments.rows = [row for row in ROWS if any(text in row.title for text in arguments.only)]
    if not arguments.rows:
        parser.error(f"--only: no row has {' or '.join(arguments.only)} in its title")
    return arguments


def _timed(row: Row, where: Where, end: float, environment: dict[str, str]) -> tuple[Outcome, float]:
    """What it came to and the seconds that it took, within its limit and what is left of all."""
    left, begun = end - time.monotonic(), time.monotonic()
    if left < 5.0:
        return Outcome("skipped", "no time left"), 0.0
    limit = row.seconds * (1.0 if where.full else _SLOWER)
    outcome, took = run_row(row, where, min(limit, left), environment), time.monotonic() - begun
    if left < limit and took >= left:
        outcome = Outcome("skipped", f"no time left: ended after {took:.0f} s, before its limit")
    return outcome, took


def main(given: Sequence[str] | None = None) -> None:
    """Try everything, print the table, write the file."""
    arguments = _arguments(given)
    end, environment = time.monotonic() + 60.0 * arguments.minutes, _environment()
    found = run_row(Row("platforms", "platforms", 120), Where(""), 120.0, environment)
    works, reasons = (found.numbers.get(key, {}) for key in ("works", "reasons"))
    told = f"{time.strftime('%Y-%m-%d')}, {machine.machine()}, {os.cpu_count()} cores, Python {machine.python_version()}"
    print(f"{told}: {found.figure}\n")
    report = Report(arguments.out, {"machine": told, "environment": asdict(found)})
    if found.result != "pass":
        raise SystemExit(f"the package does not work here: {found.figure}")
    tasks: list[tuple[Row, Where]] = []
    for platform in arguments.platform:
        full = arguments.full or (platform in ("CUDA", "HIP") and not arguments.quick)
        for row in arguments.rows:
            where = Where(platform, row.precision, full, row.walkers)
            if platform in works:
                tasks.append((row, where))
            else:
                reason = reasons.get(platform, "OpenMM has no such platform here")
                report.add(row, where, Outcome("skipped", " ".join(reason.split())[:200]), 0.0)

    def several(wanted: Callable[[Row], bool], processes: int) -> None:
        with ThreadPoolExecutor(processes) as pool:
            chosen = [task for task in tasks if wanted(task[0])]
            futures = {pool.submit(_timed, *task, end, environment): task for task in chosen}
            for future in as_completed(futures):
                report.add(*futures[future], *future.result())

    several(lambda row: not row.alone, arguments.together)
    several(lambda row: row.alone, 1)
    counts = ", ".join(f"{report.count(result)} {result}" for result in ("pass", "FAIL", "skipped"))
    print(f"\n{counts}; {arguments.out}")
    sys.exit(report.count("FAIL") > 0)


if __name__ == "__main__":
    main()
