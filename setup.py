"""Package definition.

``systems/`` is installed as ``openmm_rare.systems``, never as a top-level package. The native plugin in ``plugin_src/`` is
built by CMake into ``openmm_rare/lib/``; it is optional, see :class:`BuildPlugin`.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
LIB = Path("openmm_rare", "lib")
VERSION = re.search('^__version__ = "(.+)"$', (HERE / "openmm_rare/__init__.py").read_text(encoding="utf8"), re.MULTILINE)[1]

EXTRAS = {
    # OpenPathSampling 1.7 imports six without saying so, and works with neither numpy 2 nor pandas 3
    "ops": [
        *("openpathsampling==1.7.0; python_version < '3.13'", "mdtraj", "numpy<2; python_version < '3.13'"),
        *("pandas<3; python_version < '3.13'", "six", "packaging"),
    ],
    # 0.4 is the last that works without numpy 2: the one that goes together with the extra ops
    "symbolic": ["pyoperon>=0.4", "scikit-learn", "pandas"],
    # rates from the barrier
    "barrier": ["pymbar>=4.0.3,<5"],
    # beside ops: the command line of OpenPathSampling, which reads YAML without saying what it needs for that
    "ops-cli": ["openpathsampling-cli==0.3.1; python_version < '3.13'", "pyyaml"],
    # workers on other machines
    "dask": ["distributed>=2024.12"],
}
"""What users add."""


class BuildPlugin(build_ext):
    """Build the native plugin: into the wheel, or into the source tree for an editable install.

    The environment variable OPENMM_RARE_NATIVE chooses: ``auto`` (the default: a failed build leaves a pure Python package
    and says so), ``1`` (a failed build is an error) or ``0`` (no build).
    """

    def run(self):
        mode = os.environ.get("OPENMM_RARE_NATIVE", "auto")
        if mode not in ("auto", "0", "1"):
            raise ValueError(f"OPENMM_RARE_NATIVE = {mode!r} must be auto, 0 or 1")
        shutil.rmtree(self._package() / LIB, ignore_errors=True)  # of an earlier build, for whatever OpenMM
        if mode == "0":
            self._give_up("OPENMM_RARE_NATIVE=0 was set")
            return
        try:
            self._build()
        except (ImportError, OSError, RuntimeError) as error:
            if mode == "1":
                raise
            self._give_up(str(error))

    def get_outputs(self):
        """The files of the plugin as they are installed."""
        root = self._package()
        return [str(Path(self.build_lib, path.relative_to(root))) for path in (root / LIB).rglob("*") if path.is_file()]

    def get_output_mapping(self):
        """Where they lie instead in the source tree, for an editable install."""
        return {path: str(Path(path).relative_to(self.build_lib)) for path in self.get_outputs()} if self.inplace else {}

    def _package(self):
        return HERE if self.inplace else Path(self.build_lib).resolve()

    def _build(self):
        import openmm.version  # a requirement of the build: its wheel has the headers

        build = Path(self.build_temp).resolve() / "plugin"
        shutil.rmtree(build, ignore_errors=True)  # its cache may point at an isolated environment that is gone
        configure = [
            f"-DOPENMM_LIBRARY_DIR={openmm.version.openmm_library_path}",
            f"-DOPENMM_VERSION={openmm.version.short_version}",
            f"-DCMAKE_INSTALL_PREFIX={self._package() / LIB.parent}",
            "-DCMAKE_BUILD_TYPE=Release",
        ]
        self._cmake("find a C++17 compiler or OpenMM", "-S", str(HERE / "plugin_src"), "-B", str(build), *configure)
        self._cmake("compile it", "--build", str(build), "--config", "Release", "--parallel", str(os.cpu_count() or 1))
        self._cmake("install it", "--install", str(build), "--config", "Release")

    def _cmake(self, aim, *arguments):
        if subprocess.run(["cmake", *arguments]).returncode:
            raise RuntimeError(f"CMake could not {aim}")

    def _give_up(self, reason):
        """Leave the reason where openmm_rare.dynamics.native finds it: pip shows nothing of a build that succeeds."""
        folder = self._package() / LIB
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "not_built.txt").write_text(f"{reason}\n", encoding="utf8")
        print(f"openmm_rare: the native plugin was not built ({reason}); this is the pure Python package")


class PluginWheel(bdist_wheel):
    """The libraries know nothing of Python: one wheel serves every version of it on this kind of machine."""

    def get_tag(self):
        built = Path(self.bdist_dir, LIB, "built_for.txt").is_file()
        return ("py3", "none", super().get_tag()[2] if built else "any")


setup(
    name="openmm-rare",
    version=VERSION,
    description="Rate constants of rare events in OpenMM from a learned importance function, with error bars to trust",
    long_description=(HERE / "README.md").read_text(encoding="utf8"),
    long_description_content_type="text/markdown",
    license="MIT",
    url="https://pypi.org/project/openmm-rare/",
    python_requires=">=3.10",
    # the last is a namespace in which the command line of OpenPathSampling looks for plugins: no __init__.py
    packages=[
        *find_packages(include=["openmm_rare*"], exclude=["openmm_rare.systems"]),
        "openmm_rare.systems",
        "paths_cli_plugins",
    ],
    package_dir={
        "openmm_rare": "openmm_rare",
        "openmm_rare.systems": "systems",
        "paths_cli_plugins": "openmm_rare/tps/paths_cli_plugins",
    },
    package_data={
        "openmm_rare": ["py.typed"],
        "openmm_rare.cli": ["constraints.txt"],
        "openmm_rare.report": ["templates/*"],
        "openmm_rare.report.interactive": ["vendored/*"],
        "openmm_rare.systems": ["data/*.npz"],
    },
    install_requires=[
        "openmm>=8.6,<8.7",
        "torch>=2.9",
        "netCDF4",
        "numpy>=1.26",
        "scipy",
        "matplotlib",
        "click",
        "tqdm",
        "jinja2",
        "tomli-w",
        "tomli; python_version < '3.11'",
    ],
    extras_require={
        **EXTRAS,
        "all": [requirement for extra in EXTRAS.values() for requirement in extra],
        # the site: make docs
        "docs": ["sphinx>=8.1", "myst-parser>=4.0", "furo"],
        # MDAnalysis reads what `export` writes
        "test": [
            "pytest",
            "pytest-xdist",
            "distributed>=2024.12",
            "import-linter>=2.17; python_version >= '3.11'",
            "MDAnalysis>=2.7",
        ],
    },
    entry_points={"console_scripts": ["openmm-rare = openmm_rare.cli.main:main"]},
    ext_modules=[Extension("openmm_rare.plugin", sources=[])],  # what BuildPlugin makes is no Python module
    cmdclass={"build_ext": BuildPlugin, "bdist_wheel": PluginWheel},
    zip_safe=False,
)
