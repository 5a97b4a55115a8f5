"""What a command does, from a configuration to a folder."""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "rate": ["run_rate"],
        "scan": ["run_scan"],
        "path_sampling": ["run_path_sampling"],
        "analysis": ["analyze"],
        "export": ["Exported", "export_run"],
        "latent.fit": ["run_latent_fit"],
        "latent.sample": ["sample_latent"],
        "reports": ["make_report"],
        "load": ["load_run", "RateRun", "PathRun"],
    },
)
