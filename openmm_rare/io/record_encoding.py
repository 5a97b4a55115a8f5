"""Records as netCDF in memory and back: arrays are variables, numbers and text attributes, slashes in names subgroups."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    import netCDF4

__all__ = ["encode", "hdf5_length", "read_attributes", "read_group"]

_NUMERIC = {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"}


def encode(records: Iterable[tuple[str, int, Mapping]], attributes: Mapping, size: int = 0) -> memoryview:
    """A netCDF file as bytes, up to where it says that it ends.

    Built in memory: when the disk fills up, plain writing fails cleanly, while the HDF5 library keeps its file open.
    `size` in bytes is a guess of the result's, which saves copying while it grows.
    """
    import netCDF4

    dataset = netCDF4.Dataset("memory.nc", "w", format="NETCDF4", memory=size + 65536)
    try:
        for name, value in attributes.items():
            _write_scalar(dataset, name, value)
        for kind, index, data in records:
            group = dataset.createGroup(f"{kind}/{index:06d}")
            # all names first, then all numbers: on every turn from names to numbers the library walks through the whole file
            for variable, array in filter(None, [_define(group, name, value) for name, value in data.items()]):
                variable[...] = array
    except BaseException:
        dataset.close()
        raise
    content = dataset.close()
    return content[: hdf5_length(content)]


def hdf5_length(head: bytes | memoryview) -> int:
    """How long an HDF5 file is by its own account (superblock versions 0 to 3)."""
    return struct.unpack_from("<Q", head, {0: 40, 1: 44}.get(head[8], 28))[0]


def _define(group: netCDF4.Group, name: str, value: Any) -> tuple[netCDF4.Variable, np.ndarray] | None:
    """Write a scalar, or make the variable of an array; returns what is still to be written into it."""
    folder, _, last = name.rpartition("/")
    if not last:
        raise InputError(f"record entry {name!r} must have a name that does not end in '/'")
    target = group.createGroup(folder) if folder else group
    if isinstance(value, np.ndarray):
        return _define_array(target, last, value)
    _write_scalar(target, last, value)
    return None


def _write_scalar(group: netCDF4.Group, name: str, value: Any) -> None:
    """Python and NumPy scalars become attributes; uint8 marks bool, nothing else is stored so."""
    if isinstance(value, bool | np.bool_):
        value = np.uint8(value)
    elif isinstance(value, int | np.integer):
        if not -(2**63) <= value < 2**64:
            raise InputError(f"record entry {name!r} = {value} needs more than 64 bits; store it as text")
        value = np.int64(value) if value < 2**63 else np.uint64(value)
    elif isinstance(value, float | np.floating):
        value = np.float64(value)
    elif not isinstance(value, str):
        raise TypeError(f"record entry {name!r} is a {type(value).__name__}; allowed: arrays, numbers, bool and text")
    group.setncattr(name, value)


def _define_array(group: netCDF4.Group, name: str, array: np.ndarray) -> tuple[netCDF4.Variable, np.ndarray] | None:
    kind = "i1" if array.dtype == bool else array.dtype.newbyteorder("=").str[1:]
    text = array.dtype.kind == "U"
    if not text and kind not in _NUMERIC:
        raise TypeError(f"record entry {name!r} has dtype {array.dtype}; allowed: bool, integers, float32/64 and text")
    top = group
    while top.parent is not None:
        top = top.parent
    for size in array.shape:
        if f"n{size}" not in top.dimensions:
            top.createDimension(f"n{size}", size)  # size 0 makes an unlimited dimension, which stays empty
    dimensions = tuple(f"n{size}" for size in array.shape)
    fill = None if text else False
    variable = group.createVariable(name, str if text else kind, dimensions, fill_value=fill)
    variable.set_auto_maskandscale(False)
    if array.dtype == bool:
        variable.setncattr("boolean", np.uint8(1))
    return (variable, array.astype(object) if text else array.astype(kind, copy=False)) if array.size > 0 else None


def read_group(group: netCDF4.Group, only: Collection[str] | None = None, prefix: str = "") -> dict[str, Any]:
    """What a group holds, apart from all but some names; bit for bit what was encoded."""
    scalars = read_attributes(group)
    record = {prefix + name: value for name, value in scalars.items() if only is None or prefix + name in only}
    for name, variable in group.variables.items():
        if only is not None and prefix + name not in only:
            continue
        array = np.asarray(variable[...])
        if "boolean" in variable.ncattrs():
            array = array.astype(bool)
        record[prefix + name] = array.astype(str) if array.dtype == object else array
    for name, child in group.groups.items():
        record.update(read_group(child, only, f"{prefix}{name}/"))
    return record


def read_attributes(group: netCDF4.Group) -> dict[str, Any]:
    """Numbers, bool and text of a group."""
    attributes = {}
    for name in group.ncattrs():
        value = group.getncattr(name)
        if isinstance(value, np.uint8):
            value = bool(value)
        attributes[name] = value.item() if isinstance(value, np.generic) else value
    return attributes
