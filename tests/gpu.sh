#!/usr/bin/env bash
# Everything that only a GPU can show, for a bare machine with one NVIDIA GPU and no network.
#
#   tests/gpu.sh OUT [BUILD]
#
# OUT gets the raw log (gpu.log), the certificate, the profile and the chain of hashes. BUILD (build/gpu) holds the programs: bring them,
# built with -DASSAY_STATIC=ON; what is not there is built. ASSAY_GPU_MODEL names another model than tests/data/kjv.
# Speed, the chain and the profile are of TinyLlama's shape in Q4_K_M, whose random weights assay-synthetic writes.
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
programs="assay assay-synthetic test_device_cuda"
folder=$(mktemp -d) || exit 2
trap 'rm -rf "$folder"' EXIT
shape=$folder/tinyllama-shape.gguf
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
  echo "$(date -u +%FT%TZ), $(nproc) cores, $(uname -r)"
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

# The same of TinyLlama's shape: 80 tokens, then batches.
shape_hashes() {
  local tokens code=0 first="" one other arguments
  tokens=$(seq -s, 3 82)
  for arguments in "" "--cut 33,34,35,71" "--sequences 2" "--sequences 9" "--sequences 33 --cut 79"; do
    # shellcheck disable=SC2086
    one=$("$assay" logits -m "$shape" -c 128 --tokens "$tokens" --device cpu $arguments | sed -n 's/^hash *//p')
    # shellcheck disable=SC2086
    other=$("$assay" logits -m "$shape" -c 128 --tokens "$tokens" --device cuda $arguments | sed -n 's/^hash *//p')
    first=${first:-$one}
    echo "cpu $one cuda $other  ${arguments:-whole}"
    [ -n "$one" ] && [ "$one" = "$other" ] && [ "$one" = "$first" ] || code=1
  done
  return "$code"
}

# The emulated grid runs on cores: a few tokens, in a batch too.
emulated_hashes() {
  local arguments device code=0 first="" one
  for arguments in "" "--cut 1,2" "--sequences 2"; do
    for device in cpu emulated cuda; do
      # shellcheck disable=SC2086
      one=$("$assay" logits -m "$shape" -c 128 --tokens 3,4,5 --device "$device" $arguments | sed -n 's/^hash *//p')
      first=${first:-$one}
      echo "$device $one  ${arguments:-whole}"
      [ -n "$one" ] && [ "$one" = "$first" ] || code=1
    done
  done
  return "$code"
}

# 2000 tokens on the GPU: the hash of all logits so far after every 50, and the cpu's of the first 600, past the 512 keys
# from which on several groups share a head.
chain() {
  local run=("$assay" run -m "$shape" -c 2100 --tokens "$(seq -s, 3 18)" --temp 0 --chain 50 --json)
  "${run[@]}" --device cuda -n 2000 >"$out/chain-cuda.json" && "${run[@]}" --device cpu -n 600 >"$out/chain-cpu.json" &&
    python3 - "$out/chain-cuda.json" "$out/chain-cpu.json" <<'EOF'
import json, sys
cuda, cpu = (json.load(open(name)) for name in sys.argv[1:])
for i, digest in enumerate(cuda["logits_chain"]):
    print(50 * i + 50, digest, "= cpu" if digest in cpu["logits_chain"][i:i + 1] else "")
print(f"{len(cuda['tokens'])} tokens, {cuda['timings']['generation_tokens_per_s']:.0f} a second with the hashing")
equal = cuda["logits_chain"][:12] == cpu["logits_chain"] and cuda["tokens"][:600] == cpu["tokens"]
sys.exit(0 if equal and len(cuda["tokens"]) == 2000 and len(cpu["tokens"]) == 600 else 1)
EOF
}

# 500 tokens that the GPU draws: those that the host draws where --json brings it all logits, and the cpu's first 100.
draws() {
  local arguments run code=0 best all cpu
  for arguments in "--temp 0" "--seed 5" "--seed 6 --top-k 256 --top-p 1" "--seed 7 --top-k 300"; do
    # shellcheck disable=SC2086
    run=("$assay" run -m "$shape" -c 600 --tokens "$(seq -s, 3 18)" $arguments)
    best=$("${run[@]}" --device cuda -n 500) || return 1
    all=$("${run[@]}" --device cuda -n 500 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["text"])') || return 1
    cpu=$("${run[@]}" --device cpu -n 100) || return 1
    echo "$arguments: $(echo "$best" | tr , '\n' | wc -l) tokens, $(echo "$best" | sha256sum | cut -c 1-16)"
    [ "$best" = "$all" ] && [ "$(echo "$best" | cut -d, -f 1-100)" = "$cpu" ] || code=1
  done
  return "$code"
}

