"""A folder from structure files: what is read, made, found, refused and written."""

from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_rare.config.run import build_system, load_config
from openmm_rare.dynamics.checks import require_runnable
from openmm_rare.errors import DynamicsError, InputError
from openmm_rare.io.tasks import Silent
from openmm_rare.states.states import IN_A
from openmm_rare.structure.box import default_box
from openmm_rare.structure.particles import masses_of
from openmm_rare.systems import alanine_dipeptide
from openmm_rare.workflow.starting import equilibration
from openmm_rare.workflow.starting.candidates import find_candidates
from openmm_rare.workflow.starting.checks import mended
from openmm_rare.workflow.starting.config_text import FILL_IN
from openmm_rare.workflow.starting.request import Request
from openmm_rare.workflow.starting.solvation import parametrized
from openmm_rare.workflow.starting.sources import read_source
from openmm_rare.workflow.starting.start import look, start
from openmm_rare.workflow.starting.states_given import StatesGiven, _wall

WATER = Path(__file__).parents[1] / "data" / "water"
STATES = {"state_a": "phi2=-180..0, psi2=90..-130", "state_b": "phi2=30..90"}
KINDS = {
    "structure": ("water.pdb", None, ()),
    "AMBER": ("water.rst7", "water.prmtop", ()),
    "GROMACS": ("water.gro", "water.top", ()),
    "CHARMM": ("water.pdb", "water.psf", (str(WATER / "water.prm"),)),
}


@pytest.fixture(scope="session")
def molecule(tmp_path_factory):
    """Alanine dipeptide alone, as PDB."""
    path = tmp_path_factory.mktemp("molecule") / "ala.pdb"
    problem = alanine_dipeptide.build(solvent="none")
    with open(path, "w") as stream:
        app.PDBFile.writeFile(problem.topology, problem.positions * unit.nanometer, stream)
    return path


def request_of(kind, **more):
    structure, topology, parameters = KINDS[kind]
    files = {"structure": WATER / structure, "forcefield": parameters}
    if topology is not None:
        files["topology"] = WATER / topology
    return Request.parse({**files, "cutoff": "0.4 nm", "platform": "Reference", **more})


def made(request):
    source = read_source(request)
    if source.kind == "structure":
        source = parametrized(source, request, Silent())
    return source, source.make()


def energy(system, positions, box):
    """kJ/mol, with the dispersion of all, which CHARMM leaves out."""
    system.setDefaultPeriodicBoxVectors(*box)
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setUseDispersionCorrection(True)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return context.getState(energy=True).getPotentialEnergy()._value


def test_files_of_all_programs_make_the_same_system():
    first, _ = made(request_of("structure"))
    found = {}
    for kind in KINDS:
        source, system = made(request_of(kind))
        assert source.kind == kind and np.abs(source.positions - first.positions).max() < 1e-3
        assert system.getNumConstraints() == 117 and np.allclose(source.box, 1.1 * np.eye(3))
        assert not any(isinstance(force, openmm.CMMotionRemover) for force in system.getForces())
        found[kind] = energy(system, first.positions, source.box)
    assert np.ptp(list(found.values())) < 0.1, found
    assert abs(energy(made(request_of("structure", cutoff="0.5 nm"))[1], first.positions, first.box) - found["AMBER"]) > 1.0


def write_crd(path, topology, positions):
    """Coordinates of CHARMM in its extended format, as CHARMM-GUI writes them."""
    lines = ["* water and an ion pair", "*", f"{topology.getNumAtoms():10d}  EXT"]
    for atom, place in zip(topology.atoms(), 10.0 * positions, strict=True):
        x, y, z = (f"{value:20.10f}" for value in place)
        residue = atom.residue
        lines.append(
            f"{atom.index + 1:10d}{residue.index + 1:10d}  {residue.name:<8}  {atom.name:<8}{x}{y}{z}  {'SYS':<8}  "
            f"{residue.index + 1:<8d}{0.0:20.10f}"
        )
    path.write_text("\n".join(lines) + "\n")


