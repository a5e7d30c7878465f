#!/usr/bin/env bash
# Tests the proof with broken servers. testing/mutants/mutants.patch breaks one promise per mutant, and the proof must find
# each within 3 minutes. The unpatched server must pass the same short run. Exit status: 0 all of that held, 1 it did not.
#
#   scripts/mutants.sh [MUTANT...]     only these; the patch names them in services/signal/core/src/mutant.rs
#
# The patch is applied to a copy of the sources, so that no build of this tree can contain a mutant.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

PATCH=$ROOT/testing/mutants/mutants.patch
TREE=$ROOT/target/mutants/tree
LOGS=$ROOT/target/mutants/logs
MUTANT=$ROOT/target/release/signalbox-mutant
# Few rooms, so that each of them gets many faults. The load ends early enough for the quiet end.
FLAGS="--signals 40000 --faults 150 --rooms 6 --server-faults 20s --deadline 110s --stop-at-first"
LIMIT=180
# A run takes a quarter of a core.
AT_ONCE=4

stop() {
    trap - EXIT INT TERM HUP
    local children
    children=$(jobs -p)
    # Each is the leader of a process group with its server.
    for child in $children; do kill -TERM -- "-$child" 2>/dev/null || true; done
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# prove NAME SERVER: runs the proof on a server. Leaves its log, and its exit status and seconds.
prove() {
    local started=$SECONDS status=0
    # Without the prefix SIGNALBOX_, whose variables the proof keeps from the server.
    # shellcheck disable=SC2086 # several flags
    MUTANT_OF_SIGNALBOX=$1 target/release/signalbox-proof $FLAGS --server "$2" >"$LOGS/$1.log" 2>&1 || status=$?
    printf '%s %s\n' "$status" "$((SECONDS - started))" >"$LOGS/$1.result"
}

# The rest of the first line of a log that begins with a text.
value() {
    sed -n "s/^$2 *//p" "$LOGS/$1.log" | head -n 1
}

failed=0
# row NAME VERDICT SIGNALS SECONDS
row() {
    printf '%-18s %-28s %9s %9s\n' "$@"
}

# fail_row NAME VERDICT SECONDS: a row of a run with the wrong result, and the end of its log.
fail_row() {
    failed=1
    row "$1" "$2" - "$3"
    tail -n 60 "$LOGS/$1.log"
}

need cargo "Install Rust from https://rustup.rs and open a new terminal."
need patch "'apt-get install patch' on Debian or Ubuntu."
step "Building the mutants, the server and the proof"
rm -rf "$TREE"
mkdir -p "$TREE" "$LOGS"
tar -cf - --exclude=target --exclude=node_modules --exclude=corpus \
    Cargo.toml Cargo.lock build.rs proto clients/rust services testing | tar -xf - -C "$TREE"
patch --directory "$TREE" --strip 1 --fuzz 0 --silent <"$PATCH" ||
    fail "$PATCH does not apply: adapt it to the changed sources, it names the hunks"
# The copy shares the target folder, so that dependencies are built once. Cargo names the files of a crate by its version
# and its path within the workspace: only a version of their own keeps the mutants out of the server's build.
sed '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/version = "\1-mutants"/' Cargo.toml >"$TREE/Cargo.toml"
sed '/^name = "signalbox/{n;s/"\(.*\)"/"\1-mutants"/;}' Cargo.lock >"$TREE/Cargo.lock"
(cd "$TREE" && CARGO_TARGET_DIR=$ROOT/target build_all --bin signalbox-mutant) || fail "the mutants did not build"
build_all --bin signalbox --bin signalbox-proof || fail "the server did not build"
grep -qaF MUTANT_OF_SIGNALBOX "$MUTANT" || fail "$MUTANT contains no mutant"
! grep -qaF MUTANT_OF_SIGNALBOX "$SIGNALBOX" || fail "$SIGNALBOX contains the mutants"

if [ $# -gt 0 ]; then
    mutants=$*
else
    mutants=$(sed -n '/enum Mutant {/,/^}/s/^    \([A-Z][A-Za-z]*\),$/\1/p' "$TREE/services/signal/core/src/mutant.rs")
fi
[ -n "$mutants" ] || fail "$PATCH names no mutant"

step "Proving: a breach in each mutant, and none in the server"
rm -f "$LOGS"/*.result
# Process groups, for `stop`.
set -m
for mutant in $mutants; do
    while [ "$(jobs -rp | wc -l)" -ge "$AT_ONCE" ]; do sleep 0.5; done
    prove "$mutant" "$MUTANT" &
done
wait
# Alone: it must not fail because others take its time.
prove healthy "$SIGNALBOX" &
wait
set +m

row server "found by" signals seconds
for mutant in $mutants; do
    read -r status seconds <"$LOGS/$mutant.result"
    # first breach: C1 unique after 2080 signals, 1.5 s
    first=$(value "$mutant" "first breach:")
    if [ "$status" = 1 ] && [ -n "$first" ] && [ "$seconds" -le "$LIMIT" ]; then
        signals=$(printf '%s' "$first" | sed 's/.* after \([0-9]*\) signals.*/\1/')
        row "$mutant" "${first%% after *}" "$signals" "$seconds"
    else
        fail_row "$mutant" "NOT FOUND (status $status)" "$seconds"
    fi
done
read -r status seconds <"$LOGS/healthy.result"
if [ "$status" = 0 ]; then
    row healthy "nothing: passed" "$(value healthy "signals sent")" "$seconds"
else
    fail_row healthy "FAILED (status $status)" "$seconds"
fi

[ "$failed" = 0 ] || fail "the proof did not tell mutants from the server; the logs are in $LOGS"
