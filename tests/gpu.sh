#!/usr/bin/env bash
# Everything that only a GPU can show, for a bare machine with one NVIDIA GPU and no network.
#
#   tests/gpu.sh OUT [BUILD]
#
# OUT gets the raw log (gpu.log), the certificate and the profile. BUILD (build/gpu) holds the programs: bring them,
# built with -DASSAY_STATIC=ON; what is not there is built. ASSAY_GPU_MODEL names another model than tests/data/kjv.
# Each part has a time limit, all together 9 minutes. Exit code 1 where any part failed.
set -uo pipefail
if [ $# -lt 1 ] || [ $# -gt 2 ]; then echo "usage: tests/gpu.sh OUT [BUILD]" >&2; exit 2; fi
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
build=${2:-build/gpu}
assay=$build/assay
model=${ASSAY_GPU_MODEL:-tests/data/kjv/kjv.gguf}
log=$out/gpu.log
programs="assay test_device_cuda"
end=$((SECONDS + 530))
failed=0
export PATH="$PATH:/usr/local/cuda/bin"
export ASSAY_REQUIRE_CUDA=1  # a test that would skip without a GPU fails
: >"$log"

# part NAME LIMIT COMMAND...: runs it for at most LIMIT seconds, and never past the end of all.
part() {
  local name=$1 limit=$2 start=$SECONDS code
  shift 2
  [ $((end - start)) -lt "$limit" ] && limit=$((end - start))
  echo "== $name: $*" >>"$log"
  if [ "$limit" -lt 5 ]; then
    code="no time left"
  else
    # A shell of its own, so that functions can be parts; timeout ends all that it started.
    timeout -k 5 "$limit" bash -uo pipefail -c '"$@"' part "$@" >>"$log" 2>&1
    code=$?
    [ $code = 124 ] && code="stopped after $limit s"
  fi
  echo "== $name: exit $code" >>"$log"
  if [ "$code" = 0 ]; then
    printf '%-28s ok      %4d s\n' "$name" $((SECONDS - start))
  else
    printf '%-28s FAILED  %4d s  (%s)\n' "$name" $((SECONDS - start)) "$code"
    failed=1
  fi
}

machine() {
  echo "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%FT%TZ), $(nproc) cores, $(uname -r)"
  nvidia-smi --query-gpu=index,name,driver_version,compute_cap,memory.total,memory.used,clocks.max.sm --format=csv
}

# What was not brought: all in one build.
build_missing() {
  local missing="" program
  for program in $programs; do [ -x "$build/$program" ] || missing="$missing $program"; done
  [ -z "$missing" ] && { echo "all programs were brought"; return 0; }
  echo "building:$missing"
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DASSAY_STATIC=ON -DASSAY_CUDA=ON &&
    cmake --build "$build" --target $missing  # shellcheck disable=SC2086
}

# The hash of all logits on a device.
logits_hash() {
  "$assay" logits -m "$model" --device "$@" | sed -n 's/^hash *//p'
}

# cpu and cuda, whole, cut and in a batch: one hash. A long prompt and a cache of f32: one each.
same_hashes() {
  local short="And God said, Let there be light: and there was light. And God saw the light, that it was good"
  local long="" code=0 first="" one other arguments
  for _ in 1 2 3 4 5 6; do long="$long $short."; done
  local cases=("" "--cut 1,7,19" "--cut $(seq -s, 1 12)" "--sequences 3" "--sequences 9 --cut 5")
  for arguments in "${cases[@]}"; do
    # shellcheck disable=SC2086
    one=$(logits_hash cpu -p "$short" $arguments) && other=$(logits_hash cuda -p "$short" $arguments) || return 1
    first=${first:-$one}
    echo "cpu $one cuda $other  ${arguments:-whole}"
    [ -n "$one" ] && [ "$one" = "$other" ] && [ "$one" = "$first" ] || code=1
  done
  for arguments in "" "--kv f32" "--sequences 4"; do
    # shellcheck disable=SC2086
    one=$(logits_hash cpu -p "$long" $arguments) && other=$(logits_hash cuda -p "$long" $arguments) || return 1
    echo "cpu $one cuda $other  long ${arguments}"
    [ -n "$one" ] && [ "$one" = "$other" ] || code=1
  done
  return "$code"
}

# One prefill and some recorded steps under a checker of compute-sanitizer.
sanitize() {
  compute-sanitizer --tool "$1" --error-exitcode 9 "$assay" logits -m "$model" --device cuda \
    -p "In the beginning God created the heaven and the earth" --cut 8,9,10
}

# Time by kernel. ncu counts each launch, those of a replayed recording too; nsys as well. Neither there: nothing to show.
profile() {
  local work=("$assay" logits -m "$model" --device cuda -p "In the beginning God created the heaven" --cut "5,6,7")
  if command -v nsys >/dev/null; then
    nsys profile --force-overwrite true --cuda-graph-trace=node -o /tmp/assay-gpu-$$ "${work[@]}" &&
      nsys stats --force-export=true --report cuda_gpu_kern_sum /tmp/assay-gpu-$$.nsys-rep | tee "$out/profile.txt"
  elif command -v ncu >/dev/null; then
    ncu --csv --clock-control none --graph-profiling node --metrics gpu__time_duration.sum --log-file "$out/profile.csv" \
      "${work[@]}" && profile_table "$out/profile.csv" | tee "$out/profile.txt"
  else
    echo "neither nsys nor ncu is here: no profile"
  fi
}

# Launches and nanoseconds by kernel, from ncu's CSV: the columns are found by name.
profile_table() {
  python3 - "$1" <<'EOF'
import csv, sys
lines = [line for line in open(sys.argv[1]) if line.startswith('"')]
table = {}
for row in csv.DictReader(lines):
    value = float(row["Metric Value"].replace(",", ""))
    scale = {"ns": 1e-3, "nsecond": 1e-3, "us": 1, "usecond": 1, "ms": 1e3, "msecond": 1e3}[row["Metric Unit"]]
    launches, time = table.get(row["Kernel Name"], (0, 0.0))
    table[row["Kernel Name"]] = (launches + 1, time + value * scale)
whole = sum(time for _, time in table.values())
if not table:
    sys.exit("the profile holds no kernel")
print(f"{'kernel':<24}{'launches':>9}{'us':>12}{'us each':>10}{'share':>8}")
for name, (launches, time) in sorted(table.items(), key=lambda item: -item[1][1]):
    print(f"{name.split('(')[0]:<24}{launches:>9}{time:>12.1f}{time / launches:>10.2f}{time / whole:>8.1%}")
EOF
}

export assay model build programs out
export -f machine build_missing logits_hash same_hashes sanitize profile profile_table

part "machine" 20 machine
part "programs" 300 build_missing
part "tests" 90 "$build/test_device_cuda"
part "logits, cpu and cuda" 60 same_hashes
part "verify" 180 "$assay" verify -m "$model" --level full --device cuda -o "$out/certificate.txt"
part "memcheck" 60 sanitize memcheck
part "racecheck" 60 sanitize racecheck
part "initcheck" 60 sanitize initcheck
part "synccheck" 60 sanitize synccheck
part "bench" 60 "$assay" bench -m "$model" --device cuda --prompt 64 --generation 64
part "profile" 60 profile
echo "log: $log"
exit "$failed"
