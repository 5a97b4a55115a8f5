"""Functions called in a process of their own, with limits: what crashes, hangs or takes all memory there leaves this one alone.

Readers of files of others, in C and C++, end the process that they run in when a file is damaged.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np

__all__ = ["ChildFailure", "ask"]

# Stands in for what -c runs in: modules of Python and of its packages come before those of folders that were added here.
_BEGIN = (
    "import sys; home, paths = sys.argv[1:3]; sys.path.insert(0, home); import openmm_rare; del sys.path[0]; "
    "sys.path += [path for path in paths.split('\\n') if path not in sys.path]; "
    "from openmm_rare.parallel.children import answer; answer()"
)
_HOME = Path(__file__).parents[2]
_START, _PATIENCE = 10.0, 10.0
"""Seconds that imports may take, and seconds of the clock for each of the processor: other programs may need it, too."""


class ChildFailure(Exception):
    """Why a process gave no answer, in words that fit into parentheses behind the name of what crashed, which is "it"."""


def ask(function: Callable[..., Mapping[str, Any]], *arguments: Any, memory: float, seconds: float) -> dict[str, Any]:
    """What a function returns that runs in a process of its own.

    Parameters
    ----------
    function : callable
        Of a module of this package; it returns arrays, and what JSON knows, by name.
    *arguments
        Of the function; what JSON knows.
    memory : float
        Bytes that it may take beside those of Python and NumPy.
    seconds : float
        Time of a processor that it may use.

    Raises
    ------
    ChildFailure
        If it raised an error, crashed, or reached a limit.
    """
    task = json.dumps([function.__module__, function.__qualname__, list(arguments), memory, seconds])
    paths = "\n".join(path for path in sys.path if path)
    command = [sys.executable, "-I", "-c", _BEGIN, str(_HOME), paths]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        watch = threading.Timer(_PATIENCE * (_START + seconds), process.kill)
        watch.daemon = True
        watch.start()
        try:
            process.stdin.write(task.encode() + b"\n")
            process.stdin.flush()
            reply = _received(process.stdout)
        except (ValueError, EOFError, OSError):  # it ended in the middle
            reply = None
        except BaseException:
            process.kill()
            raise
        finally:
            watch.cancel()
    if reply is None or process.returncode:
        raise ChildFailure(_end_in_words(process.returncode, seconds))
    if "failure" in reply:
        raise ChildFailure(reply["failure"])
    return reply


def answer() -> None:
    """What the process does: reads a task, and writes what it returns to standard output, which nothing else may use."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    module, name, arguments, memory, seconds = json.loads(sys.stdin.buffer.readline())
    function = getattr(importlib.import_module(module), name)
    _limit(memory, seconds)
    try:
        reply = function(*arguments)
    except MemoryError:
        reply = {"failure": f"it takes more than {memory / 1e9:.2g} GB of memory"}
    except Exception as error:
        reply = {"failure": " ".join(str(error).split()) or type(error).__name__}
    _send(stream, reply)
    stream.flush()
    os._exit(0)  # libraries that a damaged file has confused may crash when they are taken down


def _limit(memory: float, seconds: float) -> None:
    """Set the limits, where the operating system has them."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = int(sum(os.times()[:2]))
    _lower(resource.RLIMIT_CPU, used + int(np.ceil(seconds)))
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return
    _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + int(memory))


def _lower(which: int, limit: int) -> None:
    import resource

    hard = resource.getrlimit(which)[1]
    resource.setrlimit(which, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _send(stream: BinaryIO, reply: Mapping[str, Any]) -> None:
    """A line of JSON, and the arrays after it."""
    arrays = {name: value for name, value in reply.items() if isinstance(value, np.ndarray)}
    rest = {name: value for name, value in reply.items() if name not in arrays}
    stream.write(json.dumps([rest, list(arrays)]).encode() + b"\n")
    pipe = SimpleNamespace(write=stream.write)  # NumPy asks real files where they stand
    for array in arrays.values():
        np.lib.format.write_array(pipe, np.asarray(array, order="C"), allow_pickle=False)


def _received(stream: BinaryIO) -> dict[str, Any]:
    """What :func:`_send` has sent."""
    rest, names = json.loads(stream.readline() or b"?")
    pipe = SimpleNamespace(read=stream.read)
    return rest | {name: np.lib.format.read_array(pipe, allow_pickle=False) for name in names}


def _end_in_words(status: int, seconds: float) -> str:
    """How a process ended that gave no answer."""
    if status >= 0:
        return f"it ended without a word, with status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    if name == "SIGXCPU":
        return f"it came to no end in {seconds:.0f} s"
    if name == "SIGKILL":
        return "it was stopped, because it took too long or too much memory"
    return f"it crashed, {name}: the file is damaged"
