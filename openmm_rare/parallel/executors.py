"""Where tasks are computed: here, in processes, or anywhere else that keeps to one protocol."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar

__all__ = ["Executor", "Here", "SentOnce", "packed", "unpacked"]

_Result = TypeVar("_Result")


class Executor(Protocol):
    """Computes tasks: plain functions of plain data, whose results do not depend on where and in which order that happens.

    It is entered by whoever makes it, and ends what it has started at the end of the ``with`` block.

    Attributes
    ----------
    elsewhere : bool
        Whether tasks may run on other machines, which do not see files of this one.
    """

    elsewhere: bool

    def map(
        self, function: Callable[..., _Result], tasks: Sequence[tuple], keys: Sequence[int] | None = None
    ) -> Iterator[tuple[int, _Result]]:
        """Number and result of each task, as they come.

        A task whose process dies is computed again, a few times, and counts once.

        Parameters
        ----------
        function : callable
            Of a module, as for pickle.
        tasks : sequence of tuple
            Its arguments.
        keys : sequence of int, optional
            One for each task. Those with one key are computed in one place, in this call and later ones, one after another, as
            long as that place exists: there they find what they keep.

        Raises
        ------
        Exception
            What the first task that failed has raised; the others may be lost.
        RuntimeError
            If processes died at one task again and again, or what computes is gone.
        """


class Here:
    """Computes in this process, one after another."""

    elsewhere = False

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is to be ended."""

    def map(
        self, function: Callable[..., _Result], tasks: Sequence[tuple], keys: Sequence[int] | None = None
    ) -> Iterator[tuple[int, _Result]]:
        """As :meth:`Executor.map`."""
        for number, task in enumerate(tasks):
            yield number, function(*task)


class SentOnce:
    """What many tasks have in common, and does not change: pickled once, and made once in each process that gets it."""

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        return _received, (self.content(),)

    def content(self) -> bytes:
        """What it is made from."""
        if "_sent" not in vars(self):
            vars(self)["_sent"] = pickle.dumps((type(self), dict(vars(self))))
        return vars(self)["_sent"]


@lru_cache(maxsize=8)
def _received(content: bytes) -> Any:
    kind, state = pickle.loads(content)
    made = object.__new__(kind)
    vars(made).update(state)
    return made


def packed(work: Any) -> tuple[bytes, dict[str, bytes]]:
    """Something pickled, without the content of each :class:`SentOnce` in it; and these contents, by what names them."""
    stream = io.BytesIO()
    pickler = _Packer(stream)
    pickler.dump(work)
    return stream.getvalue(), pickler.contents


def unpacked(work: bytes, contents: Mapping[str, bytes]) -> Any:
    """Inverse of :func:`packed`; each :class:`SentOnce` is made once in a process."""
    unpickler = pickle.Unpickler(io.BytesIO(work))
    unpickler.persistent_load = lambda name: _received(contents[name])
    return unpickler.load()


class _Packer(pickle.Pickler):
    """Leaves out what is sent once."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.contents: dict[str, bytes] = {}

    def persistent_id(self, obj: Any) -> str | None:
        """The name of a content, which follows from it."""
        if not isinstance(obj, SentOnce):
            return None
        name = hashlib.sha256(obj.content()).hexdigest()
        self.contents[name] = obj.content()
        return name