# Two runs of ours, operation by operation.
diff_of_devices() {
  "$assay" diff --run "$model" --device cpu --device cuda -p "And God said, Let there be light: and there was light."
}

# Faults that only a device can have, seeded at the GPU's queue: `diff` names each. With ASSAY_GPU_DEVICE=emulated the
# emulated grid stands in.
faults() {
  local device=${ASSAY_GPU_DEVICE:-cuda} tokens batch code=0 fault named wrong record right
  for fault in matmul-path fast-math stale-input race; do
    # Of a step of more than eight tokens; stale-input wants a third step of one size; a race wants many draws.
    tokens=$(seq -s, 300 311) batch=9
    [ "$fault" = stale-input ] && batch=4
    [ "$fault" = race ] && tokens=$(seq -s, 300 500) batch=256
    record=("$assay" trace record "$model" --tokens "$tokens" -b "$batch")
    right=(--device cpu)
    [ "$fault" = race ] && right=(--device "$device" --fault race)
    "${record[@]}" --device "$device" --fault "$fault" -o "$folder/wrong" && "${record[@]}" "${right[@]}" -o "$folder/right" &&
      named=$("$assay" diff "$folder/wrong" "$folder/right" -m "$model" --json |
        python3 -c 'import json, sys; r = json.load(sys.stdin); print(r["first"]["operation"], r["cause"]["id"])')
    echo "$fault: $named"
    [ "${named#* }" = "$fault" ] || code=1
  done
  right=$("$assay" logits "$model" --tokens "$tokens" --cut 9,10,11 --device "$device" | grep hash)
  wrong=$("$assay" logits "$model" --tokens "$tokens" --cut 9,10,11 --device "$device" --fault stale-graph | grep hash)
  echo "stale-graph: $right without it, $wrong with it"
  [ -n "$wrong" ] && [ "$right" != "$wrong" ] || code=1
  return "$code"
}

# Every kernel under a checker of compute-sanitizer: prefill and recorded steps, of one sequence and of nine, tokens drawn, a
# traced step, and what no model here has (floats, scales, heads of 128, many keys).
sanitize() {
  local arguments checked=(compute-sanitizer --tool "$1" --error-exitcode 9 "$assay")
  for arguments in "--cut 8,9,10" "--sequences 9 --cut 5,6"; do
    # shellcheck disable=SC2086
    "${checked[@]}" logits -m "$model" --device cuda $arguments \
      -p "In the beginning God created the heaven and the earth. And the earth was without form, and void" || return 1
  done
  for arguments in "--temp 0" "--top-k 40"; do
    # shellcheck disable=SC2086
    "${checked[@]}" run -m "$model" --device cuda $arguments -n 8 -p "In the beginning" || return 1
  done
  "${checked[@]}" trace record "$model" --device cuda -p "In the beginning God created the heaven" -o "$folder/$1" || return 1
  compute-sanitizer --tool "$1" --error-exitcode 9 "$build/test_device_cuda" --gtest_filter='CudaExecutor.*Rows*:CudaExecutor.Wide*:CudaExecutor.ALong*' || return 1
  # Under racecheck this takes many minutes.
  [ "$1" = racecheck ] || "${checked[@]}" verify --synthetic --device cuda
}

