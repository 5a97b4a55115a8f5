"""The dynamics of a problem in OpenMM: integrators, copies of a System, and what can be seen to go wrong."""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "overdamped": ["OverdampedLangevinIntegrator", "BiasedOverdampedLangevinIntegrator"],
        "langevin": ["BAOABLangevinIntegrator"],
        "biased_langevin": ["BiasedLangevinIntegrator"],
        "frames": ["Frames"],
    },
)
