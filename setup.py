"""Package definition: ``systems/`` is installed as ``openmm_rare.systems``, never as a top-level package."""

from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent

setup(
    name="openmm-rare",
    version="0.1.0",
    description="Rate constants of rare events in OpenMM from a learned importance function, with error bars to trust",
    long_description=(HERE / "README.md").read_text(encoding="utf8"),
    long_description_content_type="text/markdown",
    license="MIT",
    url="https://pypi.org/project/openmm-rare/",
    python_requires=">=3.10",
    packages=["openmm_rare", "openmm_rare.systems"],
    package_dir={"openmm_rare": "openmm_rare", "openmm_rare.systems": "systems"},
    package_data={"openmm_rare": ["py.typed"]},
    install_requires=[
        "openmm>=8.6,<8.7",
        "torch>=2.9",
        "netCDF4",
        "numpy>=1.26",
        "scipy",
        "matplotlib",
        "click",
        "tqdm",
        "tomli; python_version < '3.11'",
    ],
    extras_require={"test": ["pytest"]},
    entry_points={"console_scripts": ["openmm-rare = openmm_rare.cli:main"]},
    zip_safe=False,
)
