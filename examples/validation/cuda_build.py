"""The CUDA side of the plugin on a machine without a GPU: do the kernels compile, and does the library find all it needs?

``make test-cuda-build`` calls it with a folder into which pip has put NVIDIA's run time compiler and OpenMM's CUDA platform.
The kernels are compiled as OpenMM compiles them: after its own definitions, taken from its library, and with its options. The
library is loaded beside that platform, with a libcuda and a libcufft of which no function does anything.
"""

import argparse
import ctypes
import itertools
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

KERNELS = Path(__file__).resolve().parents[2] / "plugin_src" / "platforms" / "common" / "kernels"
PRECISIONS = {"single": ("float", "float"), "mixed": ("float", "double"), "double": ("double", "double")}
# a program: its files, and definitions like those that the plugin makes for walkers of 7 particles
_OF_WALKERS = {"NUM_PARTICLES": 7, "NUM_DIMENSIONS": 2}
_ROWS = ("POSITIONS", "NUMBERS", "MOMENTS", "FEATURES", "GRADIENTS", "LOGIT", "FIRST_SUM", "NUMBER_GRADIENTS")
_ROWS += ("MOMENT_GRADIENTS", "PAIR_SLOPES", "LAST_SUM")
PROGRAMS = {
    "walkers": (("positions", "walkers"), {**_OF_WALKERS, "WEIGHT_UNITS": 2**36}),
    "walkers with constraints": (
        ("positions", "walkers"),
        {**_OF_WALKERS, "NUM_DIMENSIONS": 3, "WEIGHT_UNITS": 2**36, "HAS_CONSTRAINTS": 1},
    ),
    "regions": (
        ("positions", "regions"),
        {
            **_OF_WALKERS,
            **{"NUM_VARIABLES": 3, "NUM_ABSORBING": 2, "NUM_RULES": 1, "ANY_LABEL": -1},
            **{"COORDINATE": 0, "COORDINATION_MOMENT": 4, "LINEAR_COMBINATION": 5},
        },
    ),
    **{
        f"committor with activation {activation}": (
            ("positions", "committorFeatures", "committorNetwork"),
            {
                **_OF_WALKERS,
                **{"NUM_PARTS": 3, "NUM_RADII": 1, "NUM_FEATURES": 45, "NUM_IN_LOGIT": 1, "HAS_DISTANCES": 1, "HAS_PAIRS": 1},
                **{"UNIT": "(float) 0.5f", "MIXED_UNIT": "0.5f"},
                **{"DISTANCES": 0, "COORDINATION": 1, "COORDINATION_MOMENTS": 2, "DISC_GAP": 3, "COORDINATES": 4},
                **{
                    "LANES": 32,
                    "NUM_ROWS": 704,
                    "NUM_SORTED": 30,
                    "NUM_LAYERS": 3,
                    "NUM_NEURONS": 193,
                    "WIDEST": 64,
                    "QUADS": 2,
                    "BLOCK": 64,
                },
                **{"SILU": 0, "TANH": 1, "ACTIVATION": activation, "VALUES_ARE_LOCAL": int(activation != 2)},
                **{f"ROW_{name}": 64 * index for index, name in enumerate(_ROWS)},
            },
        )
        for activation in (0, 1, 2)
    },
}
LOAD = """
import ctypes, sys, openmm
openmm.Platform.loadPluginLibrary(sys.argv[1])
from openmm_rare.dynamics import native
plugin = native.plugin()
print("platforms of the plugin:", ", ".join(plugin.platforms), *plugin.problems)
sys.exit("CUDA" not in plugin.platforms or bool(plugin.problems))
"""


def find(folder: Path, pattern: str, package: str) -> Path:
    """The one file of that name below a folder."""
    found = sorted(folder.rglob(pattern))
    if not found:
        sys.exit(f"{pattern} is not in {folder}: pip install --no-deps --target {folder} {package}")
    return found[0]


def text_in(library: Path, mark: bytes) -> str:
    """The string constant of a library that holds some text."""
    data = library.read_bytes()
    place = data.find(mark)
    if place < 0:
        sys.exit(f"{library.name} has no string with {mark.decode()!r}: this is not the OpenMM that this script knows")
    return data[data.rfind(b"\0", 0, place) + 1 : data.find(b"\0", place)].decode()


