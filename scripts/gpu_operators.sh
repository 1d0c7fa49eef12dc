#!/usr/bin/env bash
# Operators at full budgets on the CUDA device: the default recipes with ten times the steps, three seeds. What is
# done is not done again, so call it until it is through; each call stops after LIMIT seconds (default 580). Needs tyro
# and scipy beside torch.
#   LIMIT=580 scripts/gpu_operators.sh
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD" PYTHONUNBUFFERED=1
end=$((SECONDS + ${LIMIT:-580}))
run() {
  local left=$((end - SECONDS))
  if ((left > 5)); then timeout "$left" "${PYTHON:-python3}" -m "$@" --device "${DEVICE:-cuda}" --scale "${SCALE:-10}"; fi
}
run scripts.operators_table --runs runs/operators --only burgers_001 burgers advection diffusion_reaction
run scripts.operators_table --runs runs/operators
if [[ -n "${OUT:-}" ]]; then cp -r benchmarks/operators* "$OUT/"; fi
