"""Everything that people look at: pages, figures and their style."""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "rate": ["write_rate_report"],
        "paths": ["write_path_report"],
        "scan": ["write_scan_report"],
        "mechanism": ["write_mechanism_report"],
        "latent": ["write_latent_report"],
    },
)
