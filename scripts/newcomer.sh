#!/usr/bin/env bash
# What a newcomer does first, timed: clone, install, an own PDE, an own scan, a report.
#
#     bash scripts/newcomer.sh [PYTHON]
#
# Everything happens in a new folder that is removed at the end. Downloads count, so the first part depends on the network.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
begun=$(date +%s.%N)

part() { # NAME COMMAND...: run it, and say its seconds of the clock and of the processor
  local name=$1 from; shift
  from=$(date +%s.%N)
  local TIMEFORMAT='%U %S'
  { time "$@" > "$place/out.txt" 2> "$place/err.txt" || { tail -20 "$place/err.txt" "$place/out.txt"; exit 1; }; } 2> "$place/times.txt"
  awk -v name="$name" -v a="$from" -v b="$(date +%s.%N)" 'END { printf "%-42s %7.1f s  (processor %.1f s)\n", name, b - a, $1 + $2 }' "$place/times.txt"
}

own_pde() {
  .venv/bin/nfsolve new my_problem.py
  .venv/bin/nfsolve show my_problem.py
  .venv/bin/nfsolve run my_problem.py --out runs/mine
}

own_scan() { # a sinogram of a disk off the centre, as a beamline would hand it over: views in rows
  .venv/bin/python - <<'PYTHON'
import numpy as np

angles, bins = np.linspace(0, 180, 60, endpoint=False), np.linspace(-1, 1, 96)
centre = 0.3 * np.cos(np.radians(angles))[:, None]
chords = 2 * np.sqrt(np.clip(0.4**2 - (bins - centre) ** 2, 0, None))
noise = 0.005 * np.random.default_rng(0).standard_normal(chords.shape)
np.savez("my_scan.npz", sinogram=chords + noise, angles_deg=angles, geometry="parallel", spacing=2 / 95)
PYTHON
  .venv/bin/nfsolve run ct_scan --data my_scan.npz --out runs/scan
}

reports() {
  .venv/bin/nfsolve report runs/mine
  .venv/bin/nfsolve report runs/scan
}

part "git clone" git clone --quiet "$root" nfsolve
cd nfsolve
part "make demo (installs, and solves a wave)" make demo PYTHON="${1:-python3}"
part "own PDE: new, show, run" own_pde
part "own scan: write it, run" own_scan
part "reports of both" reports
ls runs/mine/report.html runs/scan/report.html
awk -v a="$begun" -v b="$(date +%s.%N)" 'END { printf "%-42s %7.1f s\n", "all", b - a }' /dev/null