def test_coordinates_of_charmm_and_mmcif_are_read_as_well(tmp_path):
    source, system = made(request_of("CHARMM"))
    write_crd(tmp_path / "water.crd", source.topology, source.positions)
    found, again = made(request_of("CHARMM", structure=tmp_path / "water.crd", box="1.1 nm"))
    assert found.kind == "CHARMM" and np.abs(found.positions - source.positions).max() < 1e-6
    assert np.allclose(found.box, source.box) and again.getNumParticles() == system.getNumParticles()
    assert energy(again, source.positions, source.box) == pytest.approx(energy(system, source.positions, source.box))
    plain, _ = made(request_of("structure"))
    with open(tmp_path / "water.cif", "w") as stream:
        app.PDBxFile.writeFile(plain.topology, plain.positions * unit.nanometer, stream)
    found, _ = made(request_of("structure", structure=tmp_path / "water.cif"))
    assert found.kind == "structure" and np.abs(found.positions - plain.positions).max() < 1e-3
    assert np.allclose(found.box, plain.box)


def test_heavy_hydrogen_allows_long_steps(molecule):
    request = Request.parse({"structure": molecule, "hydrogen_mass": "3 Da"})
    assert request.timestep == 0.004
    source, system = made(request)
    hydrogens = [atom.index for atom in source.topology.atoms() if atom.element.symbol == "H"]
    assert np.allclose(masses_of(system)[hydrogens], 3.0)
    plain = made(Request.parse({"structure": molecule}))[1]
    assert np.isclose(masses_of(system).sum(), masses_of(plain).sum())
    assert Request.parse({"structure": molecule}).timestep == 0.002


def test_a_complete_folder_is_what_other_commands_take(molecule, tmp_path):
    request = Request.parse({"structure": molecule, "equilibrate": "2 ps", "platform": "Reference", **STATES})
    done = start(request, tmp_path / "ala", Silent())
    assert done.complete and {path.name for path in done.folder.iterdir()} == {
        "system.xml", "start.pdb", "config.toml", "candidates.csv"
    }  # fmt: skip
    config = load_config(done.folder / "config.toml")
    problem = build_system(config)
    require_runnable(problem, "paths")
    assert problem.states.classify(problem.positions[None])[0] == IN_A
    assert (problem.temperature, problem.friction, problem.timestep) == (300.0, 1.0, 0.002)
    assert problem.inertial and problem.check_interval == 10 and config.path_sampling.trials == 300
    assert config.sampling.platform == "Reference"
    assert len(done.seen.values) > 10 and np.ptp(done.seen.values[:, 0]) > 0.0
    assert not [path for path in tmp_path.iterdir() if path.name != "ala"]


def test_states_to_fill_in_are_named_and_the_examples_are_valid(molecule, tmp_path):
    request = Request.parse({"structure": molecule, "equilibrate": "1 ps", "platform": "Reference"})
    done = start(request, tmp_path / "ala", Silent())
    file = done.folder / "config.toml"
    with pytest.raises(InputError, match="config.toml: states.a.range.phi2 = 'FILL IN' is not a number"):
        load_config(file)
    text = file.read_text()
    example = next(line for line in text.splitlines() if line.startswith("#   range = "))
    empty = next(line for line in text.splitlines() if line.startswith("range = "))
    other = empty.replace(f'"{FILL_IN}", "{FILL_IN}"', '"20 deg", "30 deg"')
    text = text.replace(empty, example.removeprefix("#   "), 1).replace(empty, other, 1)
    lines = text.splitlines()
    begin = next(number for number, line in enumerate(lines) if line == "# [system.descriptor]")
    for number in range(begin, begin + 9):
        lines[number] = lines[number].removeprefix("# ")
    pytest.importorskip("mdtraj")
    file.write_text(text)
    problem = build_system(load_config(file))  # the structure lies in the example of A
    assert problem.states.variables.names == ("phi2", "psi2")
    file.write_text("\n".join(lines))
    with pytest.raises(InputError, match="water"):  # what is there for molecules in water, and read as far as that
        build_system(load_config(file))


