#!/usr/bin/env bash
# Measures the release server on this machine (Linux), and prints a table. On a machine that does something else at the
# same time the figures are worth nothing.
#
#   scripts/bench.sh slow-reader [FLAG...]   latency of a thousand who read, without and with one who has stopped
#   scripts/bench.sh idle [FLAG...]          memory of members who do nothing
#   scripts/bench.sh setup [FLAG...]         CPU and time of calls being set up
#   scripts/bench.sh store-outage [FLAG...]  latency of a live room while its database hangs or is killed
#   scripts/bench.sh flooder [FLAG...]       calls of honest pairs beside one who floods and many who have stopped reading
#
# target/release/signalbox-bench help lists the flags of each.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || fail "say what to measure: slow-reader, idle, setup, store-outage or flooder"
if [ "$1" = store-outage ]; then
    install_mongod || fail "mongod could not be installed: set MONGOD to one"
fi
need cargo "Install Rust from https://rustup.rs and open a new terminal."
step "Building the server and the benchmarks"
build_server
(cd "$ROOT" && cargo build --release --locked --package signalbox-bench) || fail "the benchmarks did not build"

# Members on connections of their own take a file descriptor each, here and in the server.
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
step "Measuring"
cd "$ROOT"
exec target/release/signalbox-bench --server "$SIGNALBOX" "$@"
