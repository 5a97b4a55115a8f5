"""Rate constants and transition paths of rare events in OpenMM, with error bars to trust.

The public names are loaded on first use, so that ``import openmm_rare`` is quick and needs no compiler and no GPU. Classes of
OpenPathSampling are in :mod:`openmm_rare.ops`.
"""

from .faces import face

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        # the problem: a System, two states, and the dynamics between them
        "problem": ["RareEventSystem"],
        "states.states": [
            *("States", "Channels", "LabelRule", "Range", "Disc", "FunctionRegion"),
            *("CollectiveVariables", "Coordinate", "Distance", "Angle", "Dihedral", "Coordination", "CoordinationMoment"),
            *("LinearCombination", "FunctionVariable"),
        ],
        "structure.atom_selection": ["select_atoms"],
        # rates
        "rates.importance": ["ImportanceSamplingRate"],
        "rates.brute_force": ["BruteForceRate"],
        "rates.estimate": ["RateEstimate"],
        "rates.barrier.barrier_rate": ["BarrierRate"],
        "settings.rates": ["RateSettings"],
        "settings.barrier": ["BarrierSettings"],
        "walkers.machine": ["Machine"],
        # transition paths, and the mechanism in them
        "tps.path_sampling": ["PathSampling", "SampledPaths"],
        "settings.paths": ["PathSettings"],
        "paths.ensemble": ["PathEnsemble"],
        "paths.direct_committor": ["direct_committor"],
        "tps.first_paths.find_path": ["find_path"],
        "mechanism.findings": ["Mechanism"],
        "mechanism.options": ["AnalysisOptions"],
        "workflow.analysis": ["analyze"],
        # committors, and dynamics that is biased by them
        "committor.model": ["CommittorModel"],
        "committor.ensemble": ["CommittorEnsemble"],
        "committor.multistate": ["MultiStateModel"],
        "committor.load": ["load_committor"],
        "bias.bias": ["Bias"],
        "bias.committor_bias": ["CommittorBias"],
        "dynamics.overdamped": ["OverdampedLangevinIntegrator", "BiasedOverdampedLangevinIntegrator"],
        "dynamics.langevin": ["BAOABLangevinIntegrator"],
        "dynamics.biased_langevin": ["BiasedLangevinIntegrator"],
        "dynamics.frames": ["Frames"],
        # folders of runs, and progress
        "workflow.load": ["load_run", "RateRun", "PathRun"],
        "io.progress": ["TerminalProgress"],
        "io.tasks": ["Silent"],
    },
)
__all__ += ["__version__"]
