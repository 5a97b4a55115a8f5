"""Sorting a few numbers of each of many walkers, in a form that a gradient can be carried back through."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

__all__ = ["ascending", "scatter", "sorted_rows", "sorted_values"]

_FEW = 200  # columns below which NumPy sorts faster than a sorting network of whole rows
_MANY = 32  # places from which on it does, too: the work of the network grows as n log^2 n


def sorted_rows(values: Tensor) -> Tensor:
    """Sort values (walker, place) over the places; NumPy finds the order in a fraction of the time that PyTorch needs."""
    if values.device.type != "cpu" or torch.jit.is_tracing():
        return torch.sort(values, dim=1)[0]
    order = np.argsort(values.detach().numpy(), axis=1)
    return values.gather(1, torch.from_numpy(order))


def sorted_values(values: np.ndarray) -> np.ndarray:
    """Sort float32 values (group, place, walker) over the places; returns (place, group, walker) and forgets the order."""
    values = values.transpose(1, 0, 2)
    return _sort_columns(values) if _in_columns(values) else _sort_all_rows(values.copy())


def ascending(values: np.ndarray) -> np.ndarray:
    """Sort non-negative float32 values (group, place, walker) over the places of each group.

    Returns flat indices (place, group, walker) for ``values.take`` and :func:`scatter`. The place is written into the last
    bits of a double, which a single-precision number leaves free: so all numbers differ, and keep their order.
    """
    n_groups, n_places, n = values.shape
    last_bits = (1 << (n_places - 1).bit_length()) - 1
    keys = values.transpose(1, 0, 2).astype(np.float64, order="C")
    keys.view(np.int64)[:] |= np.arange(n_places)[:, None, None]
    keys = _sort_columns(keys) if _in_columns(keys) else _sort_all_rows(keys)
    places = keys.view(np.int64)
    places &= last_bits
    places *= n
    places += np.arange(0, values.size, n_places * n)[:, None] + np.arange(n)
    return places


def _in_columns(keys: np.ndarray) -> bool:
    """Whether to sort one column after the other."""
    return keys[0].size < _FEW or len(keys) > _MANY


def _sort_columns(keys: np.ndarray) -> np.ndarray:
    """Sort along the first axis; NumPy is much faster where the numbers to be sorted lie side by side."""
    columns = np.moveaxis(keys, 0, -1).copy()
    columns.sort(axis=-1)
    return np.moveaxis(columns, -1, 0).copy()


def _sort_all_rows(keys: np.ndarray) -> np.ndarray:
    """Sort along the first axis, row by row: for many columns several times faster than NumPy's sort of each of them.

    The keys are overwritten.
    """
    rows, spare = list(keys), np.empty_like(keys[0])
    for i, j in _sorting_network(len(keys)):
        np.minimum(rows[i], rows[j], out=spare)
        np.maximum(rows[i], rows[j], out=rows[j])
        rows[i], spare = spare, rows[i]
    return np.stack(rows)


@cache
def _sorting_network(n: int) -> list[tuple[int, int]]:
    """Pairs of places (lower, higher) to be put in order one after the other: Batcher's odd-even merge sort."""
    pairs = []
    for length in (1 << k for k in range((n - 1).bit_length())):  # of the sorted runs that are merged
        step = length
        while step >= 1:
            for start in range(step % length, n - step, 2 * step):
                for i in range(start, min(start + step, n - step)):
                    if i // (2 * length) == (i + step) // (2 * length):
                        pairs.append((i, i + step))
            step //= 2
    return pairs


def scatter(values: np.ndarray, indices: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Put back what ``take(indices)`` has gathered from an array of this shape."""
    result = np.empty(shape, dtype=np.float32)
    result.reshape(-1)[indices] = values
    return result
