"""Long time steps from a learned action: symplectic and time-reversible whatever was learned. Experimental; not for rates."""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "data": ["ActionData"],
        "pair_features": ["PairFeatures"],
        "plain_features": ["PlainFeatures"],
        "linear_action": ["LinearAction"],
        "network": ["ActionNetwork"],
        "direct": ["DirectPredictor"],
        "midpoint_map": ["MidpointMap"],
        "integrator": ["LearnedActionIntegrator"],
        "checks": ["check_map"],
        "model_file": ["load_action"],
    },
)
