"""Kinds of variables and descriptors of a user's own: one class each, which the rest takes as it takes the built-in ones."""

import json
import pickle
from dataclasses import dataclass, replace

import numpy as np
import openmm
import pytest
import torch

import chain4
from openmm_rare import CommittorModel, Distance, ImportanceSamplingRate, Range, RareEventSystem, RateSettings, States
from openmm_rare.bias.committor_force import CommittorForce, has_native_features
from openmm_rare.bias.importance import FastImportance, TorchImportance
from openmm_rare.config.run import build_system, parse_config
from openmm_rare.descriptors.base import Descriptor
from openmm_rare.descriptors.build import build_descriptor
from openmm_rare.dynamics.native_integrator import BiasedOverdampedLangevinIntegrator
from openmm_rare.dynamics.native_states import has_native_states
from openmm_rare.paths.mirror_images import is_its_mirror_image
from openmm_rare.states.variable_base import Atom, CollectiveVariable, Length, require_atoms
from openmm_rare.systems import double_well_1d
from openmm_rare.tps.first_paths.pull_force import Pull, why_no_pull
from openmm_rare.walkers.machine import Machine
from stats import assert_within

TINY = RateSettings(
    **{"hidden": (16, 16), "n_slots": 100, "flux_walkers": 100, "flux_steps": 200, "training_flux_walkers": 50},
    **{"training_flux_steps": 200, "training_exits": 200, "training_roots": 50, "training_walkers": 100},
    **{"training_path_length": 400, "segment_length": 100, "training_stride": 20, "heating_roots": 100},
    **{"first_stage_rounds": 5, "stage_rounds": 2, "last_stage_rounds": 3, "updates": 50, "sweeps": 2, "last_updates": 40},
    **{"ladder_ratio": 0.6, "pilot_roots": 80, "production_roots": 250, "strengths": (1.0, 0.6)},
)


@dataclass(frozen=True, eq=False)
class Height(CollectiveVariable):
    """Distance of an atom from a plane, nm."""

    atom: Atom
    normal: tuple[float, float, float] = (1.0, 0.0, 0.0)
    offset: Length = 0.0

    unit = "nm"

    def __call__(self, positions):
        return positions[:, self.atom] @ np.array(self.normal) - self.offset


@dataclass(frozen=True, eq=False)
class Gyration(CollectiveVariable):
    """Radius of gyration of some atoms, nm."""

    atoms: tuple[int, ...]

    unit = "nm"
    limits = (0.0, np.inf)
    mirror = 1

    def __post_init__(self):
        require_atoms(self.atoms, len(self.atoms), self.name)

    def __call__(self, positions):
        chosen = positions[:, list(self.atoms)]
        return np.sqrt(((chosen - chosen.mean(1, keepdims=True)) ** 2).sum(-1).mean(-1))


class Heights(Descriptor):
    """Heights of atoms above a plane, in units of a length."""

    lengths = ("unit",)
    atom_lists = ("atoms",)

    def __init__(self, n_atoms, atoms, unit=1.0):
        super().__init__()
        self.atoms, self.unit, self.n_features = list(atoms), float(unit), len(atoms)

    def forward(self, positions):
        return positions[:, self.atoms, 0] / self.unit


OF_VARIABLES = """
[variables.size]
type = "gyration"
atoms = "ATOMS"

[states.a]
range = { size = ["1.4 angstrom", 1.0] }

[states.b]
range = { size = ["0 nm", 0.13] }
"""


def own_text(atoms="all"):
    start, end = chain4.CONFIG.index("[variables"), chain4.CONFIG.index("[path_sampling")
    return chain4.CONFIG[:start] + OF_VARIABLES.replace("ATOMS", atoms) + chain4.CONFIG[end:]


@pytest.fixture
def own(tmp_path):
    """Text of a configuration with an own kind, for a folder with its builder."""
    config = chain4.write(tmp_path)
    builder = next(line for line in config.read_text().splitlines() if line.startswith("builder"))
    return own_text().replace('builder = "MODULE:build"', builder), tmp_path


