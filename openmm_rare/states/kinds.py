"""Tables of kinds: classes that a configuration or a record calls by a name, and that put themselves into a table."""

import re
from collections.abc import Iterator, Mapping

__all__ = ["Kinds"]


class Kinds(Mapping[str, type]):
    """Classes by their names, for ``__init_subclass__`` of their base: whoever imports the module of a kind has it here.

    Parameters
    ----------
    attribute : str
        Of a class, which holds its name. A class that sets none is given its own in lower case: ``PairDistances`` is
        ``pair_distances``.
    """

    def __init__(self, attribute: str) -> None:
        self.attribute = attribute
        self._classes: dict[str, type] = {}

    def __getitem__(self, name: str) -> type:
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)

    def add(self, cls: type, abstract: bool) -> None:
        """Take a class into the table, unless it is `abstract`; one of the same name and module is loaded again.

        Raises
        ------
        TypeError
            If it derives from a kind, which is final, or another class has its name.
        """
        final = [base for base in cls.__mro__[1:] if base in self._classes.values()]
        if final:
            base = next(each for each in final[0].__mro__[1:] if each not in final)
            raise TypeError(f"{cls.__name__} derives from {final[0].__name__}, which is final: derive from {base.__name__}")
        if abstract:
            return
        if self.attribute not in vars(cls):
            setattr(cls, self.attribute, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower())
        name = getattr(cls, self.attribute)
        other = self._classes.get(name, cls)
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(
                f"{self.attribute} = {name!r} of {cls.__name__} is that of {other.__module__}.{other.__name__}: take another"
            )
        self._classes[name] = cls
