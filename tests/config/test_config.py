"""Configurations: what is read, what comes back from TOML, and what each mistake is told."""

import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import openmm
import pytest
from openmm import app, unit

from openmm_rare.config.run import RunConfig, SystemConfig, build_system, load_config, parse_config
from openmm_rare.config.stored import stored_config
from openmm_rare.io.checksums import toml_with_checksum
from openmm_rare.io.toml import read_toml, write_toml
from openmm_rare.settings.rates import RateSettings
from openmm_rare.states import states as st

OWN = """
[system]
name = "chain"
xml = "system.xml"
pdb = "start.pdb"
temperature = "300 K"
friction = "10 1/ps"
timestep = "2 fs"

[variables.phi]
type = "dihedral"
atoms = [0, 1, 2, 3]

[variables.bond]
type = "distance"
atoms = [0, 1]

[variables.tilt]
type = "linear_combination"
coefficients = [[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, -0.5, 0]]

[variables.crowd]
type = "coordination_moment"
order = 1
radius = "3 angstrom"

[states.a]
range = { phi = ["120 deg", "-120 deg"], bond = [0.0, inf] }

[states.b]
function = "chain_functions:in_b"

[channels]
names = ["here", "there"]
arrival = "chain_functions:channel"

[[channels.rules]]
to = "there"
after = "here"
range = { phi = ["-1 deg", "90 deg"], bond = [0.0, "2 angstrom"] }

[[channels.rules]]
to = "here"
disc = { center = { bond = "0.5 nm" }, radius = "1 angstrom" }

[[channels.rules]]
to = "there"
function = "chain_functions:in_b"

[sampling]
target_error = 0.05
seed = 7
annealing = ["900 K", 500]
strengths = [1, 0]
max_walker_steps = 1e9
"""

