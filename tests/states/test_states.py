"""Collective variables against textbook formulas; regions, channels and states on hand-made frames."""

import json
from dataclasses import fields, replace
from itertools import product

import numpy as np
import openmm
import pytest

from openmm_rare.states.coordination import coordination_numbers
from openmm_rare.states.states import (
    IN_A,
    IN_B,
    NEITHER,
    Angle,
    Channels,
    CollectiveVariables,
    Coordinate,
    CoordinationMoment,
    Dihedral,
    Disc,
    Distance,
    FunctionRegion,
    FunctionVariable,
    LabelRule,
    LinearCombination,
    Range,
    States,
)

RNG = np.random.default_rng(7)


def first_x(positions):
    return positions[:, 0, 0]


def beyond_one(positions):
    return positions[:, 0, 0] > 1


def anywhere(positions):
    return np.ones(len(positions), dtype=bool)


def not_boolean(positions):
    return positions[:, 0, 0]


def label_too_large(positions, values, labels):
    return labels + 3


def label_of_another_kind(positions, values, labels):
    return labels + 0.5


def add_one(positions, values, labels):
    """An arrival function that takes no frame outside B of line_states()."""
    assert ((positions[:, 0, 0] >= 1) & (values[:, 0] == positions[:, 0, 0])).all()
    return labels + 1


def frames(*points):
    """One atom at these points, shape (n, 1, 3)."""
    return np.array(points, dtype=float)[:, None, :]


def along_x(*xs):
    return frames(*[(x, 0, 0) for x in xs])


def line_states(channels=None):
    variables = CollectiveVariables([Coordinate("x", 0, 0)])
    return States(variables, Range({"x": (-2, -1)}), Range({"x": (1, 2)}), channels)


def plane_states(channels=None):
    variables = CollectiveVariables([Coordinate("x", 0, 0), Coordinate("y", 0, 1)])
    return States(variables, Range({"x": (-2, -1)}), Range({"x": (1, 2)}), channels)


UP_OR_DOWN = [
    LabelRule(Range({"y": (0, np.inf)}), "up", after="none"),
    LabelRule(Range({"y": (-np.inf, 0)}), "down", after="none"),
]


