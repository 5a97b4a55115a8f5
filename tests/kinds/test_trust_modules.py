"""Kind 12: functions that a configuration names: those beside it run, all others only if somebody says so."""

import re
import sys

import pytest

import chain4
from openmm_rare.cli.options import configured
from openmm_rare.config.run import build_system, load_config
from openmm_rare.errors import InputError, UntrustedCodeError
from openmm_rare.trust.named_functions import function_of_label

OTHER = "import pathlib\npathlib.Path({canary!r}).mkdir(exist_ok=True)\n"


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


def named(folder, reference, key="builder"):
    """The configuration of the chain with another function."""
    folder.mkdir(exist_ok=True)
    path = chain4.write(folder)
    text = path.read_text()
    if key == "builder":
        text = re.sub(r'builder = ".*"', f'builder = "{reference}"', text)
    elif key == "variable":
        text = text.replace("[states.a]", f'[variables.other]\ntype = "function"\nfunction = "{reference}"\n\n[states.a]')
    elif key == "state":
        text = text.replace('range = { phi = ["-90 deg", "90 deg"] }', f'function = "{reference}"')
    elif key == "arrival":
        text += f'\n[channels]\nnames = ["one"]\narrival = "{reference}"\n'
    else:
        text = text.replace("[system]", f'[system]\nimport = ["{reference.partition(":")[0]}"]', 1)
    path.write_text(text)
    return path


def refused(path, **options):
    with pytest.raises(InputError) as caught:
        build_system(load_config(path, **options))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    return caught.value


STANDARD = ["os:system", "posix:system", "subprocess:run", "builtins:eval", "os.path:join", "shutil:rmtree", "sys:exit"]


@pytest.mark.parametrize("reference", STANDARD)
@pytest.mark.parametrize("key", ["builder", "variable", "state", "arrival", "import"])
def test_no_function_of_python_itself_runs(tmp_path, reference, key):
    error = refused(named(tmp_path, reference, key))
    assert isinstance(error, UntrustedCodeError)
    assert "is a module of Python itself, which no configuration may run" in str(error)
    with pytest.raises(UntrustedCodeError, match="is one of Python itself"):
        function_of_label(reference)


def test_a_command_in_the_parameters_does_not_run(tmp_path, canary):
    path = named(tmp_path / "inputs", "os:mkdir")
    parameters = f'[system.parameters]\npath = "{canary}"\n\n[variables.phi]'
    path.write_text(path.read_text().replace("[variables.phi]", parameters, 1))
    refused(path)
    assert not canary.exists()
    with pytest.raises(ValueError, match="os:mkdir must return"):  # negative control
        build_system(load_config(path, trust=True))
    assert canary.is_dir()


INSTALLED = ["numpy:save", "openmm_rare.io.files:write_text", "somewhere:build", "somewhere.inner:build"]


@pytest.mark.parametrize("reference", INSTALLED)
def test_installed_packages_run_only_if_they_are_named(tmp_path, canary, monkeypatch, reference):
    """Not even the package is imported to find out where its module lies."""
    package = tmp_path / "installed" / "somewhere"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(OTHER.format(canary=str(canary)) + chain4.BUILDER)
    (package / "inner.py").write_text(chain4.BUILDER)
    monkeypatch.syspath_prepend(package.parent)
    path = named(tmp_path / "inputs", reference)
    name = reference.partition(":")[0].partition(".")[0]
    error = refused(path)
    assert f"'{name}' does not lie beside the configuration but is installed" in str(error)
    assert f"if it may run, give --allow-package {name}" in str(error)
    assert not canary.exists()
    refused(path, packages=["another"])
    if name == "somewhere":
        assert build_system(load_config(path, packages=["somewhere"])).name == "chain"
        assert canary.is_dir()
        for module in ("somewhere", "somewhere.inner"):
            sys.modules.pop(module, None)


