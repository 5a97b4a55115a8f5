"""Worker processes: started without running the user's script again, and quiet at Ctrl-C."""

from __future__ import annotations

import ast
import multiprocessing
import multiprocessing.context
import os
import pickle
import pickletools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import InputError
from .processor_plugins import import_openmm_for

__all__ = ["Workers", "require_importable", "require_own_process"]

_SAFE_PATH = "PYTHONSAFEPATH"
_GUARD = 'if __name__ == "__main__":'


class Workers(ProcessPoolExecutor):
    """A pool of processes with one thread of torch each, which end with this one, whatever ends it.

    A script without a main guard is not run again in them. When the ``with`` block fails, they are stopped in their work.

    Parameters
    ----------
    n : int
    setup : callable, optional
        What each process does first; a function of a module.
    *arguments
        Of `setup`.
    platform : str, optional
        The only platform of OpenMM that they need; default: any.
    """

    def __init__(self, n: int, setup: Callable[..., None] | None = None, *arguments: Any, platform: str | None = None) -> None:
        # no fork, which would inherit threads of OpenMM and torch; as bytes, for which nothing is imported before _begin runs
        with _safe_path():
            super().__init__(n, _Context(), _begin, (platform, pickle.dumps((setup, arguments))))
        self._started: dict[int, Any] = {}

    def submit(self, *task: Any, **options: Any) -> Future:
        """As of any pool."""
        future = super().submit(*task, **options)
        self._started |= self._processes or {}
        return future

    @property
    def killed(self) -> bool:
        """Whether a signal has ended a process, and not something that it would do again."""
        return any((process.exitcode or 0) < 0 for process in self._started.values())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        if kind is not None:
            for process in list((self._processes or {}).values()):  # what terminate_workers of Python 3.14 does
                process.terminate()
        super().__exit__(kind, error, traceback)


def require_own_process() -> None:
    """End a worker that is running the user's script again and has come to a run in it, with one line.

    Raises
    ------
    SystemExit
        In such a worker.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(f"{_script()}: workers run this script again; put what it does below {_GUARD}")


def require_importable(work: Any, elsewhere: bool = False) -> None:
    """Refuse functions and classes that workers would have to find in a script which they must not run again.

    Parameters
    ----------
    work : object
        What workers get.
    elsewhere : bool
        Whether these run no script, guard or not.

    Raises
    ------
    ValueError
        With the names of the functions.
    """
    script = _script()
    if script is not None and _has_guard(script) and not elsewhere:
        return
    content = pickle.dumps(work)
    if b"__main__" not in content:
        return
    words = [argument for _, argument, _ in pickletools.genops(content) if isinstance(argument, str)]
    names = [name for module, name in zip(words[:-1], words[1:], strict=True) if module == "__main__"]
    again = script is not None and script.is_file() and not elsewhere  # no notebook, nor standard input
    remedy = f"would have to run again: put what it does below {_GUARD}, or" if again else "cannot read: put"
    raise InputError(
        f"workers need {', '.join(names) or 'functions'} of {script or 'this session'}, which they {remedy} the functions into "
        "a module of their own"
    )


class _Process(multiprocessing.context.SpawnProcess):
    """A process that does not run the script of its parent, unless that has a main guard."""

    def start(self) -> None:
        """Start it."""
        with _script_hidden(), _safe_path():
            super().start()


class _Context(multiprocessing.context.SpawnContext):
    Process = _Process


@contextmanager
def _safe_path() -> Iterator[None]:
    """Meanwhile Python starts without the present folder on its import path: a pickle.py in it is not to run.

    Processes then get the import path of this one. Python 3.10 cannot do this.
    """
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


@contextmanager
def _script_hidden() -> Iterator[None]:
    """Meanwhile ``__main__`` has no file, as in an interactive session, if running that file again would do its work twice."""
    script, main = _script(), sys.modules["__main__"]
    if script is None or _has_guard(script):
        yield
        return
    hidden = {name: getattr(main, name, None) for name in ("__file__", "__spec__")}
    try:
        for name in hidden:
            setattr(main, name, None)
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


def _script() -> Path | None:
    """The file that this process was started with, if any."""
    name = getattr(sys.modules["__main__"], "__file__", None)
    return None if name is None else Path(name)


@cache
def _has_guard(script: Path) -> bool:
    """Whether a script compares ``__name__`` with something; what is no Python is left as it is, and standard input no file."""
    try:
        tree = ast.parse(script.read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, SyntaxError, ValueError):
        return True
    compared = (each for node in ast.walk(tree) if isinstance(node, ast.Compare) for each in (node.left, *node.comparators))
    return any(isinstance(each, ast.Name) and each.id == "__name__" for each in compared)


def _begin(platform: str | None, content: bytes) -> None:
    """What a worker does first: dies of Ctrl-C without a word, and with its parent, which may be killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    import torch

    torch.set_num_threads(1)
    import_openmm_for(platform)  # after torch, which some plugins need
    setup, arguments = pickle.loads(content)
    if setup is not None:
        setup(*arguments)
