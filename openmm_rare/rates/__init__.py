"""Rate constants: flux times the probability to reach B."""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "importance": ["ImportanceSamplingRate"],
        "brute_force": ["BruteForceRate"],
        "barrier.barrier_rate": ["BarrierRate"],
        "estimate": ["RateEstimate"],
    },
)
