"""The answer so far: result.json and the report of a rate that is still being computed, or was stopped."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import RareError, RunError
from ..io.pace import Pace
from ..io.run_file import RunFile
from ..io.tasks import Progress
from ..rates.early.interim import in_words
from ..rates.estimate import RateEstimate
from ..rates.rate_run import RateRun
from .compare import compared
from .finishing import write_numbers, write_page_of

__all__ = ["computed"]

_SHARE, _LEAST = 0.03, 20.0  # of the time that reports may take, and seconds between two


class _Live:
    """Keeps ``result.json`` up to date with every estimate, and the report now and then."""

    def __init__(self, out: Path, run: RunFile, backward: bool) -> None:
        self._out, self._run, self._backward, self._pace = out, run, backward, Pace(_SHARE, _LEAST)
        self.latest: RateEstimate | None = None
        with self._pace.spending():  # the first page comes when a run has lasted for a while
            pass

    def __call__(self, estimate: RateEstimate) -> None:
        """Take an estimate of the run as far as it has come."""
        self.latest = replace(estimate, backward=self._backward)
        write_numbers(self._out, self._run, self.latest)
        if self._pace.due:
            with self._pace.spending():
                self._draw()

    def _draw(self) -> None:
        """Write the page; what goes wrong with a picture of a run that goes on is no reason to end it."""
        try:
            write_page_of(self._out, self._run)
        except (RareError, OSError):
            raise
        except Exception:
            logging.getLogger(__name__).exception("the report so far could not be drawn; the run goes on")

    def close(self, progress: Progress) -> None:
        """Write the latest estimate for good, and say it."""
        if self.latest is None:
            progress.note("There is no estimate yet.")
            return
        write_numbers(self._out, self._run, self.latest)
        self._draw()
        progress.note(f"{in_words(self.latest)} ({self._out / 'result.json'}, {self._out / 'report.html'}).")


def computed(
    out: Path,
    run: RunFile,
    engine: RateRun,
    progress: Progress,
    others: Sequence[Mapping[str, Any]] = (),
    backward: bool = False,
) -> RateEstimate:
    """The estimate of a run, beside others; its folder says what is known while it is computed, and if it is stopped.

    Parameters
    ----------
    out : Path
    run : RunFile
        Keeps what the engine computes.
    engine : RateRun
    progress : Progress
    others : sequence of mapping
        For :func:`~openmm_rare.workflow.compare.compared`.
    backward : bool
        Of the way back.

    Raises
    ------
    KeyboardInterrupt, RunError
        Of the run, after the folder was told.
    """
    engine.watch = live = _Live(out, run, backward)
    try:
        return replace(compared(engine.run(), others), backward=backward)
    except KeyboardInterrupt:
        live.close(progress)
        raise
    except RunError:
        if live.latest is not None:
            live.close(progress)
        raise
