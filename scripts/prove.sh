#!/usr/bin/env bash
# Proves the delivery guarantee: a million signals between native and web clients on the release server, through
# thousands of faults, checked one by one. Ten minutes or so. Exit status: 0 it held, 1 it did not, 2 nothing was shown.
#
#   scripts/prove.sh [FLAG...]     flags go to signalbox-proof: target/release/signalbox-proof --help lists them
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

need cargo "Install Rust from https://rustup.rs and open a new terminal."
step "Building the server and the proof"
build_server
(cd "$ROOT" && cargo build --release --locked --package signalbox-proof) || fail "the proof did not build"

step "Proving"
cd "$ROOT"
# Of a flag that is given twice, the later one counts.
exec target/release/signalbox-proof --signals 1000000 --faults 2000 --server "$SIGNALBOX" "$@"