def rotation(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


# --- variables


def test_distance_angle_and_coordinate_of_a_known_triangle():
    triangle = np.array([[[0.3, 0, 0], [0, 0, 0], [0, 0.4, 0]]])
    variables = CollectiveVariables([Distance("d", (0, 2)), Angle("a", (0, 1, 2)), Coordinate("y", 2, 1)])
    np.testing.assert_allclose(variables(triangle), [[0.5, np.pi / 2, 0.4]], atol=1e-15)


def test_dihedral_has_the_iupac_sign_and_is_periodic():
    # Looking along the central bond, the far bond is turned clockwise: positive.
    for angle in (-2.5, -0.3, 0.0, 1.0, 3.0):
        far = [np.cos(angle), np.sin(angle), 1]
        frame = np.array([[[1.0, 0, 0], [0, 0, 0], [0, 0, 1], far]])
        assert Dihedral("phi", (0, 1, 2, 3))(frame)[0] == pytest.approx(angle, abs=1e-12)
        assert Dihedral("phi", (3, 2, 1, 0))(frame)[0] == pytest.approx(angle, abs=1e-12)
        mirrored = frame * [1, -1, 1]
        assert Dihedral("phi", (0, 1, 2, 3))(mirrored)[0] == pytest.approx(-angle, abs=1e-12)
    assert Dihedral("phi", (0, 1, 2, 3)).period == 2 * np.pi


@pytest.mark.parametrize("flat", [True, False])
def test_coordination_equals_the_published_quotient(flat):
    positions = RNG.normal(size=(1000, 7, 3)) * [1, 1, 0 if flat else 1]
    expected = np.zeros((7, 1000))
    for i in range(7):
        for j in range(7):
            if i != j:
                r = np.linalg.norm(positions[:, i] - positions[:, j], axis=1) / 0.8
                expected[i] += (1 - r**8) / (1 - r**16)
    np.testing.assert_allclose(coordination_numbers(positions, 0.8), expected, rtol=1e-9)


def test_coordination_is_finite_at_the_radius_where_the_quotient_is_not():
    pair = np.array([[[0, 0, 0], [0.8, 0, 0]]])
    np.testing.assert_allclose(coordination_numbers(pair, 0.8), [[0.5], [0.5]])


def test_moments_are_central_shared_and_the_same_as_alone():
    positions = RNG.normal(size=(50, 7, 3))
    single = [CoordinationMoment(f"m{order}", order, 1.1) for order in (1, 2, 3)]
    c = coordination_numbers(positions, 1.1)
    expected = np.stack([c.mean(0), ((c - c.mean(0)) ** 2).mean(0), ((c - c.mean(0)) ** 3).mean(0)], axis=1)
    together = CollectiveVariables([*single, CoordinationMoment("other", 2, 0.9)])(positions)
    np.testing.assert_allclose(together[:, :3], expected, rtol=1e-12)
    np.testing.assert_array_equal(together[:, 1], single[1](positions))
    assert not np.allclose(together[:, 1], together[:, 3])


def test_moments_do_not_change_under_rotation_shift_and_exchange():
    positions = RNG.normal(size=(20, 7, 3))
    moved = (positions @ rotation(0.7).T + [0.1, -2, 3])[:, RNG.permutation(7)]
    variable = CoordinationMoment("mu3", 3, 1.0)
    np.testing.assert_allclose(variable(moved), variable(positions), atol=1e-12)


BOXES = {"rectangular": [2.0, 2.5, 3.0], "triclinic": [[2.0, 0.0, 0.0], [0.6, 2.5, 0.0], [-0.7, 1.1, 3.0]]}


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_a_box_makes_images_the_same_and_the_nearest_count(box):
    vectors = np.diag(box) if np.ndim(box) == 1 else np.array(box)
    compact = RNG.normal(scale=0.15, size=(200, 4, 3))
    apart = compact + RNG.integers(-3, 4, size=(200, 4, 3)) @ vectors
    plain = [Distance("r", (0, 3)), Angle("a", (0, 1, 2)), Dihedral("d", (0, 1, 2, 3)), CoordinationMoment("m", 2, 0.3)]
    periodic = [type(v)(**{f.name: getattr(v, f.name) for f in fields(v) if f.init} | {"box": box}) for v in plain]
    together = CollectiveVariables(periodic)(apart)
    np.testing.assert_allclose(together, CollectiveVariables(plain)(compact), rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(together[:, 3], periodic[3](apart))
    assert not np.isclose(CollectiveVariables(plain)(apart), CollectiveVariables(plain)(compact)).any(axis=0).all()
    shifts = np.array(list(product((-1, 0, 1), repeat=3))) @ vectors
    close = RNG.uniform(-0.45, 0.45, size=(200, 2, 3)) * np.diag(vectors) * 0.5  # the rule finds the nearest up to half a width
    far = np.linalg.norm((close[:, 1] - close[:, 0])[:, None] + shifts, axis=2).min(axis=1)
    np.testing.assert_allclose(
        Distance("r", (0, 1), box=box)(close + RNG.integers(-2, 3, (200, 2, 3)) @ vectors), far, rtol=1e-9
    )


def test_a_box_may_be_a_quantity_and_is_part_of_the_description():
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*np.diag([2.0, 2.0, 3.0]))
    variable = Distance("r", (0, 1), box=system.getDefaultPeriodicBoxVectors())
    assert variable.describe()["box"] == np.diag([2.0, 2.0, 3.0]).tolist()
    assert "box" not in Distance("r", (0, 1)).describe()  # fingerprints of Systems without boxes stay what they were


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([1.0, 2.0], "box must be three finite edges or three box vectors"),
        ([1.0, 2.0, np.nan], "box must be three finite edges"),
        ([2.0, 2.0, 2.0] * openmm.unit.picosecond, "three finite edges or three box vectors in nm"),
        ([1.0, 2.0, -1.0], "as OpenMM wants them"),
        ([[1.0, 0.2, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], "as OpenMM wants them"),
        ("cell", 'box = \'cell\' must be "system", "none", three edges'),
    ],
)
def test_boxes_refuse_nonsense(box, message):
    with pytest.raises(ValueError, match=message):
        Distance("r", (0, 1), box=box)