FUNCTIONS = """
import openmm
from openmm import app

def in_b(positions):
    return positions[:, 0, 0] > 5.0

def channel(positions, values, labels):
    return labels

def pair(stiffness=100.0):
    system = openmm.System()
    system.addParticle(10.0)
    system.addParticle(10.0)
    force = openmm.HarmonicBondForce()
    force.addBond(0, 1, 0.2, stiffness)
    system.addForce(force)
    return system, app.Topology(), [[0.0, 0.0, 0.0], [0.2, 0.0, 0.0]]

def ready():
    from openmm_rare.systems import build
    return build("double_well_1d", temperature=450.0)

def wrong():
    return 5
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "chain_functions", raising=False)  # that of another test
    system = openmm.System()
    for _ in range(4):
        system.addParticle(12.0)
    force = openmm.HarmonicBondForce()
    force.addBond(0, 1, 0.1, 1000.0)
    system.addForce(force)
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    topology = app.Topology()
    residue = topology.addResidue("CHN", topology.addChain())
    for i in range(4):
        topology.addAtom(f"C{i}", app.element.carbon, residue)
    positions = [[0, 0, 0], [0.1, 0, 0], [0.1, 0.1, 0], [0.2, 0.1, 0.02]] * unit.nanometer
    with open(tmp_path / "start.pdb", "w") as stream:
        app.PDBFile.writeFile(topology, positions, stream)
    (tmp_path / "chain_functions.py").write_text(FUNCTIONS)
    return tmp_path


def build(text, folder):
    return build_system(parse_config(textwrap.dedent(text), folder))


def test_own_system_is_built_as_described(folder):
    (folder / "run.toml").write_text(OWN)
    config = load_config(folder / "run.toml")
    system = build_system(config)
    assert system.name == "chain"
    assert (system.temperature, system.friction, system.timestep) == (300.0, 10.0, pytest.approx(0.002))
    assert system.positions[3] == pytest.approx([0.2, 0.1, 0.02])
    assert system.topology.getNumAtoms() == 4
    variables = system.states.variables
    assert variables.names == ("phi", "bond", "tilt", "crowd")
    assert variables.variables[3].radius == pytest.approx(0.3)
    assert isinstance(system.states.a, st.Range)
    assert system.states.a.bounds["phi"] == pytest.approx((2.0943951, -2.0943951))
    assert isinstance(system.states.b, st.FunctionRegion)
    channels = system.states.channels
    assert channels.names == ("here", "there")
    assert [(rule.to, rule.after) for rule in channels.rules] == [("there", "here"), ("here", None), ("there", None)]
    assert channels.rules[0].region.bounds["phi"] == pytest.approx((-0.01745329, 1.57079633))
    assert channels.rules[0].region.bounds["bond"] == pytest.approx((0.0, 0.2))
    assert channels.rules[1].region.radius == pytest.approx(0.1)
    assert channels.rules[2].region.label == "chain_functions:in_b"
    assert channels.describe()["arrival"] == "chain_functions:channel"
    sampling = config.sampling
    assert (sampling.target_error, sampling.seed, sampling.platform) == (0.05, 7, "Reference")
    assert sampling.settings.annealing == (900.0, 500.0)
    assert sampling.settings.strengths == (1.0, 0.0)
    assert sampling.settings.max_walker_steps == 10**9
    assert sampling.settings.stride == RateSettings().stride


def test_toml_round_trip_gives_the_same_object_wherever_it_is_read(folder, tmp_path):
    config = parse_config(OWN, folder)
    assert parse_config(config.to_toml(), tmp_path / "elsewhere") == config
    system = build_system(config)
    expanded = config.expanded(system)
    again = parse_config(expanded.to_toml(), tmp_path / "elsewhere", trust=True)
    assert again == expanded
    assert build_system(again).fingerprint() == system.fingerprint()


def test_channels_without_rules_or_arrival(folder, tmp_path):
    start, end = OWN.index("arrival ="), OWN.index("[sampling]")
    config = parse_config(OWN[:start] + OWN[end:], folder)
    assert build_system(config).states.channels.describe() == {"names": ["here", "there"], "rules": []}
    assert parse_config(config.to_toml(), tmp_path / "elsewhere") == config


def test_expanded_configuration_spells_out_everything():
    config = RunConfig("/nowhere", SystemConfig(name="lj7", parameters={"kt_over_epsilon": 0.2, "radius_a": 0.12}))
    system = build_system(config)
    text = config.expanded(system).to_toml()
    for name in ("temperature", "friction", "timestep", "target_error", "seed", "platform", "stride", "min_ess"):
        assert f"\n{name} = " in text
    again = parse_config(text, "/elsewhere")
    rebuilt = build_system(again)
    assert rebuilt.fingerprint() == system.fingerprint()
    assert rebuilt.temperature == system.temperature
    colder = build_system(again.with_options(temperature_k=300.0))
    assert colder.temperature == 300.0


def test_expanded_configuration_keeps_its_states_at_other_temperatures():
    config = RunConfig("/nowhere", SystemConfig(name="lj7", temperature_k=300.0))
    system = build_system(config)
    expanded = config.expanded(system)
    assert build_system(expanded.with_options(temperature_k=600.0)).fingerprint() == system.fingerprint()
    assert build_system(config.with_options(temperature_k=600.0)).fingerprint() != system.fingerprint()  # negative control


def test_built_in_system_with_changed_dynamics():
    system = build('[system]\nname = "double_well_1d"\ntemperature = "500 K"\ntimestep = "5 fs"', "/")
    assert (system.temperature, system.timestep) == (500.0, pytest.approx(0.005))


def test_builder_functions(folder):
    ready = '[system]\nbuilder = "chain_functions:ready"\n'
    assert build(ready, folder).temperature == 450.0
    assert build(ready + 'temperature = "320 K"', folder).temperature == 320.0
    pair = """
        [system]
        builder = "chain_functions:pair"
        parameters = { stiffness = 50.0 }
        temperature = "300 K"
        friction = "1 1/ps"
        timestep = "1 fs"
        [variables.r]
        type = "distance"
        atoms = [0, 1]
        [states.a]
        disc = { center = { r = "2 A" }, radius = "0.05 nm" }
        [states.b]
        range = { r = ["0.6 nm", inf] }
    """
    system = build(pair, folder)
    assert system.name == "user"
    assert system.states.a.radius == pytest.approx(0.05)
    with pytest.raises(ValueError, match=r"'stifness' in section \[system.parameters\].*'stiffness'"):
        build(pair.replace("stiffness", "stifness"), folder)


MISTAKES = [
    ("temperature =", "temprature =", r"unknown key 'temprature' in section \[system\].*'temperature'"),
    ("[sampling]", "[samplign]", "unknown key 'samplign' in the configuration.*'sampling'"),
    ("seed = 7", "sede = 7", r"unknown key 'sede' in section \[sampling\].*'seed'"),
    ("strengths", "strength", r"'strength' in section \[sampling\].*'strengths'"),
    ("[states.b]", "[states.c]", r"unknown key 'c' in section \[states\]"),
    ('"300 K"', '"300 nm"', "system.temperature = '300 nm' has a unit of another dimension.*allowed.* K"),
    ('"2 fs"', '"2 parsec"', "system.timestep = '2 parsec' has an unknown unit.*fs"),
    ('"2 fs"', '"-2 fs"', "system.timestep = '-2 fs' must not be negative"),
    ('"120 deg"', '"1 nm"', "states.a.range.phi = '1 nm'.*deg, rad"),
    ("phi = [", "psi = [", r"unknown variable 'psi' in section \[states.a.range\].*'phi'"),
    ('["120 deg", "-120 deg"]', '["120 deg"]', r"states.a.range.phi = .* must be \[lowest, highest\]"),
    ('function = "chain_functions:in_b"', "", r"\[states.b\] must hold one of: range"),
    ('"dihedral"', '"dihedrals"', "variables.phi.type = 'dihedrals' must be one of.*'dihedral'"),
    ("atoms = [0, 1, 2, 3]", "atoms = [0, 1, 2]", "variable 'phi': atoms must be 4 different indices"),
    ("atoms = [0, 1, 2, 3]", "atoms = [0, 1, 2, 9]", "names an atom that does not exist: the system has 4 atoms"),
    ("atoms = [0, 1]", "atoms = [0, 1.5]", "variables.bond.atoms = 1.5 must be a whole number"),
    (
        "atoms = [0, 1]",
        'atoms = [0, 1]\nbox = ["2 nm", "2 nm", "2 nm"]',
        "variable 'bond' has a box, but the System has no periodic",
    ),
    (
        "atoms = [0, 1]",
        "atoms = [0, 1]\nbox = [2.0, 2.0]",
        "variable 'bond': box must be three finite edges or three box vectors",
    ),
    ("atoms = [0, 1]", "atoms = [0, 1]\nbox = [[2, 0, 0], [0, 2]]", r"variables.bond.box must be a list of \[x, y, z\]"),
    ("atoms = [0, 1]", 'atoms = [0, 1]\nbox = ["2 ps", "2 nm", "2 nm"]', "variables.bond.box = '2 ps' has a unit of another"),
    ("order = 1", "order = 1\nbx = 3", r"unknown key 'bx' in section \[variables.crowd\]; did you mean 'box'"),
    ("atoms = [0, 1]", "", r"section \[variables.bond\] lacks atoms"),
    ("[[1, 0, 0]", "[[1, 0]", "coefficients"),
    ("chain_functions:in_b", "chain_functions:in_c", "defines no function 'in_c'; did you mean 'in_b'"),
    ("chain_functions:in_b", "chain_function:in_b", "no module 'chain_function' in .* or installed"),
    ("chain_functions:in_b", "in_b", 'must be "module:function"'),
    ('names = ["here", "there"]', "names = [1, 2]", "channels.names = .* must be a list of texts"),
    ('arrival = "chain', 'function = "chain', r"unknown key 'function' in section \[channels\].*names, rules, arrival"),
    ("chain_functions:channel", "chain_functions:chanel", "channels.arrival = .* did you mean 'channel'"),
    ('after = "here"', 'afer = "here"', r"unknown key 'afer' in section \[channels.rules\[0\]\]; did you mean 'after'"),
    ('after = "here"', 'after = "hare"', r"a rule names the channel 'hare', which is none of \['here', 'there'\]"),
    ('to = "there"', "", r"section \[channels.rules\[0\]\] lacks to"),
    ('bond = [0.0, "2 ang', 'bend = [0.0, "2 ang', r"unknown variable 'bend' in section \[channels.rules\[0\].range\]"),
    ('radius = "1 angstrom"', 'radius = "1 deg"', r"channels.rules\[1\].disc.radius = '1 deg' has a unit of another dimension"),
    ('disc = { center = { bond = "0.5 nm" }, radius = "1 angstrom" }', "", r"\[channels.rules\[1\]\] must hold one of: range"),
    ('"there"\nfunction = "chain', '"there"\nfunction = "chan', r"channels.rules\[2\].function = .*no module"),
    ("target_error = 0.05", "target_error = 5", "sampling.target_error = 5.0 must be .* between 0 and 1"),
    ("seed = 7", "seed = -1", "sampling.seed = -1 must be a whole number of at least 0"),
    ("seed = 7", 'seed = "7"', "sampling.seed = '7' must be a whole number"),
    ("seed = 7", 'method = "magic"', "sampling.method = 'magic' must be one of importance, brute_force"),
    ("seed = 7", 'no_reweighting = "yes"', "sampling.no_reweighting = 'yes' must be true or false"),
    ("seed = 7", "stride = 0", "stride = 0 must be at least 1"),
    ("[sampling]", "[sampling", "not valid TOML"),
    ('friction = "10 1/ps"', "", r"section \[system\] lacks friction"),
    ('["120 deg", "-120 deg"]', '["0 deg", "10 deg"]', "positions must lie in A"),
    ('xml = "system.xml"', "", "needs both xml .* and pdb"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES, ids=[new[:24] or f"no {old[:20]}" for old, new, _ in MISTAKES])
def test_mistakes_are_named(folder, old, new, message):
    assert old in OWN
    with pytest.raises(ValueError, match=message):
        build(OWN.replace(old, new, 1), folder)


def test_missing_file_is_named_with_its_place(folder):
    with pytest.raises(ValueError, match=f"system.pdb = 'sub/none.pdb' does not exist; looked for {folder}/sub/none.pdb"):
        parse_config(OWN.replace("start.pdb", "sub/none.pdb"), folder)


def test_more_starts_are_read_and_must_lie_in_a(folder):
    (folder / "other.pdb").write_text((folder / "start.pdb").read_text())
    text = OWN.replace('pdb = "start.pdb"', 'pdb = "start.pdb"\nmore_starts = ["other.pdb"]')
    config = parse_config(text, folder)
    system = build_system(config)
    assert (system.starts[1] == system.positions).all()
    assert parse_config(config.to_toml(), folder) == config and config.system.more_starts == ("other.pdb",)
    with pytest.raises(ValueError, match="system.more_starts = 'none.pdb' does not exist"):
        parse_config(text.replace("other.pdb", "none.pdb"), folder)
    with pytest.raises(ValueError, match="more_starts goes with xml and pdb"):
        parse_config('[system]\nbuilder = "a:b"\nmore_starts = ["other.pdb"]', folder)
    lines = (folder / "other.pdb").read_text().splitlines()
    (folder / "other.pdb").write_text("\n".join(line for line in lines if " C3 " not in line))
    with pytest.raises(ValueError, match="other.pdb has 3 atoms"):
        build(text, folder)


def test_unreadable_files_are_named(folder):
    (folder / "start.pdb").write_text("nonsense")
    with pytest.raises(ValueError, match="start.pdb"):
        build(OWN, folder)
    (folder / "system.xml").write_text("<nonsense/>")
    with pytest.raises(ValueError, match="system.xml: .* is no serialized OpenMM object"):
        build(OWN, folder)
    (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(openmm.VerletIntegrator(0.001)))
    with pytest.raises(ValueError, match="holds a VerletIntegrator, not a System"):
        build(OWN, folder)


def test_errors_of_a_file_name_the_file(folder):
    (folder / "run.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="run.toml"):
        load_config(folder / "run.toml")
    with pytest.raises(FileNotFoundError):
        load_config(folder / "none.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"section \[system\] must give one of"),
        ('[system]\nname = "lj8"', "unknown system 'lj8'.*lj7"),
        (
            '[system]\nname = "lj7"\nparameters = { radius = 1.0 }',
            r"'radius' in section \[system.parameters\].*'radius_",
        ),
        ('[system]\nname = "lj7"\n[states.a]\nrange = {}\n[states.b]\nrange = {}', "brings its own"),
        (
            '[system]\nbuilder = "chain_functions:pair"\n[channels]\nnames = ["a"]\nrules = ["a"]',
            r"channels.rules = \['a'\] must be tables, each headed \[\[channels.rules\]\]",
        ),
        ('[system]\nbuilder = "chain_functions:wrong"', "must return a RareEventSystem or .*, not int"),
        ('[system]\nbuilder = "chain_functions:pair"', "needs its states"),
        ('[system]\nbuilder = "a:b"\nxml = "system.xml"\npdb = "start.pdb"', "both builder and xml"),
    ],
)
def test_unusable_systems(folder, text, message):
    with pytest.raises(ValueError, match=message):
        build(text, folder)


def test_an_error_inside_the_users_module_keeps_its_own_type(folder):
    (folder / "broken_module.py").write_text("import module_that_is_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="module_that_is_not_there"):
        build('[system]\nbuilder = "broken_module:f"', folder)


def test_options_of_the_command_line_win():
    config = RunConfig("/", SystemConfig(name="lj7", temperature_k=600.0)).with_options(
        temperature_k=300.0, seed=0, target_error=None
    )
    assert (config.system.temperature_k, config.sampling.seed, config.sampling.target_error) == (300.0, 0, 0.1)
    with pytest.raises(ValueError, match="target_error = 1.5"):
        config.with_options(target_error=1.5)
    assert replace(config) == config


def test_toml_text_of_awkward_values():
    data = {
        "text": 'quote " backslash \\ newline \n μ \x7f',
        "numbers": [1, -2.5, 1e-300, float("inf"), float("-inf")],
        "flag": True,
        "section": {"odd key": 1, "μ": {"deep": {"deeper": [1, [2.0]]}}, "empty": {}},
        "lists": {"none": [], "tables": [{"a": 1}, {"b": {"c": [{"d": 2}]}}], "key": 1, "table": {"deep": [{"e": 3}]}},
    }
    assert read_toml(write_toml(data)) == data
    with pytest.raises(TypeError, match="not TOML serializable"):
        write_toml({"none": None})


EXAMPLES = sorted(Path(__file__).parents[2].glob("examples/**/*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_configurations_of_the_examples_are_written_as_they_are_read(path):
    said = read_toml(path.read_text(encoding="utf8"))
    assert said and read_toml(write_toml(said)) == said


def test_blocks_are_a_time_and_runs_that_had_them_in_steps_are_read(tmp_path):
    settings = RateSettings()
    assert settings.block_ps == 5.0 and settings.block_steps(0.002) == 2500 and settings.block_steps(0.004) == 1250
    own = '[system]\nname = "langevin_well"\n[sampling]\nblock_steps = 250\n'
    with pytest.raises(ValueError, match="^sampling.block_steps is block_ps now, a time: e.g. block_ps = 5.0") as told:
        parse_config(own, tmp_path)
    assert "\n" not in str(told.value)
    config = parse_config(own.replace("block_steps = 250", "block_ps = 2.5"), tmp_path)
    written = config.expanded(build_system(config)).to_toml()
    assert "block_ps = 2.5\n" in written
    old = written.replace("block_ps = 2.5", "block_steps = 250")  # as a run of an earlier version recorded it
    assert parse_config(old, tmp_path) == parse_config(written, tmp_path)
    (tmp_path / "config.toml").write_text(toml_with_checksum(old))
    for recorded in (old, written):  # the latter: it was continued, and killed
        assert stored_config(tmp_path, recorded).sampling.settings.block_ps == 2.5
    with pytest.raises(ValueError, match="block_ps"):  # negative control
        stored_config(tmp_path, written.replace("block_ps = 2.5", "block_ps = 3.5"))
