"""Kills, damaged files, mutated input and systems that are hard to sample, and one table of what came of them.

    python examples/validation/reliability/validate.py                    # all, about an hour on two cores
    python examples/validation/reliability/validate.py --quick            # one case in twenty
    python examples/validation/reliability/validate.py --only kill --only fuzz --fraction 0.5

Outcomes are kept below WORK, in a folder for each state of the code: the same command goes on after an interruption. The exit
status is 1 if anything came out wrong without a word, as a traceback, a crash, a hang, or with too much memory.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch load

import argparse
import datetime
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from canaries import canary_cases
from children import import_everything
from corruption import corruption_cases, prepare_flows, prepare_source
from fuzz import fuzz_cases
from hard import hard_cases
from inputs import prepare_inputs
from kill import kill_cases
from kill import prepare as prepare_kills
from outcomes import BAD, Case, Outcome, Record, outcomes_of, table
from tqdm import tqdm

__all__ = ["CAMPAIGNS", "main"]

CAMPAIGNS: dict[str, Callable[[float, int], Sequence[Case]]] = {
    "hard": hard_cases,  # what takes longest comes first
    "kill": kill_cases,
    "corruption": corruption_cases,
    "fuzz": lambda fraction, seed: [*canary_cases(fraction, seed), *fuzz_cases(fraction, seed)],
}
QUICK = 0.05
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def main() -> None:
    """Try what is missing, print the table, write it where it is wanted."""
    arguments = _arguments()
    begun, work = time.monotonic(), (arguments.work / _state_of_the_code()).resolve()
    record = Record(work / "outcomes.jsonl")
    import_everything()
    cases = [case for name in arguments.only for case in _some(CAMPAIGNS[name], arguments)]
    _prepare(arguments.only, cases, work, arguments.seed)
    known = record.of(case.key for case in cases)
    bar = tqdm(total=len(cases), initial=len(known), desc="cases", smoothing=0.0)
    seconds = 60.0 * arguments.minutes - (time.monotonic() - begun)
    for outcome in outcomes_of(cases, record, work, arguments.processes, seconds):
        bar.update()
        if outcome.kind in BAD:
            tqdm.write(f"{outcome.kind.upper()}: {': '.join(outcome.key)}: {outcome.note}")
    bar.close()
    found = record.of(case.key for case in cases)
    text = _text(found, len(cases) - len(found), arguments)
    print(text)
    print(f"every outcome: {work / 'outcomes.jsonl'}")
    if arguments.table:
        _write(arguments.table, text)
    sys.exit(any(outcome.kind in BAD for outcome in found))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(CAMPAIGNS), help="one of the campaigns; may be repeated")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the cases of each campaign")
    parser.add_argument("--quick", action="store_const", const=QUICK, dest="fraction", help=f"the same as --fraction {QUICK}")
    parser.add_argument("--cases", type=int, help="at most so many of each campaign")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no further case begins")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("build/reliability"))
    parser.add_argument("--table", type=Path, help=f"a file in which the table goes between {BEGIN} and {END}")
    arguments = parser.parse_args()
    arguments.only = arguments.only or list(CAMPAIGNS)
    if not 0.0 < arguments.fraction <= 1.0:
        parser.error("--fraction must be above 0 and at most 1")
    return arguments


def _some(campaign: Callable[[float, int], Sequence[Case]], arguments: argparse.Namespace) -> list[Case]:
    cases = list(campaign(arguments.fraction, arguments.seed))
    return cases if arguments.cases is None else cases[:: max(1, -(-len(cases) // arguments.cases))]


def _prepare(names: Sequence[str], cases: Sequence[Case], work: Path, seed: int) -> None:
    """What several cases need, before they are tried at the same time."""
    if "corruption" in names:
        prepare_flows(work, seed)
    if "fuzz" in names:
        prepare_source(work, "tps", seed)  # canaries lie in it
        prepare_inputs(work)
    for group, its_seed in sorted({(case.group, case.seed) for case in cases if case.campaign == "kill"}):
        prepare_kills(work, group, its_seed)


def _state_of_the_code() -> str:
    """Outcomes of other code do not count."""
    here = Path(__file__).resolve()
    files = [*here.parent.glob("*.py"), here.parents[1] / "hard_systems.py", *(here.parents[3] / "openmm_rare").rglob("*.py")]
    content = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in sorted(files))
    return hashlib.sha256(content).hexdigest()[:12]


def _text(outcomes: Sequence[Outcome], missing: int, arguments: argparse.Namespace) -> str:
    """The table as Markdown, with what it is a table of."""
    head, *rows = table(outcomes)
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    hard = Counter(each.kind.replace("silent", "wrong and silent") for each in outcomes if each.campaign == "hard")
    share = "all cases" if arguments.fraction == 1.0 and arguments.cases is None else "a part of the cases"
    told = [f"{datetime.date.today().isoformat()}, seed {arguments.seed}, {share}."]
    if missing:
        told.append(f"Stopped after {arguments.minutes:g} minutes: {missing} cases were not begun; the same command goes on.")
    if hard:
        told.append(f"Hard systems: {', '.join(f'{count} {kind}' for kind, count in sorted(hard.items()))}.")
    bad = [f"- {each.kind}: {': '.join(each.key)}: {each.note}" for each in outcomes if each.kind in BAD]
    return "\n".join([" ".join(told), "", *lines, *(["", "What must not be:", "", *bad[:20]] if bad else []), ""])


def _write(file: Path, text: str) -> None:
    before, found, rest = file.read_text(encoding="utf-8").partition(BEGIN)
    _, ends, after = rest.partition(END)
    if not (found and ends):
        raise SystemExit(f"{file} has no lines {BEGIN} and {END} for the table")
    file.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
