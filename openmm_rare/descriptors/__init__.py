"""From positions to features."""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "build": ["build_descriptor"],
        "base": ["Descriptor"],
    },
)