def test_a_variable_is_read_from_toml_with_quantities_and_selections(own):
    text, folder = own
    config = parse_config(text, folder)
    assert config.states["a"] == {"range": {"size": [pytest.approx(0.14), 1.0]}} and config.variables["size"]["atoms"] == "all"
    assert parse_config(config.to_toml(), folder) == config
    problem = build_system(config)
    (variable,) = problem.states.variables.variables
    assert isinstance(variable, Gyration) and variable.atoms == (0, 1, 2, 3) and variable.unit == "nm"
    section = '[variables.h]\ntype = "height"\natom = 1\nnormal = [0, 0, 1]\noffset = "2 angstrom"\n\n'
    more = text.replace("[states.a]", f"{section}[states.a]")
    height = build_system(parse_config(more, folder)).states.variables.variables[1]
    assert (height.atom, height.normal, height.offset) == (1, (0.0, 0.0, 1.0), pytest.approx(0.2))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"gyration"', '"gyrations"', "variables.size.type = 'gyrations' must be one of .*did you mean 'gyration'"),
        ("atoms =", "atom =", r"unknown key 'atom' in section \[variables.size\]; did you mean 'atoms'"),
        ('"1.4 angstrom"', '"10 deg"', "states.a.range.size = '10 deg' has a unit of another dimension"),
        ('"all"', "[0, 9]", "variable 'size' names an atom that does not exist"),
        ('["0 nm", 0.13]', "[-2.0, -1.0]", "no frame can lie in size from -2 nm to -1 nm: 'size' is at least 0 nm"),
    ],
)
def test_mistakes_are_told_as_of_the_others(own, old, new, message):
    text, folder = own
    assert old in text
    with pytest.raises(ValueError, match=message):
        build_system(parse_config(text.replace(old, new), folder))


MODULE = """
from dataclasses import dataclass
from openmm_rare.states.variable_base import Atom, CollectiveVariable

@dataclass(frozen=True, eq=False)
class LateHeight(CollectiveVariable):
    atom: Atom
    unit = "nm"
    def __call__(self, positions):
        return positions[:, self.atom, 2]
"""


def test_a_kind_of_a_module_that_the_configuration_imports(own):
    text, folder = own
    (folder / "late_kinds.py").write_text(MODULE)
    text = text.replace("inertial = true", 'inertial = true\nimport = ["late_kinds"]')
    text = text.replace("[states.a]", '[variables.up]\ntype = "late_height"\natom = 0\n\n[states.a]', 1)
    text = text.replace('{ size = ["1.4 angstrom", 1.0] }', '{ up = ["-1 angstrom", 1.0], size = ["1.4 angstrom", 1.0] }')
    with pytest.raises(ValueError, match="must be one of"):  # negative control: nobody has imported it
        parse_config(text.replace('import = ["late_kinds"]', ""), folder)
    config = parse_config(text, folder)
    assert parse_config(config.to_toml(), folder) == config
    problem = build_system(config)
    assert problem.states.a.bounds["up"] == pytest.approx((-0.1, 1.0))
    assert (
        build_system(parse_config(config.expanded(problem).to_toml(), folder, trust=True)).fingerprint()
        == problem.fingerprint()
    )


def own_states():
    return States([Gyration("size", (0, 1, 2, 3)), Height("h", 0)], Range({"size": (0.14, 1.0)}), Range({"size": (0.0, 0.13)}))


def test_records_bring_it_back():
    pytest.importorskip("openpathsampling")
    from openmm_rare.ops.volumes import StateVolume

    states = own_states()
    text = json.dumps(states.describe(), allow_nan=False)
    again = States.from_description(json.loads(text))
    assert again.describe() == states.describe()
    frames = np.random.default_rng(1).normal(size=(5, 4, 3))
    np.testing.assert_array_equal(again.variables(frames), states.variables(frames))
    volume = StateVolume(states.variables, states.a)
    assert (StateVolume.from_dict(volume.to_dict()).contains(frames) == volume.contains(frames)).all()
    problem = chain_problem()
    twin = pickle.loads(pickle.dumps(problem))
    assert twin.fingerprint() == problem.fingerprint() != chain4.problem().fingerprint()


def test_what_the_first_versions_wrote_is_read():
    pytest.importorskip("openpathsampling")
    from openmm_rare.ops.volumes import StateVolume

    first = {"variables": [{"kind": "Height", "name": "h", "atom": 0, "normal": [0, 1, 0], "offset": 0.1}]}
    first |= {"region": {"kind": "Range", "bounds": {"h": ["-inf", 0.5]}}}
    volume = StateVolume.from_dict({"definition": json.dumps(first)})
    assert volume.contains(np.array([[[0.0, 0.3, 0.0]], [[0.0, 0.7, 0.0]]])).tolist() == [True, False]
    with pytest.raises(ValueError, match="of the kind 'Depth' cannot be read back"):  # negative control
        StateVolume.from_dict({"definition": json.dumps(first).replace('"Height"', '"Depth"')})


def chain_problem(**options):
    given = {"temperature": 300, "friction": 5, "timestep": 0.001, "inertial": True, "topology": chain4.topology(), **options}
    states = own_states()
    return RareEventSystem(name="own", system=chain4.system(), positions=chain4.positions(), states=states, **given)


