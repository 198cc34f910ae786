#!/usr/bin/env bash
# Builds, checks and times everything on a machine with an NVIDIA GPU, in one go and under ten minutes, without network
# and without installing anything; writes bench/results/<device>.json.
#
#   bench/gpu.sh [check] [time] [sanitize]     all three, or those named; PYTHON=python3 and HETERAD_CUDA_ARCHS=90 may
#                                              be set; HETERAD_GPU_WORK=folder keeps what was built, HETERAD_GPU_BUDGET=0.5
#                                              is seconds a row
#   bench/gpu.sh --dry                         the same steps on the CPU: two ops' smoke rows, results thrown away
#
# Every step runs even where one before it failed; the last lines say how each ended. Exit status 1 where one failed. Ops
# are checked, and groups of rows timed, in processes of their own: a kernel that breaks the device spoils the rest of its own.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
root=$PWD
python=${PYTHON:-python3}
export HETERAD_CUDA_ARCHS=${HETERAD_CUDA_ARCHS-90}
export HETERAD_COMMIT=${HETERAD_COMMIT:-$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)}
export PYTHONDONTWRITEBYTECODE=1
dry=0 device=cuda
[ "${1:-}" = --dry ] && dry=1 device=cpu && shift
parts=${*:-check time sanitize}
for part in $parts; do
  case $part in check | time | sanitize) ;; *) echo "expected check, time or sanitize, got $part" >&2 && exit 2 ;; esac
done
if [ -n "${HETERAD_GPU_WORK:-}" ]; then
  work=$HETERAD_GPU_WORK
  mkdir -p "$work"
  work=$(cd "$work" && pwd)
  rm -rf "$work/site" "$work/times" "$work/shim" "$work/headers"
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
report=()
failed=0
total=590 # seconds for everything; the steps that matter most come first

wants() { [[ " $parts " == *" $1 "* ]]; }

has() { "$python" -c "import $1" 2>/dev/null; }

# step NAME SECONDS COMMAND...: run it under a time limit (by interrupt: pytest still writes its JSON), note how it ended
step() {
  local name=$1 limit=$2 start=$SECONDS status
  shift 2
  [ "$dry" = 0 ] && [ "$limit" -gt $((total - SECONDS)) ] && limit=$((total - SECONDS))
  [ "$limit" -lt 5 ] && { skip "$name" "no time left"; return; }
  printf '\n== %s\n' "$name"
  timeout -s INT -k 10 "$limit" env --default-signal=INT "$@"
  status=$?
  case $status in
    0) report+=("ok       $name ($((SECONDS - start)) s)") ;;
    124) report+=("TIMEOUT  $name (over $limit s)") failed=1 ;;
    *) report+=("FAILED   $name (exit $status, $((SECONDS - start)) s)") failed=1 ;;
  esac
  return $status
}

skip() { report+=("skipped  $1: $2"); }