# Time by kernel of a prompt of 512 and of generation at depth 100, as ncu runs each launch, alone with cold caches, and
# what share of the peaks it reached.
profile() {
  local metrics=gpu__time_duration.sum,dram__throughput.avg.pct_of_peak_sustained_elapsed
  metrics+=,sm__inst_issued.avg.pct_of_peak_sustained_elapsed,sm__warps_active.avg.pct_of_peak_sustained_active
  local ncu=(ncu --csv --clock-control none --graph-profiling node --metrics "$metrics")
  local bench=("$assay" bench -m "$shape" --device cuda -r 1)
  command -v ncu >/dev/null || { echo "ncu is not here: no profile"; return 0; }
  "${ncu[@]}" --log-file "$folder/prompt.csv" "${bench[@]}" --prompt 512 --generation 0 &&
    "${ncu[@]}" --log-file "$folder/generation.csv" "${bench[@]}" --prompt 0 --generation 4 --depth 100 &&
    { echo "prompt of 512, twice"; profile_table "$folder/prompt.csv"; echo
      echo "generation at depth 100, and the prompt of 100 before it, twice"; profile_table "$folder/generation.csv"; } |
    tee "$out/profile.txt"
}

# Launches and times by kernel and grid, from ncu's CSV: the columns are found by name.
profile_table() {
  python3 - "$1" <<'EOF'
import csv, sys
SCALE = {"ns": 1e-3, "nsecond": 1e-3, "us": 1, "usecond": 1, "ms": 1e3, "msecond": 1e3, "%": 1}
NAMES = {"gpu__time": "us", "dram__": "memory", "sm__inst": "issue", "sm__warps": "warps"}
launches = {}
for row in csv.DictReader(line for line in open(sys.argv[1]) if line.startswith('"')):
    name = next(short for start, short in NAMES.items() if row["Metric Name"].startswith(start))
    kernel = (row["Kernel Name"].split("(")[0], row["Grid Size"], row["Block Size"].split(",")[0].strip("("))
    one = launches.setdefault(row["ID"], {"kernel": kernel})
    one[name] = float(row["Metric Value"].replace(",", "")) * SCALE[row["Metric Unit"]]
if not launches:
    sys.exit("the profile holds no kernel")
kernels = {}
for one in launches.values():
    kernels.setdefault(one["kernel"], []).append(one)
whole = sum(one["us"] for one in launches.values())
print(f"{'kernel':<20}{'groups':>16}{'threads':>9}{'launches':>10}{'us each':>9}{'share':>8}   share of the peak: memory, issue slots, warps")
for (name, grid, threads), all in sorted(kernels.items(), key=lambda item: -sum(one["us"] for one in item[1])):
    mean = {key: sum(one[key] for one in all) / len(all) for key in NAMES.values()}
    print(f"{name:<20}{grid:>16}{threads:>9}{len(all):>10}{mean['us']:>9.2f}{mean['us'] * len(all) / whole:>8.1%}"
          f"{mean['memory']:>27.0f} %{mean['issue']:>11.0f} %{mean['warps']:>5.0f} %")
EOF
}

export assay model build programs out folder shape
export -f machine build_missing logits_hash same_hashes shape_hashes emulated_hashes chain draws diff_of_devices faults sanitize profile profile_table

part "machine" 20 machine
part "programs" 300 build_missing
part "tests" 90 "$build/test_device_cuda"
part "logits, cpu and cuda" 60 same_hashes
part "verify" 180 "$assay" verify -m "$model" --level full --device cuda -o "$out/certificate.txt"
part "verify, stored bits" 60 "$assay" verify --synthetic --device cuda
part "TinyLlama's shape" 60 "$build/assay-synthetic" -o "$shape"
part "its logits, cpu and cuda" 120 shape_hashes
part "its logits, emulated" 120 emulated_hashes
part "its chain of 2000 tokens" 90 chain
part "its draws" 90 draws
part "bench" 90 "$assay" bench -m "$shape" --device cuda --prompt 128,512,2048 --generation 64,256
part "bench at depths" 90 "$assay" bench -m "$shape" --device cuda --prompt 0 --generation 64 --depth 1024,4096
part "profile" 90 profile
part "diff, cpu and cuda" 60 diff_of_devices
part "faults" 60 faults
part "memcheck" 120 sanitize memcheck
part "racecheck" 120 sanitize racecheck
part "initcheck" 120 sanitize initcheck
part "synccheck" 120 sanitize synccheck
# No folder of this machine stays in what is kept.
sed -i -e "s|$folder|TMP|g" -e "s|$out|OUT|g" -e "s|$build/|BUILD/|g" -e 's|^/.*/tests/|tests/|' "$log"
echo "log: $log"
exit "$failed"
