"""From an importance function to a force of OpenMM."""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "bias": ["Bias"],
        "committor_bias": ["CommittorBias"],
        "importance": ["ImportanceFunction", "FastImportance", "TorchImportance", "importance_of"],
    },
)