def test_linear_combination_and_function_variable():
    positions = RNG.normal(size=(5, 2, 3))
    coefficients = RNG.normal(size=(2, 3))
    variables = CollectiveVariables([LinearCombination("s", coefficients), FunctionVariable("f", first_x)])
    expected = [(positions * coefficients).sum(axis=(1, 2)), positions[:, 0, 0]]
    np.testing.assert_allclose(variables(positions), np.transpose(expected))
    assert variables.index("f") == 1


def test_variables_accept_no_frames_at_all():
    variables = CollectiveVariables([CoordinationMoment("m", 2, 1.0), LinearCombination("s", np.ones((2, 3)))])
    assert variables(np.zeros((0, 2, 3))).shape == (0, 2)


def test_a_value_that_is_not_finite_is_reported_with_its_frame():
    positions = along_x(0, 1, np.nan)
    with pytest.raises(ValueError, match=r"variable 'x' is nan in frame 2"):
        CollectiveVariables([Coordinate("x", 0, 0)])(positions)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Distance("d", (1, 1)), "2 different indices"),
        (lambda: Coordinate("x", 0, 3), "axis must be 0, 1 or 2"),
        (lambda: CoordinationMoment("m", 4, 1.0), "order must be 1, 2 or 3"),
        (lambda: CoordinationMoment("m", 2, -1.0), "radius must be a positive length"),
        (lambda: LinearCombination("s", np.ones(3)), "shape"),
        (lambda: FunctionVariable("f", lambda positions: positions), "top level of a module"),
        (lambda: CollectiveVariables([Coordinate("x", 0, 0), Coordinate("x", 0, 1)]), "repeated"),
        (lambda: CollectiveVariables([Coordinate("x,y", 0, 0)]), "'x,y': a name must not be empty, nor hold a comma or ="),
        (lambda: CollectiveVariables([Coordinate("x=1", 0, 0)]), "nor hold a comma"),
        (lambda: CollectiveVariables([Coordinate(" ", 0, 0)]), "must not be empty"),
        (lambda: CollectiveVariables([Coordinate("x", 0, 0)])(np.zeros((2, 3))), r"\(n, n_atoms, 3\)"),
        (lambda: CollectiveVariables([]).index("x"), "no collective variable named 'x'"),
    ],
)
def test_variables_refuse_nonsense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- regions


def test_range_is_closed_and_may_be_unbounded():
    states = States(CollectiveVariables([Coordinate("x", 0, 0)]), Range({"x": (-np.inf, -1)}), Range({"x": (1, np.inf)}))
    np.testing.assert_array_equal(
        states.classify(along_x(-1e9, -1, -0.999, 0.999, 1, 1e9)), [IN_A, IN_A, NEITHER, NEITHER, IN_B, IN_B]
    )


