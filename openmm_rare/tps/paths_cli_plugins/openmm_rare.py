"""Plugins for the command line of OpenPathSampling, which looks for them in this namespace (extra ``ops-cli``).

It has no other way to know our classes when it reads a storage, hence what they are made with is imported at once.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import openpathsampling as paths
from paths_cli import OPSCommandPlugin
from paths_cli.compiling.core import Parameter
from paths_cli.compiling.engines import OPENMM_PARAMETERS
from paths_cli.compiling.json_type import json_type_eval, json_type_ref
from paths_cli.compiling.plugins import (
    EngineCompilerPlugin,
    SchemeCompilerPlugin,
    ShootingPointSelectorPlugin,
    VolumeCompilerPlugin,
)
from paths_cli.compiling.root_compiler import compiler_for
from paths_cli.compiling.schemes import ENGINE_PARAMETER, NETWORK_PARAMETER
from paths_cli.compiling.tools import custom_eval_float, custom_eval_int_strict_pos
from paths_cli.parameters import APPEND_FILE, ENGINE, INIT_CONDS, INPUT_FILE, N_STEPS_MC, OUTPUT_FILE, SCHEME

from openmm_rare.tps import ops_cli


def _with_short_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """What is wrong with the input, without a traceback."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        except (ValueError, OSError) as error:
            raise click.ClickException(str(error)) from error

    return wrapped


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise click.ClickException(f"{value!r} must be true or false")
    return value


CONFIG = Parameter("config", str, json_type="string", description="configuration file of openmm-rare (TOML)")

CONFIGURED_ENGINE = EngineCompilerPlugin(
    builder=_with_short_errors(ops_cli.configured_engine),
    parameters=[CONFIG],
    name="openmm-rare",
    description="The OpenMM engine of openmm-rare, for the system and the dynamics of one of its configuration files.",
)

ENGINE_OF_FILES = EngineCompilerPlugin(
    builder=_with_short_errors(ops_cli.engine_of_files),
    parameters=[
        *(each for each in OPENMM_PARAMETERS if each.name not in ("system", "integrator")),  # read without a look at them
        Parameter("system", _with_short_errors(ops_cli.system_of_file), json_type="string", description="XML of the System"),
        Parameter(
            "integrator",
            _with_short_errors(ops_cli.integrator_of_file),
            json_type="string",
            description="XML file",
        ),
        Parameter("platform", str, json_type="string", default="CPU", description="name of the OpenMM platform"),
    ],
    name="openmm-rare-files",
    description="The OpenMM engine of openmm-rare, for a system and an integrator that OpenMM has written as XML.",
)

STATE = VolumeCompilerPlugin(
    builder=_with_short_errors(ops_cli.configured_state),
    parameters=[CONFIG, Parameter("state", str, json_type="string", description="A or B")],
    name="openmm-rare",
    description="A state of a configuration file of openmm-rare.",
)

SELECTOR = ShootingPointSelectorPlugin(
    builder=_with_short_errors(ops_cli.selector_with_model),
    parameters=[
        Parameter("model", str, json_type="string", description="file of a committor model, as openmm-rare writes it"),
        Parameter(
            "width",
            custom_eval_float,
            json_type=json_type_eval("Float"),
            default=1.0,
            description="width of the distribution of shooting points, in units of the logit of the committor",
        ),
        Parameter("form", str, json_type="string", default="lorentzian", description="lorentzian, gaussian, or uniform"),
    ],
    name="committor",
    description="Shooting points near the transition states of a learned committor.",
)

SELECTOR_SCHEME = SchemeCompilerPlugin(
    builder=_with_short_errors(ops_cli.selector_scheme),
    parameters=[
        NETWORK_PARAMETER,
        Parameter(
            "selector",
            compiler_for("shooting-point-selector"),
            json_type=json_type_ref("shooting-point-selector"),
            description="how shooting points are chosen",
        ),
        ENGINE_PARAMETER,
    ],
    name="committor-shooting",
    description="Two-way shooting in which both shots always run to a state.",
)

AIMLESS_SCHEME = SchemeCompilerPlugin(
    builder=_with_short_errors(ops_cli.aimless_scheme),
    parameters=[
        NETWORK_PARAMETER,
        ENGINE_PARAMETER,
        Parameter(
            "offset",
            custom_eval_int_strict_pos,
            json_type=json_type_eval("IntStrictPos"),
            default=1,
            description="frames between the two candidates for the next shooting point",
        ),
        Parameter(
            "corrected",
            _flag,
            json_type="bool",
            default=True,
            description="accept so that paths are sampled by their probability; otherwise they need weights",
        ),
    ],
    name="aimless-shooting",
    description="Aimless shooting.",
)


@click.command("first-path", short_help="find a first transition path, and add it to a setup file")
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@APPEND_FILE.clicked(required=True)
@ENGINE.clicked(required=False)
@_with_short_errors
def first_path(config: str, append_file: str, engine: str | None) -> None:
    """Find the first path that CONFIG, a configuration file of openmm-rare, asks for, as the initial conditions of a setup."""
    gc.collect()  # a storage of this file that nobody closed, in a cycle of references, crashes HDF5 when it is opened again
    storage = APPEND_FILE.get(append_file)
    trajectory = ops_cli.configured_path(config, ENGINE.get(storage, engine))
    storage.save(trajectory)
    storage.tags["initial_conditions"] = trajectory
    storage.close()
    click.echo(f"A path of {len(trajectory)} frames is in {append_file}.")


@click.command("committor-sampling", short_help="path sampling that learns the committor behind its selector")
@INPUT_FILE.clicked(required=True)
@OUTPUT_FILE.clicked(required=True)
@SCHEME.clicked(required=False)
@INIT_CONDS.clicked(required=False)
@N_STEPS_MC
@click.option("--learned", default="committor.npz", type=click.Path(dir_okay=False), help="file for the model that is learned")
@_with_short_errors
def committor_sampling(
    input_file: str, output_file: str, scheme: str | None, init_conds: tuple[str, ...], nsteps: int, learned: str
) -> None:
    """As pathsampling, with a move scheme of the type committor-shooting whose model is trained after each step.

    The model is written at the end, and can be named in the next input file. Next to it, in a file with .shots.npz in the place
    of .npz, are all shots.
    """
    storage = INPUT_FILE.get(input_file)
    move_scheme = SCHEME.get(storage, scheme)
    hook = ops_cli.training_hook(move_scheme, Path(learned).with_suffix(".shots.npz"))
    start = move_scheme.initial_conditions_from_trajectories(INIT_CONDS.get(storage, init_conds))
    output = OUTPUT_FILE.get(output_file)
    simulation = paths.PathSampling(storage=output, move_scheme=move_scheme, sample_set=start)
    simulation.attach_hook(hook)
    simulation.run(nsteps)
    output.tags["final_conditions"] = simulation.sample_set
    hook.committor().save(learned)


FIRST_PATH = OPSCommandPlugin(command=first_path, section="Simulation Setup", requires_cli=(0, 3))
COMMITTOR_SAMPLING = OPSCommandPlugin(command=committor_sampling, section="Simulation", requires_cli=(0, 3))
