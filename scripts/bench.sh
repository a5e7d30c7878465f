#!/usr/bin/env bash
# Benchmarks the release server on this machine (Linux) and prints a table. The figures are meaningless if the machine
# does other work at the same time.
#
#   scripts/bench.sh slow-reader [FLAG...]   latency of 1,000 members, without and with one member that stopped reading
#   scripts/bench.sh idle [FLAG...]          memory of idle members
#   scripts/bench.sh setup [FLAG...]         CPU and time of call setup
#   scripts/bench.sh store-outage [FLAG...]  latency of a live room while its database hangs or is killed
#   scripts/bench.sh flooder [FLAG...]       call setup next to one flooding client and many that stopped reading
#
# For the flags of a benchmark, run: target/release/signalbox-bench help NAME
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || fail "no benchmark given: use slow-reader, idle, setup, store-outage or flooder"
if [ "$1" = store-outage ]; then
    install_mongod || fail "mongod could not be installed: set MONGOD to the path of a mongod"
fi
need cargo "Install Rust from https://rustup.rs and open a new terminal."
step "Building the server and the benchmarks"
build_server
(cd "$ROOT" && build_all --bin signalbox-bench) ||
    fail "building the benchmarks failed: see the output above"

# A member on its own connection takes one file descriptor here and one in the server.
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
step "Measuring"
cd "$ROOT"
exec target/release/signalbox-bench --server "$SIGNALBOX" "$@"