def test_dihedrals_and_distances_are_found_by_their_names():
    problem = alanine_dipeptide.build(solvent="none")
    found = find_candidates(problem.system, problem.topology, problem.positions)
    by_name = {each.name: each for each in found.variables}
    assert by_name["phi2"].atoms == alanine_dipeptide.PHI and by_name["psi2"].atoms == alanine_dipeptide.PSI
    assert [each.name for each in found.variables][:2] == ["phi2", "psi2"]
    assert by_name["r_1O_3N"].kind == "distance" and by_name["r_1O_3N"].atoms == (5, 16)
    expected = problem.states.variables(problem.positions[None])
    assert np.allclose(found.values(problem.positions[None])[:, :2], expected)
    hydrogens = {atom.index for atom in problem.topology.atoms() if atom.element.symbol == "H"}
    assert not hydrogens & {atom for each in found.variables for atom in each.atoms}


def test_bonds_of_the_system_are_enough():
    problem = alanine_dipeptide.build(solvent="none")
    bare = app.Topology()
    residue = bare.addResidue("LIG", bare.addChain())
    for atom in problem.topology.atoms():
        bare.addAtom(f"X{atom.index}", atom.element, residue)
    found = find_candidates(problem.system, bare, problem.positions)
    quartets = {each.atoms for each in found.variables if each.kind == "dihedral"}
    assert len(quartets) == 4 and alanine_dipeptide.PHI[1:3] in {each[1:3] for each in quartets}


def test_rings_do_not_turn_and_ions_are_pairs_across_the_box():
    source, system = made(request_of("structure"))
    found = find_candidates(system, source.topology, source.positions)
    (pair,) = found.variables
    assert pair.atoms == (0, 1) and pair.kind == "distance" and found.n_waters == 39
    shifted = source.positions.copy()
    shifted[1] += [1.1, 0.0, -1.1]
    assert np.allclose(found.values(shifted[None]), found.values(source.positions[None]))
    assert not np.allclose(found.in_box(None).values(shifted[None]), found.values(source.positions[None]))
    ring, chain = app.Topology(), app.Topology()
    for topology in (ring, chain):
        residue = topology.addResidue("CYC", topology.addChain())
        atoms = [topology.addAtom(f"C{number}", app.element.carbon, residue) for number in range(6)]
        for one, other in zip(atoms, atoms[1:] + ([atoms[0]] if topology is ring else []), strict=topology is ring):
            topology.addBond(one, other)
    model = openmm.System()
    for _ in range(6):
        model.addParticle(12.0)
    places = np.random.default_rng(1).normal(size=(6, 3))
    turns = [[each.kind for each in find_candidates(model, topology, places).variables] for topology in (ring, chain)]
    assert "dihedral" not in turns[0] and turns[1].count("dihedral") == 3


def test_water_and_ions_are_added_and_the_box_becomes_its_mean(molecule, tmp_path):
    more = {"water": "tip3p", "padding": "0.7 nm", "cutoff": "0.6 nm", "ionic_strength": "0.5", "hydrogen_mass": "3"}
    request = Request.parse({"structure": molecule, "equilibrate": "0.2 ps", "platform": "CPU", **more})
    done = start(request, tmp_path / "wet", Silent())
    system = openmm.XmlSerializer.deserialize((done.folder / "system.xml").read_text())
    structure = app.PDBFile(str(done.folder / "start.pdb"))
    box = default_box(system)
    assert 1.2 < box[0, 0] < 1.8 and np.allclose(box, np.eye(3) * box[0, 0])
    edges = structure.topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer)
    assert np.allclose(np.diag(np.array(edges)), box[0, 0], atol=2e-4)
    names = [residue.name for residue in structure.topology.residues()]
    assert names.count("HOH") > 50 and names.count("NA") == names.count("CL") >= 1
    assert not any("Barostat" in type(force).__name__ for force in system.getForces())
    assert any("Equilibrated for 0.2 ps" in sentence for sentence in done.warnings)
    assert done.seen.candidates.named("phi2") is not None and done.seen.candidates.named("r_4NA_5CL") is None


