#!/usr/bin/env bash
# Feeds what strangers may send to the server's decoders, checks, tokens, gRPC-Web and rooms, in process, with libFuzzer,
# which mutates inputs towards code that none has reached; and checks what must hold then. Exit status: 0 nothing was
# found, 1 something was, and the input that shows it is kept.
#
#   scripts/fuzz.sh                    every target for 10 s, as test.sh does
#   scripts/fuzz.sh --seconds 60       every target for 60 s
#   scripts/fuzz.sh --runs 10000000    every target for so many executions: an hour or more
#   scripts/fuzz.sh --blind [...]      without following what the code compares its input with, which may take half of the
#                                      time: for long runs from a corpus that other runs have grown
#   scripts/fuzz.sh --merge            puts what was found so far into the corpus that is committed, as far as it reaches
#                                      code that the rest does not; new seeds: cargo run -p signalbox-fuzz --example seeds
#   scripts/fuzz.sh [...] TARGET...    these only; testing/fuzz/fuzz_targets/ has them
#
# There is no sanitizer: this code is safe Rust, in which an address sanitizer finds next to nothing, and it would make
# every execution several times slower. Overflow checks and debug assertions are on, and a panic in any task counts.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

FUZZ=$ROOT/testing/fuzz
# What a run finds beyond the committed corpus, and inputs that fail.
FOUND=$ROOT/target/fuzz/corpus
ARTIFACTS=$ROOT/target/fuzz/artifacts

limit=-max_total_time=10
compares=()
merge=
targets=()
while [ $# -gt 0 ]; do
    case $1 in
        --seconds) limit=-max_total_time=${2:?--seconds needs a number} && shift ;;
        --runs) limit=-runs=${2:?--runs needs a number} && shift ;;
        --blind) compares=(--no-trace-compares) ;;
        --merge) merge=yes ;;
        -*) fail "unknown flag $1; the head of this script has all of them" ;;
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
need c++ "libFuzzer needs a C++ compiler: 'apt-get install build-essential' on Debian or Ubuntu."
step "Building the fuzz targets"
install_tool cargo-fuzz || fail "cargo-fuzz could not be installed"
host=$(rustc -vV | sed -n 's/^host: //p')
BIN=$ROOT/target/$host/release
# From the folder of the crate, whose .cargo/config.toml says how.
(cd "$FUZZ" && "$TOOL" fuzz build --fuzz-dir . --target "$host" --sanitizer none --codegen-units 16 \
    ${compares[@]+"${compares[@]}"}) ||
    fail "the fuzz targets did not build"

if [ -n "$merge" ]; then
    for target in "${targets[@]}"; do
        step "Corpus of $target"
        fresh=$(mktemp -d)
        mkdir -p "$FOUND/$target"
        "$BIN/$target" -merge=1 -max_len=4096 "$fresh" "$FUZZ/corpus/$target" "$FOUND/$target" 2>&1 | tail -n 1
        # Inputs that once failed stay under their names.
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
    [ -x "$BIN/$target" ] || fail "there is no fuzz target $target"
    step "Fuzzing $target"
    mkdir -p "$FOUND/$target" "$ARTIFACTS/$target"
    log=$ARTIFACTS/$target/log
    crashes=0
    # The committed corpus is read only: finds go to the first folder. Weighing inputs by how rare what they reach is
    # would take two fifths of the time, and reaches no more in that time.
    "$BIN/$target" "$limit" -max_len=4096 -entropic=0 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$ARTIFACTS/$target/" "$FOUND/$target" "$FUZZ/corpus/$target" >"$log" 2>&1 || crashes=1
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    # A run that did nothing has shown nothing.
    if [ "$crashes" = 0 ] && [ "${executions:-0}" -lt 1000 ]; then
        crashes=1
        printf 'only %s executions\n' "${executions:-0}" >>"$log"
    fi
    if [ "$crashes" != 0 ]; then
        failed=1
        grep -v '^#' "$log" | tail -n 40
        printf 'again: %s FILE, with the file named above\n' "$BIN/$target"
    fi
    row "$target" "${executions:--}" "$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")" "$crashes"
done
printf '\n%s' "$table"
[ "$failed" = 0 ] || fail "inputs that fail are in $ARTIFACTS; once mended, keep them in $FUZZ/corpus/TARGET/fixed-NAME"
