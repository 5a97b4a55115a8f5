"""States as volumes of OpenPathSampling: what both storages bring back in a process that knows nothing else."""

import json

import numpy as np
import openpathsampling as paths
import pytest

from line import make_engine, make_path
from openmm_rare.ops.snapshots import frames_of
from openmm_rare.ops.volumes import StateVolume, number_in, state_volumes, which_state
from openmm_rare.states.regions import Disc, FunctionRegion, Range, region_from
from openmm_rare.states.states import States
from openmm_rare.states.variables import (
    Angle,
    CollectiveVariables,
    Coordinate,
    CoordinationMoment,
    Dihedral,
    Distance,
    FunctionVariable,
    LinearCombination,
)
from openmm_rare.systems import build
from processes import in_fresh

POSITIONS = np.random.default_rng(1).normal(0.0, 0.4, (60, 5, 3))


def first_x(positions):
    """x of the first atom."""
    return positions[:, 0, 0]


def to_the_right(positions):
    """A region."""
    return positions[:, 0, 0] > 0.2


VARIABLES = CollectiveVariables(
    [
        Coordinate("x", 0, 0),
        Distance("r", (0, 1)),
        Angle("theta", (0, 1, 2)),
        Dihedral("phi", (0, 1, 2, 3)),
        CoordinationMoment("mu", 2, 0.3),
        LinearCombination("sum", np.arange(15.0).reshape(5, 3)),
        FunctionVariable("f", first_x),
    ]
)
REGIONS = [
    Range({"x": (-0.2, float("inf")), "phi": (2.0, -2.0), "mu": (float("-inf"), 0.3)}),
    Disc({"r": 0.6, "phi": 3.0}, 1.0),
    FunctionRegion(to_the_right),
]


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: type(region).__name__)
def test_a_description_leads_back_to_the_same_region(region):
    values = VARIABLES(POSITIONS)
    variables = CollectiveVariables.from_description(json.loads(json.dumps(VARIABLES.describe())))
    again = region_from(json.loads(json.dumps(region.describe())))
    np.testing.assert_array_equal(variables(POSITIONS), values)
    inside = again.contains(POSITIONS, values, variables)
    np.testing.assert_array_equal(inside, region.contains(POSITIONS, values, VARIABLES))
    assert 0 < inside.sum() < len(inside) and again.describe() == region.describe()


def test_what_cannot_be_read_back_says_so():
    with pytest.raises(ValueError, match="kind 'Blob' cannot be read back"):
        region_from({"kind": "Blob"})
    with pytest.raises(ValueError, match="kind 'Blob' cannot be read back"):
        CollectiveVariables.from_description([{"kind": "Blob", "name": "x"}])
    with pytest.raises(ValueError, match="function nowhere:f cannot be found.*import path"):
        region_from({"kind": "FunctionRegion", "function": "nowhere:f"})


def test_volumes_reload_in_a_fresh_process_from_both_storages(tmp_path):
    begin = """
        from test_volumes import *
        for kind in ("nc", "db"):
            storage = open_storage(f"volumes.{kind}", "w", make_path(make_engine(), [0.0])[0])
            storage.save([StateVolume(VARIABLES, region).named(type(region).__name__) for region in REGIONS])
            storage.close()
    """
    look = """
        import openmm_rare.ops.volumes
        for kind in ("nc", "db"):
            volumes = open_storage(f"volumes.{kind}", "r").volumes
            names = ("Range", "Disc", "FunctionRegion")
            np.savez(f"{kind}.npz", **{name: volumes[name].contains(np.load("positions.npy")) for name in names})
    """
    np.save(tmp_path / "positions.npy", POSITIONS)
    in_fresh(begin, tmp_path)
    in_fresh(look, tmp_path)
    for kind in ("nc", "db"):
        with np.load(tmp_path / f"{kind}.npz") as inside:
            for region in REGIONS:
                mine = StateVolume(VARIABLES, region).contains(POSITIONS)
                np.testing.assert_array_equal(inside[type(region).__name__], mine)
                assert 0 < mine.sum() < len(mine)


def test_a_frame_and_many_frames_get_the_same_answer():
    engine = make_engine()
    variables = CollectiveVariables([Coordinate("x", 0, 0)])
    states = States(variables, Range({"x": (float("-inf"), -0.7)}), Range({"x": (0.7, float("inf"))}))
    a, b = state_volumes(states)
    path = make_path(engine, np.linspace(-1.0, 1.0, 20))
    frames = frames_of(path, with_velocities=False)
    status = which_state([a, b], frames, engine)
    assert [a(frame) for frame in path] == (status == 0).tolist() and [b(frame) for frame in path] == (status == 1).tolist()
    assert (a.name, b.name) == ("A", "B") and (status == -1).sum() == 14
    x = paths.CoordinateFunctionCV("x", lambda snapshot: float(snapshot.statics.coordinates._value[0][0]))
    others = [paths.CVDefinedVolume(x, float("-inf"), -0.7), paths.CVDefinedVolume(x, 0.7, float("inf"))]
    np.testing.assert_array_equal(which_state(others, frames, engine), status)


def test_volumes_that_overlap_are_refused():
    engine = make_engine()
    variables = CollectiveVariables([Coordinate("x", 0, 0)])
    a = StateVolume(variables, Range({"x": (-1.0, 0.1)})).named("A")
    b = StateVolume(variables, Range({"x": (-0.1, 1.0)})).named("B")
    frames = frames_of(make_path(engine, [-0.5, 0.0, 0.5]), with_velocities=False)
    with pytest.raises(ValueError, match="states overlap: a frame lies in both A and B, at positions"):
        which_state([a, b], frames, engine)
    assert which_state([a, b], frames[[0, 2]], engine).tolist() == [0, 1]


def test_a_state_is_found_among_others_by_its_definition():
    states = build("double_well_1d").states
    a, b = state_volumes(states)
    again = StateVolume.from_dict(a.to_dict())
    assert [number_in([b, a], each) for each in (a, b, again)] == [1, 0, 1] and number_in([b], again) == -1
    assert number_in([], a) == -1
