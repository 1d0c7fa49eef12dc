#!/usr/bin/env bash
# Everything that needs a GPU, in one call under 8 minutes: each problem on CPU and GPU from the same seed, compared;
# step times with and without torch.compile; a table, and benchmarks/gpu_check.json (or OUT/gpu_check.json).
#   scripts/gpu_check.sh            on the CUDA device
#   scripts/gpu_check.sh --device cpu --quick   a rehearsal without one
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD" PYTHONUNBUFFERED=1
exec "${PYTHON:-python3}" scripts/gpu_check.py "$@"