def ring(*angles):
    """Four atoms with these dihedral angles."""
    return np.array([[[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [np.cos(a), np.sin(a), 1]] for a in angles])


@pytest.mark.parametrize("bounds", [(2.5, -2.5), (2.5, -2.5 + 2 * np.pi), (2.5 - 2 * np.pi, -2.5)])
def test_range_of_a_periodic_variable_wraps(bounds):
    variables = CollectiveVariables([Dihedral("phi", (0, 1, 2, 3))])
    region = Range({"phi": bounds})
    region.check(variables)
    positions = ring(2.4, 2.6, np.pi, -3.0, -2.6, -2.4, 0.0)
    inside = region.contains(positions, variables(positions), variables)
    np.testing.assert_array_equal(inside, [False, True, True, True, True, False, False])


def test_range_over_a_whole_period_contains_everything():
    variables = CollectiveVariables([Dihedral("phi", (0, 1, 2, 3))])
    positions = ring(-3, -1, 0, 2)
    assert Range({"phi": (-np.pi, np.pi)}).contains(positions, variables(positions), variables).all()


def test_disc_is_open_and_uses_the_nearest_image():
    variables = CollectiveVariables([Coordinate("x", 0, 0), Coordinate("y", 0, 1)])
    positions = frames((0.5, 0, 9), (0, 0.4999, 0), (0.36, 0.36, 0), (0.3, 0.3, 0))
    inside = Disc({"x": 0, "y": 0}, 0.5).contains(positions, variables(positions), variables)
    np.testing.assert_array_equal(inside, [False, True, False, True])
    periodic = CollectiveVariables([Dihedral("phi", (0, 1, 2, 3))])
    positions = ring(3.0, -3.0, 2.5)
    inside = Disc({"phi": 3.1}, 0.3).contains(positions, periodic(positions), periodic)
    np.testing.assert_array_equal(inside, [True, True, False])


def test_function_region():
    variables = CollectiveVariables([Coordinate("x", 0, 0)])
    states = States(variables, Range({"x": (-1, 0)}), FunctionRegion(beyond_one))
    np.testing.assert_array_equal(states.classify(along_x(-0.5, 0.5, 1.5)), [IN_A, NEITHER, IN_B])
    with pytest.raises(ValueError, match="must return booleans"):
        States(variables, Range({"x": (-1, 0)}), FunctionRegion(not_boolean)).classify(along_x(0.5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Range({}), "at least one variable"),
        (lambda: Range({"x": (0, np.nan)}), "bounds must give"),
        (lambda: Disc({"x": 0}, 0), "radius must be a positive number"),
        (lambda: Disc({"x": np.inf}, 1), "center must give a finite value"),
        (lambda: FunctionRegion(lambda positions: positions), "top level of a module"),
        (lambda: line_states().a.check(CollectiveVariables([])), "no collective variable named 'x'"),
        (lambda: Range({"x": (1, 0)}).check(CollectiveVariables([Coordinate("x", 0, 0)])), "lo < hi"),
        (lambda: Range({"p": (0, np.inf)}).check(CollectiveVariables([Dihedral("p", (0, 1, 2, 3))])), "must be finite"),
    ],
)
def test_regions_refuse_nonsense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- states and channels


@pytest.mark.parametrize(
    ("a", "b", "refused"),
    [
        ({"x": (0.0, 1.0)}, {"x": (0.5, 2.0)}, True),
        ({"x": (0.0, 1.0)}, {"x": (1.0, 2.0)}, False),  # a common border
        ({"x": (-np.inf, 0.0)}, {"x": (-1.0, np.inf)}, True),
        ({"x": (0.0, 1.0), "phi": (0.0, 1.0)}, {"x": (0.5, 2.0), "phi": (2.0, 3.0)}, False),
        ({"x": (0.0, 1.0), "phi": (0.0, 2.5)}, {"x": (0.5, 2.0), "phi": (2.0, 3.0)}, True),
        ({"x": (0.0, 1.0)}, {"phi": (0.0, 1.0)}, False),  # cannot be known before a frame is seen
        ({"phi": (2.8, -2.8)}, {"phi": (-1.5, 1.5)}, False),
        ({"phi": (2.8, -2.8)}, {"phi": (-3.0, 1.5)}, True),
        ({"phi": (-1.5, 1.5)}, {"phi": (1.0, -2.0)}, True),
        ({"phi": (-1.5, 1.5)}, {"phi": (2.0, -1.4)}, True),
        ({"phi": (-1.0, -0.5)}, {"phi": (-4.0, 4.0)}, True),  # everywhere
    ],
)
def test_overlapping_ranges_are_refused_before_any_dynamics(a, b, refused):
    variables = CollectiveVariables([Coordinate("x", 0, 0), Dihedral("phi", (0, 1, 2, 3))])
    for one, other in ((a, b), (b, a)):
        if refused:
            with pytest.raises(ValueError, match="states A and B overlap"):
                States(variables, Range(one), Range(other))
        else:
            States(variables, Range(one), Range(other))


