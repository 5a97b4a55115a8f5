"""Kind 12: Systems of somebody else: no program in them runs, nothing in them crashes, and honest ones are read as they are."""

from contextlib import suppress

import openmm
import pytest
from click.testing import CliRunner
from evil import python_force
from test_k9_system_files import files

import chain4
from openmm_rare.cli.main import main
from openmm_rare.config.run import build_system, load_config
from openmm_rare.dynamics.native import plugin
from openmm_rare.errors import InputError, UntrustedCodeError
from openmm_rare.structure.files import read_system
from openmm_rare.trust.system_xml import FORCES, FUNCTIONS, INTEGRATORS, checked_xml

CV = (
    '<Force type="CustomCVForce" version="0" forceGroup="0" name="c" energy="q"><GlobalParameters/>'
    "<EnergyParameterDerivatives/><Functions/>"
    '<CollectiveVariables><CollectiveVariable name="q">{}</CollectiveVariable></CollectiveVariables></Force>'
)
ATM = (
    '<Force type="ATMForce" version="0" forceGroup="0" name="a" energy="u0"><GlobalParameters/><EnergyParameterDerivatives/>'
    "<Forces><Force>{}</Force></Forces><Particles/></Force>"
)
FUNCTION = (
    '<Force type="CustomBondForce" version="3" forceGroup="0" name="b" energy="f(r)"><PerBondParameters/><GlobalParameters/>'
    "<EnergyParameterDerivatives/><Bonds/><Functions>{}</Functions></Force>"
)


def hidden_in(canary):
    """What would run the program, or might for some reader of XML."""
    force = python_force(canary)
    return {
        "plain": force,
        "collective variable": CV.format(force),
        "alchemical": ATM.format(force),
        "twice nested": CV.format(CV.format(force)),
        "function": FUNCTION.format(python_force(canary, "Function")),
        "other element": python_force(canary, "Foo"),
        "spelled by number": python_force(canary, kind="Python&#70;orce"),
        "after a comment": f"<!-- > -->{force}<!-- -- -->"[:-12],
        "within data": f"<![CDATA[x]]>{force}",
    }


def evil_files(folder, force):
    folder.mkdir(exist_ok=True)
    return files(folder, force=force)


@pytest.mark.parametrize("place", list(hidden_in("")))
def test_a_python_force_does_not_run(tmp_path, place):
    canary = tmp_path / "canary"
    path = evil_files(tmp_path / "inputs", hidden_in(canary)[place])
    with pytest.raises(InputError) as caught:
        build_system(load_config(path))
    assert not canary.exists() and "\n" not in str(caught.value)
    if place not in ("function", "other element"):
        assert isinstance(caught.value, UntrustedCodeError)
        assert "has a PythonForce, a program that runs as soon as it is read: if you trust" in str(caught.value)


@pytest.mark.parametrize("place", ["plain", "collective variable", "alchemical"])
def test_negative_control_with_trust_it_runs(tmp_path, place):
    canary = tmp_path / "canary"
    path = evil_files(tmp_path / "inputs", hidden_in(canary)[place])
    with suppress(Exception):  # the program returns no function
        build_system(load_config(path, trust=True))
    assert canary.is_dir()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<System", "<Force", "holds a Force of the type System, not a System"),
        ('type="System"', 'type="PythonForce"', "holds a System of the type PythonForce, not a System"),
        ('type="HarmonicBondForce"', 'type="System"', "has Force of the type 'System' in 'Forces'"),
        ('type="HarmonicBondForce"', 'type="Discrete1DFunction"', "has Force of the type 'Discrete1DFunction'"),
        ('type="HarmonicBondForce"', 'type="VerletIntegrator"', "has Force of the type 'VerletIntegrator'"),
        ("<Forces>", "<Forces>" + FUNCTION.format('<Function type="RGForce"/>'), "has Function of the type 'RGForce'"),
        ("<Forces>", f"<Forces>{'<a>' * 100000}{'</a>' * 100000}", "elements within each other"),
        ('<?xml version="1.0" ?>', '<!DOCTYPE s [<!ENTITY a "b">]>', "has a DOCTYPE"),
        ("</System>", "", "is no serialized OpenMM object"),
    ],
)
def test_what_would_crash_openmm_is_refused(tmp_path, old, new, said):
    path = files(tmp_path)
    text = (tmp_path / "system.xml").read_text()
    text = text.replace(old, new, 1).replace("</System>", "</Force>" if new == "<Force" else "</System>")
    (tmp_path / "system.xml").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        build_system(load_config(path))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def honest():
    """A System with objects in objects, and characters that XML writes in other ways."""
    made = chain4.system(box=2.0)
    custom = openmm.CustomCompoundBondForce(2, "f(distance(p1,p2))*k;\n k=2")
    custom.addTabulatedFunction("f", openmm.Continuous1DFunction([1.0, 2.0, 3.0], 0.0, 1.0))
    custom.setName("a <\"b\"> & 'c' \t é")
    outer = openmm.CustomCVForce("q+f(1)")
    outer.addCollectiveVariable("q", openmm.HarmonicBondForce())
    outer.addTabulatedFunction("f", openmm.Discrete2DFunction(1, 2, [1.0, 2.0]))
    typed = openmm.AmoebaVdwForce()
    typed.addParticleType(0.1, 0.2)
    typed.addParticle(0, 0, 1.0)
    for force in (custom, outer, typed, openmm.MonteCarloBarostat(1, 300), openmm.DrudeForce()):
        made.addForce(force)
    return made