def program(files: tuple[str, ...], defines: dict, precision: str, common: str, vectors: str) -> str:
    """What OpenMM gives to the compiler."""
    real, mixed = PRECISIONS[precision]
    lines = [f"#define USE_{precision.upper()}_PRECISION"]
    for name, kind in (("real", real), ("mixed", mixed)):
        lines += [f"#define make_{name}{size} make_{kind}{size}" for size in (2, 3, 4)]
        lines += [f"typedef {kind}{size} {name}{size};" for size in ("", 2, 3, 4)]
    lines += [common, *(f"#define {key} {value}" for key, value in defines.items()), vectors]
    return "\n".join(lines + [(KERNELS / f"{name}.cc").read_text(encoding="utf8") for name in files])


def compile_program(nvrtc: ctypes.CDLL, source: str, architecture: str) -> str:
    """Compile it, and return what the compiler has to say against it."""
    handle, size = ctypes.c_void_p(), ctypes.c_size_t()
    nvrtc.nvrtcCreateProgram(ctypes.byref(handle), source.encode(), b"kernels.cu", 0, None, None)
    options = (ctypes.c_char_p * 2)(f"-arch={architecture}".encode(), b"--use_fast_math")
    failed = nvrtc.nvrtcCompileProgram(handle, len(options), options)
    nvrtc.nvrtcGetProgramLogSize(handle, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(handle, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(handle))
    return f"error {failed}\n{log.value.decode()}" if failed else ""


def compile_all(nvrtc: ctypes.CDLL, platform: Path, architectures: list[str]) -> int:
    """Compile every program in every precision, and return how many fail."""
    common = text_in(platform, b'#define KERNEL extern "C" __global__')
    vectors = text_in(platform, b"inline __device__ int2 make_int2(int a)")
    failures = 0
    for name, precision, architecture in itertools.product(PROGRAMS, PRECISIONS, architectures):
        complaint = compile_program(nvrtc, program(*PROGRAMS[name], precision, common, vectors), architecture)
        print(f"{name}, {precision}, {architecture}: {complaint or 'compiles'}")
        failures += bool(complaint)
    return failures


def output(*command: str | Path) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def imitate(library: str, functions: list[tuple[str, str]], folder: Path) -> None:
    """Make a library of functions, given by name and version, all of which return 0."""
    source, versions = folder / f"{library}.c", folder / f"{library}.map"
    source.write_text("".join(f"int {name}() {{ return 0; }}\n" for name, _ in functions), encoding="utf8")
    command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", folder / library, source]
    if functions[0][1]:
        versions.write_text(f"{functions[0][1]} {{ *; }};\n", encoding="utf8")
        command.append(f"-Wl,--version-script={versions}")
    subprocess.run(command, check=True)


def load(nvrtc: Path, platform: Path) -> int:
    """Load the platform and then the plugin in a process of their own, and return its exit status."""
    needed, symbols = output("readelf", "-d", platform), output("nm", "-D", "--undefined-only", platform)
    with tempfile.TemporaryDirectory() as folder:
        for library, prefix in (("libcuda", "cu(?!fft)"), ("libcufft", "cufft")):
            name = re.search(rf"{library}\.so[.\d]*", needed).group()
            imitate(name, re.findall(rf" ({prefix}\w+)@?@?(\S*)", symbols), Path(folder))
        environment = {**os.environ, "LD_LIBRARY_PATH": f"{folder}:{nvrtc.parent}", "LD_BIND_NOW": "1"}
        return subprocess.run([sys.executable, "-c", LOAD, platform], env=environment).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where pip has put nvidia-cuda-nvrtc and OpenMM-CUDA-13")
    parser.add_argument("--architecture", nargs="+", default=["compute_75", "compute_90"])
    options = parser.parse_args()
    platform = find(options.folder, "libOpenMMCUDA.so", "OpenMM-CUDA-13")
    nvrtc = find(options.folder, "libnvrtc.so.*", "nvidia-cuda-nvrtc")
    find(options.folder, "libnvrtc-builtins.so.*", "nvidia-cuda-nvrtc")
    failures = compile_all(ctypes.CDLL(str(nvrtc)), platform, options.architecture)
    sys.exit(bool(failures) or load(nvrtc, platform))


if __name__ == "__main__":
    main()
