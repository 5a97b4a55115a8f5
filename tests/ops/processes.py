"""Processes of their own: for what changes OpenPathSampling, and to see what a process knows that has only the files."""

import atexit
import subprocess
import sys
import textwrap

import openpathsampling as paths

from openmm_rare.ops.simstore import open_simstore


def open_storage(name, mode, template=None):
    """netCDF, or our SimStore, which changes OpenPathSampling for the whole process: use it in processes of its own only.

    What is read is closed when the process ends: netCDF files that are still open when Python goes down have crashed it.
    """
    if not str(name).endswith(".nc"):
        return open_simstore(name, mode)
    storage = paths.Storage(str(name), mode, template=template) if mode == "w" else paths.Storage(str(name), mode)
    if mode == "r":
        atexit.register(storage.close)
    return storage


def fresh(code, folder, **options):
    """A process of its own that runs some code after the imports of this file."""
    start = f"import sys; sys.path[:0] = {sys.path!r}\nfrom test_learning import *\n"
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", start + textwrap.dedent(code)], cwd=folder, text=True, **options
    )


def in_fresh(code, folder):
    """Wait for it; it must not fail."""
    process = fresh(code, folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, errors = process.communicate()
    assert process.returncode == 0, (process.returncode, errors)
