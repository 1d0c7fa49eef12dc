#!/usr/bin/env bash
# Build sdist and wheel, install the wheel in a clean environment, and run it from an empty folder.
#
#     bash scripts/check_install.sh [PYTHON]      with constraints.txt, as CI has it
#     WITHOUT_TORCH=1 bash scripts/check_install.sh python3.13
#
# WITHOUT_TORCH leaves PyTorch out, where it has no build for a Python: what needs it is compiled and not run.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD python=${1:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

"$python" -m venv "$place/build"
"$place/build/bin/pip" install --quiet build
"$place/build/bin/python" -m build --outdir "$place/dist" . > "$place/build.log"  # the wheel is built from the sdist
ls -l "$place/dist"

"$python" -m venv "$place/clean"
pip="$place/clean/bin/pip"
if [ -n "${WITHOUT_TORCH:-}" ]; then
  "$pip" install --quiet --no-deps "$place"/dist/*.whl
  sed -n 's/^Requires-Dist: \([^;]*\)$/\1/p' "$place"/clean/lib/python*/site-packages/nfsolve-*.dist-info/METADATA |
    grep -v '^torch' > "$place/needs.txt"
  "$pip" install --quiet -r "$place/needs.txt"
else
  "$pip" install --quiet -c "$root/constraints.txt" "$place"/dist/*.whl
fi
mkdir "$place/empty" && cd "$place/empty"
bin=$place/clean/bin
"$bin/python" -m compileall -q "$place"/clean/lib/python*/site-packages/nfsolve "$place"/clean/lib/python*/site-packages/problems
"$bin/nfsolve" --version
"$bin/nfsolve" list > list.txt && wc -l < list.txt
"$bin/nfsolve" new my_problem.py
"$bin/nfsolve" doctor || [ -n "${WITHOUT_TORCH:-}" ]  # which says that PyTorch is missing
if [ -z "${WITHOUT_TORCH:-}" ]; then
  "$bin/nfsolve" run my_problem.py --steps 2 --out run > run.txt
  "$bin/nfsolve" report run
  test -s run/report.html
fi
echo "installed and ran with $("$bin/python" --version)"
