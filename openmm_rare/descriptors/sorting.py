"""Sorting a few numbers of each of many walkers, in a form that a gradient can be carried back through."""

from functools import cache

import numpy as np

__all__ = ["ascending", "scatter", "sorted_values"]

_FEW = 200  # columns below which NumPy sorts faster than a sorting network of whole rows


def sorted_values(values: np.ndarray) -> np.ndarray:
    """Sort float32 values (group, place, walker) over the places; returns (place, group, walker) and forgets the order."""
    values = values.transpose(1, 0, 2)
    return np.sort(values, axis=0) if values[0].size < _FEW else _sorted_rows(values.copy())


def ascending(values: np.ndarray) -> np.ndarray:
    """Sort non-negative float32 values (group, place, walker) over the places of each group.

    Returns flat indices (place, group, walker) for ``values.take`` and :func:`scatter`. The place is written into the last
    bits of a double, which a single-precision number leaves free: so all numbers differ, and keep their order.
    """
    n_groups, n_places, n = values.shape
    last_bits = (1 << (n_places - 1).bit_length()) - 1
    keys = values.transpose(1, 0, 2).astype(np.float64, order="C")
    keys.view(np.int64)[:] |= np.arange(n_places)[:, None, None]
    if n_groups * n < _FEW:
        keys.sort(axis=0)
    else:
        keys = _sorted_rows(keys)
    places = keys.view(np.int64)
    places &= last_bits
    places *= n
    places += np.arange(0, values.size, n_places * n)[:, None] + np.arange(n)
    return places


def _sorted_rows(keys: np.ndarray) -> np.ndarray:
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
