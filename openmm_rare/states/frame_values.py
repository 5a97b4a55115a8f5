"""What functions of the positions return: one value for each frame, and nothing that NumPy would stretch to fit."""

from typing import Any

import numpy as np

from ..errors import InputError

__all__ = ["one_per_frame"]

_NOUNS = {"fiub": "numbers", "b": "booleans", "iu": "integers"}


def one_per_frame(returned: Any, n: int, name: str, kinds: str = "fiub") -> np.ndarray:
    """The values, shape (n,); those of shape (n, 1), as mdtraj returns them, are taken as such.

    Parameters
    ----------
    returned : array_like
        By a function of n frames.
    n : int
    name : str
        Of the function, for the message.
    kinds : str
        Of NumPy's dtypes that fit: "fiub" for numbers, "b" for booleans, "iu" for integers.

    Raises
    ------
    ValueError
        For another shape, or values of another kind.
    """
    if type(returned) is np.ndarray and returned.shape == (n,) and returned.dtype.kind in kinds:
        return returned
    try:
        values = None if _is_special(returned) else np.asarray(returned)
    except Exception:  # ragged lists, tensors with gradients
        values = None
    if values is not None and values.shape == (n, 1):
        values = values[:, 0]
    if values is None or values.shape != (n,) or values.dtype.kind not in kinds:
        raise InputError(
            f"{name} must return {_NOUNS[kinds]} of shape ({n},), not {_in_words(returned, values)}: one for each frame"
        )
    return values


def _is_special(returned: Any) -> bool:
    """Whether ``np.asarray`` would drop a unit or a mask."""
    return hasattr(returned, "value_in_unit") or isinstance(returned, np.ma.MaskedArray)


def _in_words(returned: Any, values: np.ndarray | None) -> str:
    if returned is None:
        return "None"
    if hasattr(returned, "value_in_unit"):
        return f"a quantity in {returned.unit} (divide it by a unit)"
    if getattr(returned, "requires_grad", False):
        return "a tensor with gradients (return tensor.detach())"
    if values is None:
        return f"{type(returned).__name__}"
    if values.ndim == 0:
        return f"a single value ({returned!r})"
    return f"{values.dtype} {values.shape}"