def test_a_system_is_taken_as_it_is_without_what_changes_its_dynamics(tmp_path):
    source, system = made(request_of("structure"))
    system.setDefaultPeriodicBoxVectors(*(1.2 * np.eye(3)))  # as it was created with
    for force in (openmm.CMMotionRemover(), openmm.MonteCarloBarostat(1.0, 300.0), openmm.AndersenThermostat(300.0, 1.0)):
        system.addForce(force)
    system.getForce(0).setForceGroup(3)
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    files = {"structure": WATER / "water.pdb", "topology": tmp_path / "system.xml", "platform": "CPU"}
    done = start(Request.parse({**files, "equilibrate": "0"}), tmp_path / "out", Silent())
    kept = openmm.XmlSerializer.deserialize((done.folder / "system.xml").read_text())
    assert np.allclose(default_box(kept), 1.1 * np.eye(3))  # that of the structure
    kinds = {type(force).__name__ for force in kept.getForces()}
    assert "NonbondedForce" in kinds and not kinds & {"CMMotionRemover", "MonteCarloBarostat", "AndersenThermostat"}
    assert all(force.getForceGroup() == 0 for force in kept.getForces())
    taken = [sentence for sentence in done.warnings if "taken out of the System" in sentence]
    assert len(taken) == 3 and not mended(kept)
    with pytest.raises(InputError, match="--cutoff is for a System that is made here"):
        read_source(Request.parse({**files, "cutoff": "0.4 nm"}))


def test_variables_are_listed_along_a_trajectory(molecule, tmp_path):
    problem = alanine_dipeptide.build(solvent="none")
    frames = np.array([problem.positions, problem.positions, problem.positions])
    frames[1:, 15] += 0.01
    np.savez(tmp_path / "frames.npz", positions=frames)
    seen = look(Request.parse({"structure": molecule, "trajectory": tmp_path / "frames.npz"}), Silent())
    column = [each.name for each in seen.candidates.variables].index("r_1O_2O")
    assert seen.where == "frames.npz" and len(seen.values) == 4 and seen.values[0, column] != seen.values[1, column]
    np.savez(tmp_path / "other.npz", positions=frames[:, :5])
    with pytest.raises(InputError, match="other.npz must have frames of 22 atoms"):
        look(Request.parse({"structure": molecule, "trajectory": tmp_path / "other.npz"}), Silent())


def test_a_start_outside_of_a_is_told_and_the_folder_is_kept(molecule, tmp_path):
    states = {"state_a": "phi2=40..60", "state_b": "phi2=-180..-150"}
    request = Request.parse({"structure": molecule, "equilibrate": "0.5 ps", "platform": "Reference", **states})
    done = start(request, tmp_path / "ala", Silent())
    assert any("No frame lay in A (phi2 went from" in sentence for sentence in done.warnings)
    with pytest.raises(InputError, match="positions must lie in A"):
        build_system(load_config(done.folder / "config.toml"))


@pytest.mark.parametrize("walls", [True, False])
def test_a_state_that_is_soon_left_is_kept_until_it_is_written(tmp_path, monkeypatch, walls):
    """Two ions that repel each other; without walls around A, the negative control, they fly apart."""
    if not walls:
        monkeypatch.setattr(StatesGiven, "walls", lambda self, candidates, n_atoms: [])
    line = "HETATM    {}  NA   NA A   {}      {:6.3f}   0.000   0.000  1.00  0.00          NA\n"
    (tmp_path / "ions.pdb").write_text(line.format(1, 1, 0.0) + line.format(2, 2, 10.0) + "END\n")
    states = {"state_a": "r_1NA_2NA=..1.05", "state_b": "r_1NA_2NA=2.0.."}
    request = Request.parse({"structure": tmp_path / "ions.pdb", "equilibrate": "2 ps", "platform": "Reference", **states})
    done = start(request, tmp_path / "made", Silent())
    assert any("No frame lay in A" in sentence for sentence in done.warnings) is not walls
    assert bool(done.seen.values[-1, 0] < 1.05) is walls


