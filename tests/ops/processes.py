"""Processes of their own: for what changes OpenPathSampling, and to see what a process knows that has only the files."""

import subprocess
import sys
import textwrap

import openpathsampling as paths

from openmm_rare.ops.simstore import open_simstore


def open_storage(name, mode, template=None):
    """netCDF, or our SimStore, which changes OpenPathSampling for the whole process: use it in processes of its own only."""
    if str(name).endswith(".nc"):
        return paths.Storage(str(name), mode, template=template) if mode == "w" else paths.Storage(str(name), mode)
    return open_simstore(name, mode)


def fresh(code, folder, **options):
    """A process of its own that runs some code after the imports of this file."""
    start = f"import sys; sys.path[:0] = {sys.path!r}\nfrom test_learning import *\n"
    return subprocess.Popen([sys.executable, "-c", start + textwrap.dedent(code)], cwd=folder, text=True, **options)


def in_fresh(code, folder):
    """Wait for it; it must not fail."""
    process = fresh(code, folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, errors = process.communicate()
    assert process.returncode == 0, (process.returncode, errors)
