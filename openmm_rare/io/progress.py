"""Progress of a run on the terminal: bars with the time left where there is a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from typing import Any, TextIO

from tqdm import tqdm

from .log import SAID
from .tasks import Progress
from .terminal_text import printable

__all__ = ["TerminalProgress", "duration", "reached", "shown", "shows_progress"]

_SURPRISE = 5.0  # times as long as the longest so far: what is under way says nothing about the time left


@contextmanager
def shown(progress: Progress | None) -> Iterator[Progress]:
    """The progress that a caller gave, or, with None, one on the terminal that ends with the block."""
    if progress is not None:
        yield progress
        return
    with TerminalProgress() as terminal:
        yield terminal


def shows_progress(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose argument ``progress`` is, where the caller gives none, one on the terminal."""
    parameters = signature(function)

    @wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        call = parameters.bind(*arguments, **named)
        with shown(call.arguments.get("progress")) as call.arguments["progress"]:
            return function(*call.args, **call.kwargs)

    return run


def duration(seconds: float) -> str:
    """A time as people say it: "45 s", "3 min 20 s", "2 h 5 min", "4 d 3 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


class TerminalProgress:
    """Shows stages and what they have reached; implements the Progress protocol of the rate engine.

    A thread keeps the display alive during long rounds: a bar is redrawn every second, and where the stream is no
    terminal a plain line is printed every `interval` seconds.

    Parameters
    ----------
    stream : text stream
        Default: standard error.
    interval : float
        Seconds between plain lines.
    quiet : bool
        Show nothing. All lines are logged in any case, whether shown as such or as a bar.

    Notes
    -----
    When :meth:`update` is told ``error`` and ``target``, as numbers or text such as "12 %", the work left is estimated
    from error proportional to 1/sqrt(work).
    """

    def __init__(self, stream: TextIO | None = None, interval: float = 10.0, quiet: bool = False) -> None:
        self._stream, self._quiet = stream or sys.stderr, quiet
        self._tty = not quiet and bool(getattr(self._stream, "isatty", lambda: False)())
        self._interval, self._logged_at, self._between = 1.0 if self._tty else interval, -math.inf, interval
        self._lock, self._stopped = threading.RLock(), threading.Event()
        self._bar: tqdm | None = None
        self._name: str | None = None
        self._done_before: dict[str, float] = {}
        self._begin("", None)
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def __enter__(self) -> TerminalProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        self.close(finished=kind is None)

    def stage(self, name: str, total: float | None = None) -> None:
        """A new stage begins; coming back to an earlier one continues its count."""
        with self._lock:
            self._finish()
            self._begin(name, total)
            self._line(f"{name} ...", shown=not self._tty)
            if self._tty:
                self._show()

    def update(self, n: float = 1.0, **postfix: object) -> None:
        """``n`` more of the work is done; the named values are shown."""
        with self._lock:
            if n > 0.0:  # nothing done is news only
                now = time.monotonic()
                self._intervals.append((now - self._last_update) / n)
                self._last_update, self._done, self._last_work = now, self._done + n, n
            self._values = dict(postfix)
            error, target = _number(postfix.get("error")), _number(postfix.get("target"))
            if error is not None and target:
                self._total = self._done * max(1.0, (error / target) ** 2)
            if self._tty:
                self._show()

    def note(self, sentence: str) -> None:
        """A line of its own."""
        with self._lock:
            if self._bar is not None:
                self._bar.clear()
            self._line(f"Note: {sentence}")

    def close(self, finished: bool = True) -> None:
        """End the display; the last state of the last stage, finished or broken off, stays visible."""
        self._stopped.set()
        with self._lock:
            self._finish(finished)
            self._name = None
        self._thread.join()

    def _begin(self, name: str, total: float | None) -> None:
        self._name, self._total = name or None, total
        self._done = self._done_before.get(name, 0.0)
        self._started, self._last_work = time.monotonic(), 0.0
        self._last_update = self._started
        self._intervals: deque[float] = deque(maxlen=20)
        self._values: dict[str, object] = {}

    def _finish(self, finished: bool = True) -> None:
        if self._name is None:
            return
        self._done_before[self._name] = self._done
        self._show(finished)
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _beat(self) -> None:
        while not self._stopped.wait(self._interval):
            with self._lock:
                if self._name is not None and not self._stopped.is_set():
                    self._show()

    def _seconds_left(self) -> float | None:
        if self._total is None or not self._intervals or not self._done < self._total < math.inf:
            return None
        # rounds replayed from an earlier run take no time and say nothing about the next ones
        longest = max(self._intervals)
        typical = [interval for interval in self._intervals if interval >= 0.05 * longest]
        each = sum(typical) / len(typical)
        waited, usual = time.monotonic() - self._last_update, self._last_work * each
        if waited > _SURPRISE * self._last_work * longest:
            return None  # everything so far was replayed, or was of another kind
        # the time left falls no further than by the work that is under way: what takes longer than that is no news
        return max(0.0, (self._total - self._done) * each - min(waited, usual))

    def _text(self, finished: bool) -> str:
        values = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self._values.items())
        elapsed = duration(time.monotonic() - self._started)
        left = None if finished else self._seconds_left()
        ending = "" if left is None else f", about {duration(left)} left"
        return f"{values}{'; ' if values else ''}{'took ' if finished else ''}{elapsed}{ending}"

    def _line(self, text: str, shown: bool = True) -> None:
        """Log a line, and show it."""
        SAID.info(text)
        self._logged_at = time.monotonic()
        if shown and not self._quiet:
            print(printable(text), file=self._stream, flush=True)

    def _show(self, finished: bool = False) -> None:
        if not self._tty or finished or time.monotonic() >= self._logged_at + self._between:
            share = f"{100 * min(1.0, self._done / self._total):.0f} %, " if self._total and self._done else ""
            self._line(f"{self._name}: {'' if finished else share}{self._text(finished)}", shown=not self._tty)
        if not self._tty:
            return
        if self._bar is None:
            self._bar = tqdm(file=self._stream, total=1.0, dynamic_ncols=True, bar_format="{desc}")
        known = self._total is not None and math.isfinite(self._total)
        bar = "{percentage:3.0f} %|{bar:20}| " if known or finished else ""
        name, text = (each.replace("{", "{{").replace("}", "}}") for each in (self._name, self._text(finished)))
        self._bar.bar_format = printable(f"{name:<22}{bar}{text}")
        self._bar.n = 1.0 if finished else min(1.0, self._done / self._total) if known else 0.0
        self._bar.refresh()


def reached(error: float, target: float) -> dict[str, str]:
    """Relative errors as :meth:`TerminalProgress.update` understands them."""
    now = f"{100 * error:.1f} %" if math.isfinite(error) else "not known yet"
    return {"error": now, "target": f"{100 * target:.2g} %"}


def _number(value: object) -> float | None:
    """A finite number from a number or from text such as "12.5 %"; None for anything else."""
    try:
        number = float(value.removesuffix("%")) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
