"""What a committor is: networks, models, and their files."""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "model": ["CommittorModel"],
        "ensemble": ["CommittorEnsemble"],
        "multistate": ["MultiStateModel"],
        "load": ["load_committor"],
    },
)