def test_honest_systems_are_read_as_they_are(tmp_path):
    text = openmm.XmlSerializer.serialize(honest())
    (tmp_path / "system.xml").write_text(text)
    assert openmm.XmlSerializer.serialize(read_system(tmp_path / "system.xml")) == text
    for made in (openmm.VerletIntegrator(0.001), openmm.QTBIntegrator(300, 1, 0.001), openmm.DPDIntegrator(300, 1, 1, 0.001)):
        text = openmm.XmlSerializer.serialize(made)
        (tmp_path / "integrator.xml").write_text(text)
        again = openmm.XmlSerializer.deserialize(checked_xml(tmp_path / "integrator.xml", "Integrator"))
        assert openmm.XmlSerializer.serialize(again) == text
    (tmp_path / "integrator.xml").write_text(python_force(tmp_path / "canary", "Integrator"))
    with pytest.raises(InputError, match="holds a Integrator of the type PythonForce, not an integrator"):
        checked_xml(tmp_path / "integrator.xml", "Integrator")


def test_the_known_types_are_those_that_openmm_reads():
    """One that OpenMM gains is refused until somebody has looked at it; this says which."""
    frame = (
        '<System type="System" version="1"><PeriodicBoxVectors><A x="2" y="0" z="0"/><B x="0" y="2" z="0"/>'
        '<C x="0" y="0" z="2"/></PeriodicBoxVectors><Particles/><Constraints/><Forces>'
        '<Force type="{}" version="-1"/></Forces></System>'
    )

    def is_known(kind):
        try:
            openmm.XmlSerializer.deserialize(frame.format(kind))
        except Exception as error:
            return "no serialization proxy" not in str(error)
        return True

    ours = {"CommittorForce", "WalkerBondForce"}
    if plugin().available:
        assert all(map(is_known, ours))
    kinds = (getattr(openmm, name) for name in dir(openmm))
    classes = {kind.__name__ for kind in kinds if isinstance(kind, type) and issubclass(kind, openmm.Force)}
    assert {name for name in classes if is_known(name)} == FORCES - ours | {"PythonForce"}
    functions = {name for name in dir(openmm) if name.endswith("DFunction")}
    assert functions == FUNCTIONS and "VerletIntegrator" in INTEGRATORS


def test_large_systems_are_read_in_a_moment(tmp_path):
    made = openmm.System()
    pairs = openmm.NonbondedForce()
    for _ in range(30000):
        made.addParticle(18.0)
        pairs.addParticle(0.1, 0.3, 0.5)
    made.addForce(pairs)
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(made))
    assert read_system(tmp_path / "system.xml").getNumParticles() == 30000


def test_commands_say_it_in_one_line_and_with_trust_it_runs(tmp_path):
    canary = tmp_path / "canary"
    path = evil_files(tmp_path / "inputs", python_force(canary))

    def command(*options):
        return CliRunner().invoke(main, ["rate", str(path), "--out", str(tmp_path / "out"), *options])

    done = command()
    assert done.exit_code == 2 and not canary.exists() and done.output.count("\n") == 1
    assert done.output.startswith("Error: ") and "--trust" in done.output
    command("--trust")  # the program returns no function
    assert canary.is_dir()
