#!/usr/bin/env bash
# Make an environment with openmmtorch that works without a GPU: environment.sh FOLDER [PYTHON]
#
# openmmtorch works with the CUDA build of one version of torch only, and that needs 4 GB of NVIDIA's libraries. On a CPU it
# calls next to none of them: here libraries stand for most of them whose functions stop the program. Needs a C compiler.
set -euo pipefail
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
"${2:-python3}" -m venv --clear "$folder"
"$folder/bin/python" -m pip install --quiet --upgrade pip
"$folder/bin/python" -m pip install --quiet --no-deps -r "$here/torch.txt"

libraries=$(echo "$folder"/lib/python*/site-packages/torch/lib)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nm -D --undefined-only "$libraries"/*.so 2>/dev/null | awk '$1 == "U" { sub(/@+/, " ", $2); print $2 }' |
    grep -E '^(cublas|cudnn|cuFile|cufft|curand|cusparse|nccl|nvrtc|nvshmem)' | sort -u > "$work/missing"
awk '{ print "void " $1 "(void) { __builtin_trap(); }" }' "$work/missing" > "$work/missing.c"
# glibc insists on the versions that a program asks of a library
awk 'NF == 2 { names[$2] = names[$2] $1 "; " } END { for (v in names) print v " { " names[v] "};" }' "$work/missing" > "$work/versions"
cc -shared -fPIC -w -Wl,--version-script,"$work/versions" -o "$work/missing.so" "$work/missing.c"
for name in libcublas.so.12 libcublasLt.so.12 libcudnn.so.9 libcufft.so.11 libcufile.so.0 libcurand.so.10 libcusparse.so.12 \
    libcusparseLt.so.0 libnccl.so.2 libnvrtc.so.12 libnvshmem_host.so.3; do
    cp "$work/missing.so" "$libraries/$name"
done

grep -v '^torch==' "$here/../../constraints.txt" > "$work/requirements.txt"
"$folder/bin/python" -m pip install --quiet -r "$work/requirements.txt" filelock fsspec jinja2 networkx sympy typing-extensions
"$folder/bin/python" -m pip install --quiet --no-deps -e "$here/../.."
