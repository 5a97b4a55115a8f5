"""OpenPathSampling with openmm_rare: needs the extra ``ops``.

Importing OpenPathSampling takes 150 MB and seconds: here it is only made sure that it is there, and each name is loaded when
it is asked for.
"""

from ..faces import face
from .installed import require_openpathsampling

require_openpathsampling()

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "engine": ["RareEventEngine"],
        "action_engine": ["ActionEngine"],
        "volumes": ["StateVolume", "state_volumes"],
        "snapshots": ["trajectory_of"],
        "selector": ["CommittorSelector"],
        "shooting": ["ShootingStrategy", "shooting_scheme"],
        "aimless": ["AimlessShootingStrategy", "recall_pairs"],
        "hooks": ["TrainingHook"],
        "simstore": ["open_simstore"],
        "point_storage": ["weighted_paths"],
        "seeding": ["seed_path_sampling"],
    },
)
