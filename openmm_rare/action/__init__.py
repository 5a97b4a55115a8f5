"""Long time steps from a learned action: symplectic and time-reversible whatever was learned. Experimental; not for rates."""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "data": ["ActionData"],
        "features.pair_features": ["PairFeatures"],
        "features.plain_features": ["PlainFeatures"],
        "linear_action": ["LinearAction"],
        "network": ["ActionNetwork"],
        "direct": ["DirectPredictor"],
        "midpoint_map": ["MidpointMap"],
        "integrator": ["LearnedActionIntegrator"],
        "checking.map_check": ["check_map"],
        "model_file": ["load_action"],
    },
)
