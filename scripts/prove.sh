#!/usr/bin/env bash
# Tests the delivery guarantee: sends a million signals between native and web clients on the release server, through
# thousands of injected faults, and checks every one. A seed takes about ten minutes.
#
#   scripts/prove.sh [--seeds N] [--seed FIRST] [FLAG...]
#
#   --seeds N       number of seeds to run, one after another (default 1)
#   --seed FIRST    the first seed (default 1)
#   FLAG...         passed to signalbox-proof; target/release/signalbox-proof --help lists the flags
#
# target/proof keeps the report and the history of a run that does not pass. Exit status:
#
#   0    the guarantee held
#   1    the guarantee was violated
#   2    a run was void: too few signals, or faults without effect
#   3    a run broke down, or its server exited unexpectedly
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

seeds=1
first=1
history=
flags=()
while [ $# -gt 0 ]; do
    case $1 in
        --seeds | --seed)
            [[ ${2:-} =~ ^[0-9]{1,9}$ ]] || fail "invalid $1 \"${2:-}\": use a number, such as $1 10"
            if [ "$1" = --seeds ]; then seeds=$((10#$2)); else first=$((10#$2)); fi
            shift
            ;;
        --seeds=* | --seed=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" && continue ;;
        --history | --history=*) history=1 && flags+=("$1") ;;
        *) flags+=("$1") ;;
    esac
    shift
done
[ "$seeds" -ge 1 ] || fail "invalid --seeds \"$seeds\": use 1 or more"
[ -z "$history" ] || [ "$seeds" = 1 ] ||
    fail "--history with several seeds: omit it, target/proof keeps the history of every failed run"

need cargo "Install Rust from https://rustup.rs and open a new terminal."
step "Building the server and the proof"
build_server
(cd "$ROOT" && build_all --bin signalbox-proof) ||
    fail "building the proof failed: see the output above"

cd "$ROOT"
kept=target/proof
mkdir -p "$kept"
worst=0
verdicts=
for ((seed = first; seed < first + seeds; seed++)); do
    step "Proving with seed $seed"
    report=$kept/$seed.txt
    status=0
    # A later flag overrides an earlier one.
    target/release/signalbox-proof --signals 1000000 --faults 2000 --server "$SIGNALBOX" \
        --history "$kept/$seed.jsonl" ${flags[@]+"${flags[@]}"} --seed "$seed" | tee "$report" || status=$?
    if [ "$status" = 0 ]; then
        rm -f "$report" "$kept/$seed.jsonl"
    else
        printf 'kept: %s and %s\n' "$report" "$kept/$seed.jsonl"
        # A violation outranks a void run.
        [ "$worst" = 1 ] || worst=$status
    fi
    verdicts="${verdicts}seed $seed: exit status $status"$'\n'
done
[ "$seeds" = 1 ] || printf '\n%s' "$verdicts"
exit "$worst"
