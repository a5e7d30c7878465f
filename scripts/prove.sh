#!/usr/bin/env bash
# Proves the delivery guarantee: a million signals between native and web clients on the release server, through
# thousands of faults, checked one by one. Ten minutes or so for each seed. Exit status: 0 it held, 1 it did not,
# 2 a run showed nothing, 3 a run did not work.
#
#   scripts/prove.sh [--seeds N] [--seed FIRST] [FLAG...]
#
#   --seeds N       runs N seeds one after another (1), the first of which is FIRST (1)
#   FLAG...         goes to signalbox-proof: target/release/signalbox-proof --help lists the flags
#
# A run that does not pass leaves its report and its whole history in target/proof.
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
            [[ ${2:-} =~ ^[0-9]{1,9}$ ]] || fail "$1 needs a number, such as $1 10"
            if [ "$1" = --seeds ]; then seeds=$((10#$2)); else first=$((10#$2)); fi
            shift
            ;;
        --seeds=* | --seed=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" && continue ;;
        --history | --history=*) history=1 && flags+=("$1") ;;
        *) flags+=("$1") ;;
    esac
    shift
done
[ "$seeds" -ge 1 ] || fail "--seeds must be at least 1"
[ -z "$history" ] || [ "$seeds" = 1 ] || fail "--history names one file: leave it out, the history of a run that fails is kept"

need cargo "Install Rust from https://rustup.rs and open a new terminal."
step "Building the server and the proof"
build_server
(cd "$ROOT" && cargo build --release --locked --package signalbox-proof) || fail "the proof did not build"

cd "$ROOT"
kept=target/proof
mkdir -p "$kept"
worst=0
verdicts=
for ((seed = first; seed < first + seeds; seed++)); do
    step "Proving with seed $seed"
    report=$kept/$seed.txt
    status=0
    # Of a flag that is given twice, the later one counts.
    target/release/signalbox-proof --signals 1000000 --faults 2000 --server "$SIGNALBOX" \
        --history "$kept/$seed.jsonl" ${flags[@]+"${flags[@]}"} --seed "$seed" | tee "$report" || status=$?
    if [ "$status" = 0 ]; then
        rm -f "$report" "$kept/$seed.jsonl"
    else
        printf 'kept: %s and %s\n' "$report" "$kept/$seed.jsonl"
        # A guarantee that did not hold counts more than a run that showed nothing.
        [ "$worst" = 1 ] || worst=$status
    fi
    verdicts="${verdicts}seed $seed: exit status $status"$'\n'
done
[ "$seeds" = 1 ] || printf '\n%s' "$verdicts"
exit "$worst"
