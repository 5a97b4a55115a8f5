"""States A and B: variables, regions and channels."""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "states": [
            *("States", "Channels", "LabelRule", "Range", "Disc", "FunctionRegion"),
            *("CollectiveVariables", "Coordinate", "Distance", "Angle", "Dihedral", "Coordination", "CoordinationMoment"),
            *("LinearCombination", "FunctionVariable"),
        ],
    },
)
