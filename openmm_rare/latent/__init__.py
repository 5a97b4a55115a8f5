"""Latent Langevin dynamics: coordinates, their free energy, and dynamics in them whose thermodynamics is exact."""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "embedding": ["Embedding"],
        "metric": ["ConstantMetric", "LearnedMetric", "PairDistanceMetric"],
        "violation": ["MetricReport", "metric_violation"],
        "mean_force": ["local_mean_force"],
        "potential": ["LatentPotential"],
        "fitting": ["FitReport", "fit_latent_potential"],
        "autoencoder": ["AutoencoderReport", "train_autoencoder"],
        "langevin": ["LatentLangevin", "LatentReport"],
        "comparison": ["DensityComparison", "compare_densities"],
    },
)
