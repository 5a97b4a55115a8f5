"""What a check has found: rows of one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Checked", "Row", "Verdict"]

Verdict = Literal["ok", "warning", "refused"]


@dataclass(frozen=True)
class Row:
    """One thing that was looked at.

    Attributes
    ----------
    about : str
    verdict : "ok", "warning" or "refused"
    said : str
        What was found, and what to do about it.
    """

    about: str
    verdict: Verdict
    said: str


@dataclass
class Checked:
    """All rows, and the numbers behind them.

    Attributes
    ----------
    source : str
        What was checked.
    rows : list of Row
    numbers : dict
        By name, with units in the names.
    """

    source: str
    rows: list[Row] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def add(self, about: str, said: str, verdict: Verdict = "ok") -> None:
        """One more row; what an earlier one has said already is only pointed to."""
        earlier = next((row.about for row in self.rows if row.said == said and verdict != "ok"), None)
        self.rows.append(Row(about, verdict, said if earlier is None else f'the same as for "{earlier}"'))

    def add_all(self, about: str, sentences: Sequence[str], verdict: Verdict) -> None:
        """A row for each sentence."""
        for sentence in sentences:
            self.add(about, sentence, verdict)

    @property
    def refused(self) -> bool:
        """Whether anything would be refused."""
        return any(row.verdict == "refused" for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        rows = [{"about": row.about, "verdict": row.verdict, "said": row.said} for row in self.rows]
        return {"source": self.source, "refused": self.refused, "rows": rows, "numbers": self.numbers}