# A package tree of links to the sources and to what was built: nothing is installed, nothing written to the checkout
stage() {
  mkdir -p "$work/site/heterad"
  for entry in heterad/*; do
    case $entry in *.so) ;; *) ln -s "$root/$entry" "$work/site/$entry" ;; esac
  done
  ln -s "$root/kernels" "$work/site/heterad/kernels"
  find "$work/lib" -name '*.so' -exec ln -s {} "$work/site/heterad/" \; 2>/dev/null
  export PYTHONPATH=$work/site${PYTHONPATH:+:$PYTHONPATH}
}

# torch ships pybind11's headers; all that setup.py wants beside them is the name of an extension class
pybind11_from_torch() {
  local include
  include=$("$python" -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "include"))') || return 1
  [ -d "$include/pybind11" ] || return 1
  mkdir -p "$work/shim/pybind11" "$work/headers"
  ln -s "$include/pybind11" "$work/headers/pybind11"
  : >"$work/shim/pybind11/__init__.py"
  cat >"$work/shim/pybind11/setup_helpers.py" <<PY
from setuptools import Extension

class Pybind11Extension(Extension):
    def __init__(self, *args, include_dirs=(), **kwargs):
        super().__init__(*args, include_dirs=[*include_dirs, "$work/headers"], language="c++", **kwargs)
PY
  export PYTHONPATH=$work/shim${PYTHONPATH:+:$PYTHONPATH}
}

"$python" - <<'PY' || exit 2
import sys
import torch
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, {gpu}")
PY
cuda=$("$python" -c 'import torch; print(int(torch.cuda.is_available()))')
if [ "$cuda" = 0 ] && [ "$dry" = 0 ]; then
  echo "no CUDA device: use --dry for the steps that need none" >&2
  exit 2
fi
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem --format=csv
command -v nvcc >/dev/null || echo "nvcc is not in PATH: setup.py looks in CUDA_HOME and /usr/local/cuda too"

has pybind11.setup_helpers || pybind11_from_torch || echo "pybind11 is neither installed nor found in torch/include"
sources=$(cat setup.py csrc/* csrc/cuda/* 2>/dev/null | sha256sum)
if [ "$(cat "$work/built" 2>/dev/null)" = "$sources" ]; then
  skip "build" "these sources were built before"
elif has setuptools && has pybind11.setup_helpers; then
  step "build heterad._C and heterad._cuda (sm_$HETERAD_CUDA_ARCHS)" 240 \
    "$python" setup.py -q build_ext --parallel 2 --build-lib "$work/lib" --build-temp "$work/build" &&
    compgen -G "$work/lib/heterad/_cuda*.so" >/dev/null && printf '%s\n' "$sources" >"$work/built"
else
  skip "build" "needs setuptools and pybind11 (or torch's copy of its headers)"
fi
stage
export TRITON_CACHE_DIR=$work/triton
cd "$work" || exit 2 # where the checkout's own heterad, without what was built, is not the first to be found
step "which back end serves what" 60 "$python" -c 'import heterad; print(heterad.ops.info())'
wants check && step "values and gradients of every back end" 180 "$python" "$root/bench/check_gpu.py" "$device"

pytest=("$python" -m pytest -q -p no:cacheprovider -c "$root/pyproject.toml" --rootdir "$root")

# time_rows NAME SECONDS EXPRESSION: time the rows that pytest's -k EXPRESSION selects
time_rows() {
  local only=(-m gpu)
  [ "$dry" = 1 ] && only=()
  step "times: $1" "$2" "${pytest[@]}" "$root/bench" "${only[@]}" -k "$3" --budget "${HETERAD_GPU_BUDGET:-1}" --benchmark-enable \
    --benchmark-columns=median,rounds --benchmark-json="$work/times/$1.json"
}

mkdir "$work/times"
if ! wants time; then
  :
elif ! has pytest || ! has pytest_benchmark; then
  skip "times" "needs pytest and pytest-benchmark"
elif [ "$dry" = 1 ]; then
  time_rows soft_threshold 120 "smoke and soft_threshold"
  time_rows deviation_loss 120 "smoke and deviation_loss"
else
  time_rows robust_ridge 180 "robust_ridge and not compile"
  time_rows smoothed_auc 80 "smoothed_auc and not compile"
  time_rows others 100 "not robust_ridge and not smoothed_auc and not compile"
  time_rows compile 120 compile # minutes of code generation for the rival: last
fi
mapfile -t found < <(grep -l '"provider"' "$work"/times/*.json 2>/dev/null)
if [ "${#found[@]}" -gt 0 ]; then
  name=$("$python" -c 'import re, torch
print(re.sub("[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()) if torch.cuda.is_available() else "dry")')
  result=$root/bench/results/$name.json smoke=()
  [ "$dry" = 1 ] && result=$work/dry.json smoke=(--smoke)
  step "report, saved as $(basename "$result"); it fails where a target is missed" 60 \
    "$python" "$root/bench/report.py" "${found[@]}" --save "$result" "${smoke[@]}"
fi

if ! wants check; then
  :
elif has pytest; then
  has pytest_benchmark || pytest+=(-o addopts=--strict-markers)
  has xdist && [ "$dry" = 0 ] && pytest+=(-n 12) # hundreds of kernels to compile
  mapfile -t files < <(grep -rl 'mark\.gpu' "$root/tests" --include='test_*.py') # others import what may not be there
  step "tests that need a GPU" 200 "${pytest[@]}" --continue-on-collection-errors -m gpu "${files[@]}"
else
  skip "tests that need a GPU" "pytest is not installed; the step on values and gradients has checked the ops"
fi

if ! wants sanitize; then
  :
elif [ "$dry" = 0 ] && command -v compute-sanitizer >/dev/null; then
  export PYTORCH_NO_CUDA_MEMORY_CACHING=1 # else what lies behind a tensor is torch's own memory, and no error
  for tool in memcheck racecheck; do
    step "compute-sanitizer $tool" 100 \
      compute-sanitizer --tool "$tool" --error-exitcode 9 "$python" "$root/bench/check_gpu.py" cuda --only-run
  done
else
  skip "compute-sanitizer" "$([ "$dry" = 1 ] && echo 'dry run' || echo 'not found')"
fi

printf '\n== summary (%s s)\n' "$SECONDS"
printf '%s\n' "${report[@]}"
exit $failed
