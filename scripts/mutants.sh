#!/usr/bin/env bash
# Tests the proof: servers that are broken on purpose, each in one promise, must each be found out within 3 minutes, and
# the healthy server must pass the same short run. A few minutes. Exit status: 0 all of that held, 1 it did not.
#
#   scripts/mutants.sh [MUTANT...]     only these; services/signal/src/mutant.rs names them
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

MUTANT=$ROOT/target/release/signalbox-mutant
LOGS=$ROOT/target/mutants
# Few rooms, so that each of them gets many faults; the load ends in time for the quiet end to fit in.
FLAGS="--signals 40000 --faults 150 --rooms 6 --server-faults 20s --deadline 110s --stop-at-first"
LIMIT=180

child=
stop() {
    trap - EXIT INT TERM HUP
    # With its server.
    [ -z "$child" ] || kill -TERM -- "-$child" 2>/dev/null || true
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# prove NAME SERVER: runs the proof on a server; sets status, seconds, and log.
prove() {
    local started=$SECONDS
    log=$LOGS/$1.log
    status=0
    # A process group of its own.
    set -m
    # shellcheck disable=SC2086 # several flags
    SIGNALBOX_MUTANT=$1 target/release/signalbox-proof $FLAGS --server "$2" >"$log" 2>&1 &
    child=$!
    set +m
    wait "$child" || status=$?
    child=
    seconds=$((SECONDS - started))
}

# What the log has behind a word at the start of a line.
said() {
    sed -n "s/^$1 *//p" "$log" | head -n 1
}

table=
failed=0
# row NAME VERDICT SIGNALS SECONDS
row() {
    local line
    line=$(printf '%-18s %-28s %9s %9s' "$@")
    table="$table$line"$'\n'
    printf '%s\n' "$line"
}

need cargo "Install Rust from https://rustup.rs and open a new terminal."
step "Building the server, the broken server and the proof"
build_server
# Under a name of its own: target/release/signalbox is never a broken one.
cargo build --release --locked --package signalbox-server --features mutants --bin signalbox-mutant ||
    fail "the broken server did not build"
cargo build --release --locked --package signalbox-proof || fail "the proof did not build"
mkdir -p "$LOGS"

if [ $# -gt 0 ]; then
    mutants=$*
else
    mutants=$(sed -n '/enum Mutant {/,/^}/s/^    \([A-Z][A-Za-z]*\),$/\1/p' services/signal/src/mutant.rs)
fi
[ -n "$mutants" ] || fail "services/signal/src/mutant.rs names no mutant"

step "Proving: each must fail, with a breach; the healthy one must pass"
row server "found out by" signals seconds
for mutant in $mutants; do
    prove "$mutant" "$MUTANT"
    # first breach: C1 unique after 2080 signals, 1.5 s
    first=$(said "first breach:")
    if [ "$status" = 1 ] && [ -n "$first" ] && [ "$seconds" -le "$LIMIT" ]; then
        signals=$(printf '%s' "$first" | sed 's/.* after \([0-9]*\) signals.*/\1/')
        row "$mutant" "${first%% after *}" "$signals" "$seconds"
    else
        failed=1
        row "$mutant" "NOT FOUND OUT (status $status)" - "$seconds"
        tail -n 30 "$log"
    fi
done
prove healthy "$SIGNALBOX"
if [ "$status" = 0 ]; then
    row healthy "nothing: passed" "$(said "signals sent")" "$seconds"
else
    failed=1
    row healthy "FAILED (status $status)" - "$seconds"
    tail -n 60 "$log"
fi

printf '\n%s' "$table"
[ "$failed" = 0 ] || fail "the proof did not tell broken from healthy; what it said is in $LOGS"
