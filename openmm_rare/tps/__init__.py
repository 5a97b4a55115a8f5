"""Path sampling as an application of OpenPathSampling."""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "path_sampling": ["PathSampling", "SampledPaths"],
        "first_paths.find_path": ["find_path", "FoundPath"],
    },
)