def test_what_a_kind_cannot_do_is_said_in_one_line():
    states = own_states()
    assert not has_native_states(states)
    with pytest.raises(ValueError, match="must be ranges or discs of built-in variables"):
        BiasedOverdampedLangevinIntegrator(300, 1, 0.001, states=states)
    assert why_no_pull(states.variables, states.b) == "is given by the gyration size, which has no forces"
    with pytest.raises(ValueError, match="nothing can pull into a region that is given by the gyration size"):
        Pull(states.variables, states.b, [1.0, 1.0])
    assert not is_its_mirror_image(chain_problem())  # of a height nobody says what a mirror does
    alone = States(states.variables.variables[:1], states.a, states.b)
    assert is_its_mirror_image(replace(chain_problem(), states=alone))


def test_kinds_are_final_and_names_are_taken_once():
    with pytest.raises(TypeError, match="derives from Distance, which is final: derive from BoxVariable"):
        type("Longer", (Distance,), {})
    with pytest.raises(TypeError, match="type_name = 'distance' of Other is that of"):
        type("Other", (CollectiveVariable,), {"type_name": "distance", "__module__": "elsewhere"})
    with pytest.raises(TypeError, match="unit = 'kcal' of Energy must be"):
        type("Energy", (CollectiveVariable,), {"unit": "kcal"})
    with pytest.raises(TypeError, match="derives from Heights, which is final: derive from Descriptor"):
        type("Higher", (Heights,), {})


def test_default_descriptors_are_about_the_named_atoms():
    n = 400
    system = openmm.System()
    for _ in range(n):
        system.addParticle(40.0)
    positions = np.random.default_rng(2).uniform(0.0, 8.0, size=(n, 3))
    own = Gyration("size", (3, 5, 8))
    states = States([own], Range({"size": (0.0, 10.0)}), Range({"size": (20.0, 30.0)}))
    problem = RareEventSystem("own", system, positions, states, 300.0, 1.0, 0.001)
    assert problem.descriptor_spec() == {"kind": "subset", "atoms": [3, 5, 8], "part": {"kind": "pair_distances"}}


def rate(problem, backend="auto"):
    return ImportanceSamplingRate(problem, TINY, seed=3, machine=Machine("Reference", backend), target_error=0.15).run()


def test_a_rate_is_that_of_the_built_in_variable_and_the_exact_one():
    problem = double_well_1d.build(temperature=600.0)
    a, b = problem.states.a, problem.states.b
    own = replace(problem, states=States([Height("x", 0)], a, b))
    built_in, mine = rate(problem, backend="python"), rate(own, backend="python")
    assert mine.rate_per_ps == built_in.rate_per_ps and mine.walker_steps == built_in.walker_steps
    assert_within(mine.rate_per_ps, double_well_1d.rate(600.0), mine.rate_stderr, nsigma=4.0)
    seen = replace(problem, descriptor={"kind": "heights", "atoms": [0], "unit": "2.5 angstrom"})
    assert seen.descriptor_spec()["unit"] == pytest.approx(0.25)
    with_own_inputs = rate(seen)
    assert_within(with_own_inputs.rate_per_ps, double_well_1d.rate(600.0), with_own_inputs.rate_stderr, nsigma=4.0)


def test_a_descriptor_is_built_saved_and_evaluated(tmp_path):
    spec = {"kind": "concatenate", "parts": [{"kind": "heights", "atoms": [2, 0], "unit": 0.5}, {"kind": "pair_distances"}]}
    model, frames = CommittorModel(spec, 4, (8,), fingerprint="own"), np.random.default_rng(3).normal(size=(6, 4, 3))
    model.standardize(frames)
    model.save(tmp_path / "model.npz")
    again = CommittorModel.load(tmp_path / "model.npz")
    value, gradient = FastImportance(again).log_importance_gradient(frames)
    expected = TorchImportance(model).log_importance_gradient(frames)
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    np.testing.assert_allclose(gradient, expected[1], atol=1e-5)
    built = build_descriptor({"kind": "heights", "atoms": [1]}, 4)
    assert torch.equal(built(torch.ones(1, 4, 3)), torch.ones(1, 1)) and built.names == ("feature 1",)
    for wrong, message in (({"atom": [1]}, "unknown keys.*did you mean 'atoms'"), ({}, "needs the key 'atoms'")):
        with pytest.raises(ValueError, match=message):
            build_descriptor({"kind": "heights", **wrong}, 4)
    assert not has_native_features(FastImportance(again))
    with pytest.raises(ValueError, match="the native force does not know the descriptor Heights, only PairDistances"):
        CommittorForce(FastImportance(again), 1, -2.0)
    chosen = chain4.problem(descriptor={"kind": "heights", "atoms": "name C2 C3"}).descriptor_spec()
    assert chosen["atoms"] == [1, 2]