def test_overlapping_discs_are_refused_before_any_dynamics():
    variables = CollectiveVariables([Coordinate("x", 0, 0), Coordinate("y", 0, 1)])
    a = Disc({"x": 0, "y": 0}, 0.6)
    with pytest.raises(ValueError, match="states A and B overlap"):
        States(variables, a, Disc({"y": 0, "x": 1}, 0.5))
    States(variables, a, Disc({"x": 1, "y": 0}, 0.4))


def test_a_frame_in_both_states_is_an_error_that_names_it():
    variables = CollectiveVariables([Coordinate("x", 0, 0)])
    states = States(variables, Range({"x": (0, 1)}), Range({"x": (1, 2)}))
    with pytest.raises(ValueError, match=r"frame 1 lies in both A and B at x = 1 nm"):
        states.classify(along_x(0.5, 1.0, 1.5))


def test_observe_labels_outside_a_only_and_up_to_the_arrival():
    states = plane_states(Channels(("none", "up", "down"), UP_OR_DOWN))
    labels = np.zeros(3, dtype=np.int64)
    path = [
        frames((-1.5, 1, 0), (-1.5, 1, 0), (-1.5, 1, 0)),  # in A: no rule applies
        frames((0, 1, 0), (0, -1, 0), (-1.5, -1, 0)),
        frames((0, -1, 0), (-1.5, 1, 0), (1.5, -1, 0)),  # 0 keeps its label, 1 returns to A, 2 jumps straight to B
    ]
    seen = []
    for positions in path:
        status, labels = states.observe(positions, labels)
        seen.append((status.tolist(), labels.tolist()))
    assert seen == [([1, 1, 1], [0, 0, 0]), ([0, 0, 1], [1, 2, 0]), ([0, 1, 2], [1, 0, 2])]
    assert labels.dtype == np.int64 and status.dtype == np.int8
    assert [states.channels.name(label) for label in labels] == ["up", "none", "down"]
    assert [states.channels.label(name) for name in states.channel_names] == [0, 1, 2]


def after_one_frame(rules, positions, labels):
    return plane_states(Channels(("none", "up", "down"), rules)).observe(positions, np.array(labels))[1].tolist()


def test_the_first_rule_that_fits_applies_and_no_other():
    above_0, above_1 = (Range({"y": (edge, np.inf)}) for edge in (0, 1))
    positions, labels = frames((0, 2, 0), (0, 0.5, 0), (0, -1, 0)), [0, 0, 0]
    rules = [LabelRule(above_1, "up"), LabelRule(above_0, "down")]
    assert after_one_frame(rules, positions, labels) == [1, 2, 0]
    assert after_one_frame(rules[::-1], positions, labels) == [2, 2, 0]
    # a frame to which a rule has applied is not looked at again, although the next rule names its new label
    chain = [LabelRule(above_1, "up", after="none"), LabelRule(above_0, "down", after="up")]
    assert after_one_frame(chain, positions, labels) == [1, 0, 0]
    assert after_one_frame(chain, positions, [1, 1, 1]) == [2, 2, 1]
    # nor is one where the first rule that fits changes nothing
    assert after_one_frame([LabelRule(above_1, "none"), *rules], positions, labels) == [0, 2, 0]


def test_a_rule_applies_after_its_label_only_or_after_any():
    everywhere, positions = FunctionRegion(anywhere), along_x(0, 0, 0)
    assert after_one_frame([LabelRule(everywhere, "down", after="up")], positions, [0, 1, 2]) == [0, 2, 2]
    assert after_one_frame([LabelRule(everywhere, "none", after=None)], positions, [0, 1, 2]) == [0, 0, 0]


