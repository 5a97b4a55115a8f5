"""What stands in the place of a file and would be waited for: a pipe, a device."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import InputError

__all__ = ["regular_file"]

_OF_THE_SYSTEM = ("/proc/", "/sys/")  # Linux: such files say that they are empty, and some never end


def regular_file(path: str | Path) -> Path:
    """The path, if it can be read to an end: reading a pipe waits for ever, and a device may never end.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If it is a folder, a pipe, a socket or a device, or what Linux shows as a file below /proc and /sys.
    """
    path = Path(path)
    mode = os.stat(path).st_mode
    if os.path.realpath(path).startswith(_OF_THE_SYSTEM):
        raise InputError(f"{path} is a file of the operating system, not of a disk: give a file")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'a pipe, a socket or a device'}: give a file")
    return path