@pytest.mark.parametrize(
    ("low", "high", "unit", "period", "inside", "outside"),
    [
        (0.25, 0.31, "nm", None, [0.26, 0.3], {0.22: 0.036, 0.35: 0.046}),
        (-np.inf, 0.31, "nm", None, [0.0, 0.29], {0.4: 0.1}),
        (3.0, 3.5, "rad", 2 * np.pi, [3.1, -3.0, 3.4 - 2 * np.pi], {2.8: 0.25, -2.6: 0.2331853}),
    ],
)
def test_walls_do_nothing_within_a(low, high, unit, period, inside, outside):
    """Distances beyond the walls, which stand a tenth of the width within the edges here, or 0.01 nm."""
    expression, _, parts = _wall(low, high, unit, period).partition(";")
    names = {"max": max, "abs": abs, "floor": np.floor}

    def energy(s):
        known = {**names, "s": s}
        for part in reversed([each for each in parts.replace(" ", "").split(";") if each]):
            name, _, value = part.partition("=")
            known[name] = eval(value.replace("^", "**"), known)
        return eval(expression.replace("^", "**"), known)

    assert all(energy(s) == 0.0 for s in inside)
    stiff = {"nm": 2e4, "rad": 1000.0}[unit]
    for s, beyond in outside.items():
        assert energy(s) == pytest.approx(0.5 * stiff * beyond**2, rel=1e-4)


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), DynamicsError("positions became NaN")])
def test_what_stops_on_the_way_leaves_nothing(molecule, tmp_path, monkeypatch, failure):
    looks = iter(range(3))

    def positions(self, wrapped):
        if next(looks, None) is None:
            raise failure
        return np.array(self.context.getState(positions=True).getPositions(asNumpy=True)._value)

    monkeypatch.setattr(equilibration._Run, "positions", positions)
    request = Request.parse({"structure": molecule, "equilibrate": "2 ps", "platform": "Reference"})
    with pytest.raises(type(failure)):
        start(request, tmp_path / "ala", Silent())
    assert not list(tmp_path.iterdir())


def test_programs_in_force_fields_run_only_when_trusted(molecule, tmp_path):
    ran = tmp_path / "ran"
    (tmp_path / "inner.xml").write_text(
        f"<ForceField><InitializationScript>open({str(ran)!r}, 'w')</InitializationScript></ForceField>"
    )
    (tmp_path / "outer.xml").write_text('<ForceField><Include file="inner.xml"/></ForceField>')
    given = {"structure": molecule, "forcefield": ("amber14-all.xml", str(tmp_path / "outer.xml"))}
    with pytest.raises(InputError, match="inner.xml holds a program"):
        made(Request.parse(given))
    assert not ran.exists()
    made(Request.parse({**given, "trust": True}))
    assert ran.exists()  # negative control


def test_structures_that_pdb_cannot_hold_go_into_mmcif(tmp_path):
    """Two atoms of one name in a residue are one for PDB."""
    source, system = made(request_of("AMBER"))
    for residue in source.topology.residues():
        for atom in residue.atoms():
            atom.name = atom.element.symbol
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    with open(tmp_path / "same.cif", "w") as stream:
        app.PDBxFile.writeFile(source.topology, source.positions * unit.nanometer, stream)
    files = {"structure": tmp_path / "same.cif", "topology": tmp_path / "system.xml", "platform": "CPU"}
    done = start(Request.parse({**files, "equilibrate": "0"}), tmp_path / "out", Silent())
    assert not (done.folder / "start.pdb").exists() and 'pdb = "start.cif"' in (done.folder / "config.toml").read_text()