def test_labels_start_afresh_in_a():
    everywhere = LabelRule(FunctionRegion(anywhere), "up")
    assert after_one_frame([everywhere], along_x(-1.5, 0, 1.5), [2, 2, 2]) == [0, 1, 1]
    assert after_one_frame([], along_x(-1.5, 0, 1.5), [2, 2, 2]) == [0, 2, 2]


def test_the_arrival_function_sees_frames_in_b_after_the_rules():
    half = LabelRule(Range({"x": (1.5, 9)}), "up", after="none")
    states = line_states(Channels(("none", "up", "down"), [half], add_one))
    status, labels = states.observe(along_x(-1.5, 0, 1.2, 1.8), np.zeros(4, int))
    assert (status.tolist(), labels.tolist()) == ([1, 0, 2, 2], [0, 0, 1, 2])
    _, labels = states.observe(along_x(-1.5, 0), np.zeros(2, int))  # add_one is not called for no frames
    assert labels.tolist() == [0, 0]


def test_observe_does_not_write_into_its_argument_and_passes_labels_without_channels():
    labels = np.array([5, 6])
    states = plane_states(Channels(("none", "up", "down"), [LabelRule(FunctionRegion(anywhere), "up")]))
    _, new = states.observe(along_x(-1.5, 0), labels)
    np.testing.assert_array_equal(labels, [5, 6])
    np.testing.assert_array_equal(new, [0, 1])
    _, kept = line_states().observe(along_x(-1.5, 0), labels)
    np.testing.assert_array_equal(kept, [5, 6])


def arrive_by(function):
    return lambda: line_states(Channels(("a", "b"), arrival=function)).observe(along_x(1.5), np.zeros(1, int))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Channels(()), "at least one"),
        (lambda: Channels(("a", "a")), "different strings"),
        (lambda: Channels(("a",), [], lambda p, v, n: n), "arrival must be a function defined at the top level"),
        (lambda: Channels(("a", "b"), [LabelRule(Range({"x": (0, 1)}), "c")]), r"channel 'c', which is none of \['a', 'b'\]"),
        (lambda: Channels(("a", "b"), [LabelRule(Range({"x": (0, 1)}), "a", after="d")]), "channel 'd', which is none of"),
        (lambda: line_states(Channels(("a",), [LabelRule(Range({"y": (0, 1)}), "a")])), "no collective variable named 'y'"),
        (lambda: line_states(Channels(("a",), [LabelRule(Range({"x": (1, 0)}), "a")])), "lo < hi"),
        (arrive_by(label_too_large), f"{__name__}:label_too_large must return labels from 0 to 1"),
        (arrive_by(label_of_another_kind), r"must return integers of shape \(1,\), not float64"),
    ],
)
def test_channels_refuse_nonsense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_descriptions_are_plain_json_and_tell_definitions_apart():
    variables = [Coordinate("x", 0, 0), Dihedral("phi", (0, 1, 2, 3)), LinearCombination("s", np.ones((4, 3)))]
    variables += [CoordinationMoment("m", 2, 0.5), FunctionVariable("f", first_x), Angle("a", (0, 1, 2))]

    def text(edge, channels=None):
        a, b = Range({"x": (-np.inf, edge)}), FunctionRegion(beyond_one)
        return json.dumps(States(CollectiveVariables(variables), a, b, channels).describe(), allow_nan=False)

    assert text(-1) == text(-1)
    names, rule = ("none", "up"), LabelRule(Range({"x": (-np.inf, 0)}), "up")
    channels = [
        Channels(names),
        Channels(("none", "down")),
        Channels(names, [rule]),
        Channels(names, [replace(rule, after="none")]),
        Channels(names, [replace(rule, to="none")]),
        Channels(names, [replace(rule, region=FunctionRegion(anywhere))]),
        Channels(names, [rule], add_one),
    ]
    assert len({text(-1), text(-1.5), *(text(-1, one) for one in channels)}) == 9
    assert f"{__name__}:first_x" in text(-1)