def test_links_out_of_the_folder_are_not_followed(tmp_path, canary):
    outside = tmp_path / "outside"
    (outside / "package").mkdir(parents=True)
    for file in ("linked.py", "package/__init__.py", "package/inner.py"):
        (outside / file).write_text(OTHER.format(canary=str(canary)) + chain4.BUILDER)
    folder = tmp_path / "inputs"
    (folder / "half").mkdir(parents=True)
    (folder / "linked_module.py").symlink_to(outside / "linked.py")
    (folder / "linked_package").symlink_to(outside / "package")
    (folder / "half" / "__init__.py").symlink_to(outside / "package" / "__init__.py")
    (folder / "half" / "own.py").write_text(chain4.BUILDER)
    for reference in ("linked_module:build", "linked_package:build", "linked_package.inner:build", "half.own:build"):
        error = refused(named(folder, reference))
        assert "does not lie in the folder of the configuration" in str(error) and "--trust" in str(error)
    assert not canary.exists()
    assert build_system(load_config(named(folder, "linked_module:build"), trust=True)).name == "chain"  # negative control
    assert canary.is_dir()


def test_a_configuration_cannot_name_another_folder_as_its_own(tmp_path, canary):
    outside, folder = tmp_path / "outside", tmp_path / "inputs"
    outside.mkdir()
    (outside / "of_the_victim.py").write_text(OTHER.format(canary=str(canary)) + chain4.BUILDER)
    path = named(folder, "of_the_victim:build")
    for line in (f'folder = "{outside}"', 'folder = "../outside"', 'folder = "."\nfolder_from_here = "../outside"'):
        text = named(folder, "of_the_victim:build").read_text()
        path.write_text(f"{line}\n{text}")
        assert "does not lie in the folder of the configuration" in str(refused(path))
    for key in ("trust = true", "packages = ['of_the_victim']"):  # nor trust itself
        path.write_text(f"{key}\n{text}")
        assert "unknown key" in str(refused(path))
    assert not canary.exists()


def test_packages_beside_the_configuration_run(tmp_path):
    package = tmp_path / "own_package_of_chain"
    (package / "deep").mkdir(parents=True)
    (package / "deep" / "made.py").write_text(chain4.BUILDER)  # without __init__.py, too
    assert build_system(load_config(named(tmp_path, "own_package_of_chain.deep.made:build"))).name == "chain"


NONE = ["MODULE:os.system", "MODULE:__import__", ".MODULE:build", "MODULE.:build", "../x:build", "MODULE:"]


@pytest.mark.parametrize("reference", NONE)
def test_references_that_are_no_module_and_function(tmp_path, reference):
    path = chain4.write(tmp_path, "import os\n" + chain4.BUILDER)
    module = re.search(r'builder = "(\w+):', path.read_text())[1]
    path.write_text(path.read_text().replace(f"{module}:build", reference.replace("MODULE", module)))
    assert re.search("defines no function|no module|must be", str(refused(path)))


def test_a_name_that_is_in_use_is_refused(tmp_path):
    """Formerly the function of the other module was taken."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "of_two_folders.py").write_text(chain4.BUILDER)
    assert build_system(load_config(named(tmp_path / "one", "of_two_folders:build"))).name == "chain"
    error = refused(named(tmp_path / "two", "of_two_folders:build"))
    assert "another module 'of_two_folders', " in str(error) and "give " in str(error)


def test_a_module_of_the_present_folder_is_none_of_the_configuration(tmp_path, canary, monkeypatch):
    present = tmp_path / "present"
    present.mkdir()
    (present / "only_here.py").write_text(OTHER.format(canary=str(canary)) + chain4.BUILDER)
    monkeypatch.chdir(present)
    monkeypatch.syspath_prepend("")
    refused(named(tmp_path / "inputs", "only_here:build"))
    assert not canary.exists()


def test_a_folder_that_calls_itself_a_built_in_system_is_not_taken_for_one(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    path = chain4.write(out, name='"lj7"')
    assert load_config(path).system.name == "lj7" and not load_config(path).system.is_builtin
    config, _ = configured("lj7", out, True, "", {})
    assert config.system.is_builtin and config.system.builder is None
