"""Commands of openmm_rare in processes of their own, with limits, and what became of them."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ended", "Main", "forked", "import_everything", "openmm_rare", "said"]

Main = Callable[[list[str]], None]
"""A program, by the arguments of its command line."""

TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes
    ----------
    status : int or None
        Exit status, or minus the signal; None: over its limit of time.
    text : str
        What it said, on standard output and standard error.
    memory_gb, cpu_s : float
        Peak of the largest of its processes; CPU time of all.
    """

    status: int | None
    text: str
    memory_gb: float = 0.0
    cpu_s: float = 0.0

    @property
    def lines(self) -> list[str]:
        """What it said, without empty lines."""
        return [line.strip() for line in self.text.splitlines() if line.strip()]

    @property
    def last_line(self) -> str:
        """Where errors are."""
        return self.lines[-1] if self.lines else ""

    @property
    def failure(self) -> str | None:
        """The kind of outcome of a process that failed; None if it ended well."""
        if self.status is None or self.status == -signal.SIGXCPU:
            return "hang"
        if self.status < 0:
            return "signal"
        if TRACEBACK in self.text:
            return "traceback"
        if self.status:  # one line that begins with Error, whatever progress stands above it
            return "refused" if self.last_line.startswith("Error: ") else "traceback"
        return None


def openmm_rare(arguments: list[str]) -> None:
    """The command itself."""
    from openmm_rare.cli.main import main

    main(arguments, prog_name="openmm-rare")


def import_everything() -> None:
    """Import what commands import when they run, so that forks need not."""
    import torch

    torch.set_num_threads(1)
    from openmm_rare.parallel.processor_plugins import import_openmm_for

    import_openmm_for("Reference")  # and no driver of a GPU, which would have threads
    import mdtraj  # noqa: F401

    import openmm_rare.report.paths
    import openmm_rare.report.rate
    import openmm_rare.tps.first_paths.find_path
    import openmm_rare.workflow.analysis
    import openmm_rare.workflow.path_sampling
    import openmm_rare.workflow.scan  # noqa: F401


def forked(
    action: Callable[[], None], log: Path, folder: Path, cpu_s: int = 90, wall_s: float = 400.0, address_gb: float = 4.0
) -> Ended:
    """Do something in a fork of this process.

    Parameters
    ----------
    action : callable
        May end with SystemExit, as commands do.
    log : Path
        For what it says.
    folder : Path
        Where it works.
    cpu_s, wall_s : int, float
        CPU time of each of its processes, and wall time, after which it is killed: it hangs.
    address_gb : float
        How much the address space of each of its processes may grow beyond that of this one.
    """
    pid = os.fork()
    if pid == 0:
        _end(action, log.resolve(), folder, cpu_s, address_gb)
    end, done = time.monotonic() + wall_s, 0
    while not done and time.monotonic() < end:
        done, status, used = os.wait4(pid, os.WNOHANG)
        time.sleep(0.0 if done else 0.003)
    hangs = not done
    if hangs:
        os.killpg(pid, signal.SIGKILL)
        _, status, used = os.wait4(pid, 0)
    try:
        os.killpg(pid, signal.SIGKILL)  # workers that it has left behind
    except ProcessLookupError:
        pass
    code = None if hangs else os.waitstatus_to_exitcode(status)
    return Ended(code, log.read_text(errors="replace"), used.ru_maxrss / 1e6, used.ru_utime + used.ru_stime)


def _end(action: Callable[[], None], log: Path, folder: Path, cpu_s: int, address_gb: float) -> None:
    """The life of the fork."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.stdout = sys.stderr = os.fdopen(stream, "w", errors="replace")  # whatever they were in this process
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
        inherited = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (inherited + int(address_gb * 1e9),) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        action()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def said(lines: list[str], usual: list[str], *names: str) -> str:
    """The first line that names one of these, or damage, and is not said usually; empty if there is none."""
    new = [line for line in lines if line not in usual]
    return next((line for line in new if any(name in line for name in (*names, "damaged", "repaired"))), "")
