#!/usr/bin/env bash
# Fuzzes the code that handles untrusted input, in process, with libFuzzer: message decoders and checks, tokens,
# gRPC-Web and rooms. Each target checks invariants after every input.
#
#   scripts/fuzz.sh                    every target for 10 s, as test.sh does
#   scripts/fuzz.sh --seconds 60       every target for 60 s
#   scripts/fuzz.sh --runs 10000000    every target for 10,000,000 executions, which takes an hour or more
#   scripts/fuzz.sh --blind [...]      without tracing comparisons, which can take half of the time; for long runs from
#                                      a corpus that earlier runs have grown
#   scripts/fuzz.sh --merge            adds inputs found by earlier runs to the committed corpus if they reach new code
#   scripts/fuzz.sh [...] TARGET...    only these targets; testing/fuzz/fuzz_targets/ has one file per target
#
# To generate new seeds, run: cargo run -p signalbox-fuzz --example seeds
#
# Exit status: 0 no target failed, 1 a target failed; the failing input is kept in target/fuzz/artifacts.
#
# The targets run without a sanitizer. In safe Rust an address sanitizer finds almost nothing, and it makes every
# execution several times slower. Overflow checks and debug assertions are on, and a panic in any task is a failure.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

FUZZ=$ROOT/testing/fuzz
# New inputs of runs, and failing inputs.
FOUND=$ROOT/target/fuzz/corpus
ARTIFACTS=$ROOT/target/fuzz/artifacts

limit=-max_total_time=10
compares=()
merge=
targets=()
while [ $# -gt 0 ]; do
    case $1 in
        --seconds) limit=-max_total_time=${2:?use a number, such as --seconds 60} && shift ;;
        --runs) limit=-runs=${2:?use a number, such as --runs 10000000} && shift ;;
        --blind) compares=(--no-trace-compares) ;;
        --merge) merge=yes ;;
        --help) usage && exit ;;
        -*) fail "unknown flag \"$1\": run $0 --help for the flags" ;;
        *) targets+=("$1") ;;
    esac
    shift
done
if [ ${#targets[@]} = 0 ]; then
    for file in "$FUZZ"/fuzz_targets/*.rs; do
        targets+=("$(basename "$file" .rs)")
    done
fi

need cargo "Install Rust from https://rustup.rs and open a new terminal."
need c++ "Install a C++ compiler for libFuzzer, with 'apt-get install build-essential' on Debian or Ubuntu."
step "Building the fuzz targets"
install_tool cargo-fuzz || fail "installing cargo-fuzz failed: see the output above"
host=$(rustc -vV | sed -n 's/^host: //p')
BIN=$ROOT/target/$host/release
# In the folder of the crate: its .cargo/config.toml has the build flags.
(cd "$FUZZ" && "$TOOL" fuzz build --fuzz-dir . --target "$host" --sanitizer none --codegen-units 16 \
    ${compares[@]+"${compares[@]}"}) ||
    fail "building the fuzz targets failed: see the output above"

if [ -n "$merge" ]; then
    for target in "${targets[@]}"; do
        step "Corpus of $target"
        fresh=$(mktemp -d)
        mkdir -p "$FOUND/$target"
        "$BIN/$target" -merge=1 -max_len=4096 "$fresh" "$FUZZ/corpus/$target" "$FOUND/$target" 2>&1 | tail -n 1
        # Inputs of fixed bugs keep their names.
        find "$FUZZ/corpus/$target" -type f ! -name 'fixed-*' -delete
        cp "$fresh"/* "$FUZZ/corpus/$target/"
        rm -rf "$fresh"
    done
    exit
fi

failed=0
table=
# row TARGET EXECUTIONS PER-SECOND CRASHES
row() {
    local line
    line=$(printf '%-16s %12s %9s %8s' "$@")
    table="$table$line"$'\n'
}
row target executions exec/s crashes
for target in "${targets[@]}"; do
    [ -x "$BIN/$target" ] || fail "unknown fuzz target \"$target\": use a name from $FUZZ/fuzz_targets"
    step "Fuzzing $target"
    mkdir -p "$FOUND/$target" "$ARTIFACTS/$target"
    log=$ARTIFACTS/$target/log
    crashes=0
    # libFuzzer writes new inputs to the first folder only, so the committed corpus does not change. -entropic=0:
    # weighting inputs by the rarity of what they reach would take two fifths of the time, and reach no more in it.
    "$BIN/$target" "$limit" -max_len=4096 -entropic=0 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$ARTIFACTS/$target/" "$FOUND/$target" "$FUZZ/corpus/$target" >"$log" 2>&1 || crashes=1
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    # A run with almost no executions is no evidence.
    if [ "$crashes" = 0 ] && [ "${executions:-0}" -lt 1000 ]; then
        crashes=1
        printf 'only %s executions\n' "${executions:-0}" >>"$log"
    fi
    if [ "$crashes" != 0 ]; then
        failed=1
        grep -v '^#' "$log" | tail -n 40
        printf 'to reproduce: %s FILE, with the file named above\n' "$BIN/$target"
    fi
    row "$target" "${executions:--}" "$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")" "$crashes"
done
printf '\n%s' "$table"
[ "$failed" = 0 ] ||
    fail "failing inputs are in $ARTIFACTS: fix the bug, then add the input as $FUZZ/corpus/TARGET/fixed-NAME"
