"""What a learned committor says about the mechanism: inputs and atoms that matter, a formula, and how far to trust it."""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "findings": ["Mechanism"],
        "options": ["AnalysisOptions"],
    },
)
