"""Kind 12: models and other files of somebody else: nothing runs, memory follows their size, and nobody waits for ever."""

import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from evil import Program

from openmm_rare.committor.ensemble import CommittorEnsemble
from openmm_rare.committor.load import load_committor
from openmm_rare.committor.model import CommittorModel
from openmm_rare.committor.multistate import MultiStateModel
from openmm_rare.config.run import load_config
from openmm_rare.errors import InputError
from openmm_rare.folders.path_files import read_paths
from openmm_rare.folders.path_folder import PathRecord
from openmm_rare.io.run_file import RunFile
from openmm_rare.paths.direct_committor import ShotRecord
from openmm_rare.report.results import read_json

SPEC = {"kind": "coordinates", "columns": [0], "scale": 0.25}
WEIGHT = "network.0.weight"


def arrays():
    """Of a small model, its metadata apart."""
    tensors = CommittorModel(SPEC, 1, (16, 16), 300.0, "abc").tensors()
    return CommittorModel(SPEC, 1, (16, 16), 300.0, "abc").metadata(), tensors


def npy(shape, data=b"", kind="<f4"):
    """A member of an archive."""
    text = str({"descr": kind, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (64 - (11 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def written(path, metadata=(), tensors=(), members=(), method=zipfile.ZIP_STORED, without=()):
    """The model with other metadata, tensors, or members as bytes."""
    about, own = arrays()
    parts = {**own, **dict(tensors), "metadata": np.array(json.dumps({**about, **dict(metadata)}))}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, value in parts.items():
            if name not in without and name not in dict(members):
                content = io.BytesIO()
                np.save(content, value)
                archive.writestr(f"{name}.npy", content.getvalue())
        for name, content in members:
            archive.writestr(f"{name}.npy", content)
    return path


def pickled(canary):
    content, holder = io.BytesIO(), np.empty(1, dtype=object)
    holder[0] = Program(canary)
    np.save(content, holder, allow_pickle=True)
    return content.getvalue()


def twice(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return written(path, members=[("x", npy((1,), bytes(4))), ("x", npy((1,), bytes(4)))])


NAN, ONES = float("nan"), np.ones(1, dtype=np.float32)
MODELS = {
    "pickle as a tensor": lambda path: written(path, members=[(WEIGHT, pickled(path.parent / "canary"))]),
    "pickle as metadata": lambda path: written(path, members=[("metadata", pickled(path.parent / "canary"))]),
    "pickle": lambda path: path.write_bytes(pickle.dumps(Program(path.parent / "canary"))) and path,
    "shape without data": lambda path: written(path, members=[(WEIGHT, npy((10**9, 1000)))]),
    "shape beyond all": lambda path: written(path, members=[(WEIGHT, npy((2**62, 4, 2**62)))]),
    "negative shape": lambda path: written(path, members=[(WEIGHT, npy((-1, 16)))]),
    "shape with a digit less": lambda path: written(path, members=[(WEIGHT, npy((1, 1), bytes(64)))]),
    "bomb": lambda path: written(path, members=[(WEIGHT, bytes(1 << 22))], method=zipfile.ZIP_DEFLATED),
    "bomb that nobody asked for": lambda path: written(path, members=[("x", bytes(1 << 22))], method=zipfile.ZIP_DEFLATED),
    "twice": twice,
    "wide layers": lambda path: written(path, {"hidden": [50000, 50000]}),
    "wide residual block": lambda path: written(path, {"hidden": [500], "network": {"kind": "residual"}}),
    "many layers": lambda path: written(path, {"hidden": [1] * 300000}),
    "layers as text": lambda path: written(path, {"hidden": "abc"}),
    "wide members": lambda path: written(path, {"format": "openmm_rare committor ensemble 1", "members": [{}] * 2}),
    "no members": lambda path: written(path, {"format": "openmm_rare committor ensemble 1", "members": []}),
    "other format": lambda path: written(path, {"format": [1]}),
    "many atoms": lambda path: written(path, {"n_atoms": 10**9}),
    "many columns": lambda path: written(path, {"n_atoms": 10**7, "descriptor": {"kind": "coordinates"}}),
    "no atoms": lambda path: written(path, {"n_atoms": -1}),
    "many gaps": lambda path: written(
        path,
        {
            "n_atoms": 340,
            "descriptor": {"kind": "concatenate", "parts": [{"kind": "coordination_moments", "radius": 1.0}] * 200},
        },
    ),
    "deep descriptor": lambda path: written(
        path, members=[("metadata", npy((), ("[" * 100000).encode("utf-32-le"), "<U100000"))]
    ),
    "cold": lambda path: written(path, {"temperature_k": -300.0}),
    "no temperature": lambda path: written(path, {"temperature_k": NAN}),
    "column beyond": lambda path: written(path, {"descriptor": SPEC | {"columns": [3]}}),
    "column below": lambda path: written(path, {"descriptor": SPEC | {"columns": [-1]}}),
    "scale of zero": lambda path: written(path, {"descriptor": SPEC | {"scale": 0}}),
    "no scale": lambda path: written(path, {"descriptor": SPEC | {"scale": NAN}}),
    "function": lambda path: written(path, {"descriptor": {"kind": "function", "function": "os:system"}}),
    "weight not finite": lambda path: written(path, tensors={WEIGHT: np.full((16, 1), NAN, dtype=np.float32)}),
    "feature mean that overflows": lambda path: written(path, tensors={"feature_mean": 3e38 * ONES}),
    "feature scale of zero": lambda path: written(path, tensors={"feature_scale": 0 * ONES}),
    "feature scale below": lambda path: written(path, tensors={"feature_scale": -ONES}),
    "integers": lambda path: written(path, tensors={WEIGHT: np.ones((16, 1), dtype=np.int8)}),
    "complex": lambda path: written(path, tensors={WEIGHT: np.ones((16, 1), dtype=np.complex64)}),
    "text": lambda path: written(path, tensors={WEIGHT: np.array("abc")}),
    "turned": lambda path: written(path, tensors={WEIGHT: np.ones((1, 16), dtype=np.float32)}),
    "tensor too few": lambda path: written(path, without=[WEIGHT]),
    "tensor too many": lambda path: written(path, tensors={"x": ONES}),
    "no array": lambda path: written(path, members=[("../../escaped", b"x")]),
    "folder": lambda path: path.mkdir() or path,
    "pipe": lambda path: os.mkfifo(path) or path,
    "device": lambda path: "/dev/zero",
}


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as on Linux")
@pytest.mark.parametrize("kind", list(MODELS))
def test_models_that_cannot_be_right_are_refused(tmp_path, kind):
    """With memory of 300 MB more than what is there already."""
    path = MODELS[kind](tmp_path / "model.npz")
    most = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20), most[1]))
    try:
        with pytest.raises(InputError) as caught:
            load_committor(path, "abc")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, most)
    assert "is not a readable committor" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "canary").exists() and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "model",
    [
        CommittorModel(SPEC, 1, (16, 16), 300.0, "abc"),
        CommittorModel(SPEC, 1, (8, 4, 2), 300.0, "abc", {"kind": "residual", "dropout": 0.1}),
        CommittorEnsemble.of(3, SPEC, 1, (4,), 300.0, "abc"),
        MultiStateModel(SPEC, 1, ["A", "B", "C"], (16,), 300.0, "abc"),
    ],
    ids=["plain", "residual", "ensemble", "states"],
)
def test_honest_models_are_read(tmp_path, model):
    model.save(tmp_path / "model.npz")
    x = np.linspace(-1.0, 1.0, 9).reshape(3, 1, 3)
    for source in (tmp_path / "model.npz", model.to_bytes()):
        again = load_committor(source, "abc")
        np.testing.assert_array_equal(again.log_probabilities(x), model.log_probabilities(x))
    assert type(again) is type(model)
    assert isinstance(load_committor(written(tmp_path / "other.npz")), CommittorModel)  # what is damaged above


