"""Tests that need OpenPathSampling: left out, with a word about it, where it is not installed."""

from importlib.util import find_spec

_ABSENT = find_spec("openpathsampling") is None
collect_ignore_glob = ["test_*.py"] if _ABSENT else []


def pytest_report_header() -> list[str]:
    """What is left out."""
    return ["openpathsampling is not installed: tests/ops is left out (pip install openmm-rare[ops])"] if _ABSENT else []
