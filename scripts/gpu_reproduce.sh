#!/usr/bin/env bash
# The reproductions at the papers' own size on the CUDA device. What is done is not done again, so call it until it is
# through; each call stops after LIMIT seconds (default 580). Needs tyro and matplotlib beside torch.
#   LIMIT=580 NFSOLVE_DATA=... scripts/gpu_reproduce.sh
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD" PYTHONUNBUFFERED=1
end=$((SECONDS + ${LIMIT:-580}))
run() {
  local left=$((end - SECONDS))
  if ((left > 5)); then timeout "$left" "${PYTHON:-python3}" -m "$@" --scale 1 --device "${DEVICE:-cuda}" --processes 1; fi
}
run scripts.reproduce_ws --only published
run scripts.reproduce_preconditioners --only published occupancy
run scripts.reproduce_rwf --only image --steps 2000
run scripts.reproduce_ws
run scripts.reproduce_preconditioners
run scripts.reproduce_rwf --steps 2000 --pde-steps 20000
if [[ -n "${OUT:-}" ]]; then cp -r benchmarks "$OUT/"; fi
