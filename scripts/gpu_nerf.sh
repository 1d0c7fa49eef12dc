#!/usr/bin/env bash
# The GPU row of the NeRF table in one call: build nerfacc's kernels, record what they sample, test them against the
# pure-torch engine, then Lego 400^2 with an MLP and with a grid (5 minutes each) and rays a second of both engines.
# What is measured is not measured again, so call it until it is through; needs nvcc and ninja on PATH, and nerfacc.
#   NFSOLVE_DATA=... scripts/gpu_nerf.sh
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD" PYTHONUNBUFFERED=1 MAX_JOBS="${MAX_JOBS:-16}"
python="${PYTHON:-python3}"
# torch looks for CUDA's headers in CUDA_HOME only; those of the pip packages lie beside torch
headers="$("$python" -c 'import glob, os, torch; print(next(iter(glob.glob(os.path.join(os.path.dirname(os.path.dirname(torch.__file__)), "nvidia", "cu*", "include"))), ""))')"
if [[ -n "$headers" ]]; then export CUDA_INC_PATH="${CUDA_INC_PATH:-$headers}"; fi
export TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST:-$("$python" -c 'import torch; print("{}.{}".format(*torch.cuda.get_device_capability()))')}"
export TORCH_EXTENSIONS_DIR="${TORCH_EXTENSIONS_DIR:-$PWD/build/extensions}"
"$python" -c 'import torch; from nfsolve.forward.rendering import engine; print("engine:", engine(None, torch.zeros(1, 1, device="cuda")))'
"$python" -m tests.forward.rendering.walk kernel && "$python" -m pytest -m gpu tests/forward/rendering
status=$?
"$python" -m scripts.nerf_table --device cuda --only ${ONLY:-lego_400_grid_torch lego_400_grid lego_400_mlp} "$@" || status=$?
if [[ -n "${OUT:-}" ]]; then cp -r benchmarks/nerf.* tests/forward/rendering/*.npz "$OUT/"; fi
exit "$status"