READERS = {
    "config.toml": load_config,
    "model.npz": load_committor,
    "shots.npz": lambda path: PathRecord.load(path.parent),
    "chain-0/paths-000000.npz": lambda path: read_paths(path.parents[1], 0, 0, {}, 1000),
    "result.json": read_json,
    "run.nc": RunFile.open,
    "fresh_shots.jsonl": lambda path: ShotRecord(path, {}),
}


@pytest.mark.parametrize("name", list(READERS))
def test_nobody_waits_for_a_pipe(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(InputError, match="is a pipe, a socket or a device: give a file"):
        READERS[name](path)


def test_what_lies_too_deep_is_told(tmp_path):
    (tmp_path / "config.toml").write_text(f"a = {'[' * 20000}")
    with pytest.raises(InputError, match="too deep within each other|not valid TOML"):
        load_config(tmp_path / "config.toml")
    (tmp_path / "result.json").write_text("[" * 100000)
    with pytest.raises(InputError, match="result.json is truncated or damaged"):
        read_json(tmp_path / "result.json")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 always looks into the present folder first")
def test_workers_import_nothing_from_the_present_folder(tmp_path):
    program = f"import pathlib\npathlib.Path({str(tmp_path / 'canary')!r}).mkdir(exist_ok=True)\n"
    for name in ("pickle", "socket", "numpy"):
        (tmp_path / f"{name}.py").write_text(program)
    script = tmp_path / "elsewhere" / "run.py"
    script.parent.mkdir()
    script.write_text(
        "import os\nfrom openmm_rare.parallel.processes import Workers\n"
        "with Workers(1, platform='Reference') as pool:\n    assert pool.submit(os.getpid).result() != os.getpid()\n"
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "canary").exists()


def test_formats_that_hold_pickles_are_not_read(tmp_path):
    pytest.importorskip("openpathsampling")
    import chain4
    from openmm_rare.tps.trajectories.formats import read_content

    for name in ("path.h5", "path.HDF5", "path.lh5"):
        (tmp_path / name).write_bytes(b"\x89HDF\r\n")
        with pytest.raises(InputError, match="runs what is pickled in such a file"):
            read_content(tmp_path / name, chain4.problem())
