#!/usr/bin/env bash
# Publishes a room of this machine on the internet: builds what is missing, starts the server and a tunnel to it, and
# prints a link for visitors. Ctrl-C stops everything.
#
#   scripts/share.sh                    through bore.pub, a public tunnel server
#   scripts/share.sh --to HOST          through another tunnel server; BORE_SECRET holds its secret, if it has one
#   scripts/share.sh --serve-tunnel     runs a tunnel server, on a machine with a public address
#
# Add --help to list all flags.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

if [ "${1:-}" = --serve-tunnel ]; then
    shift
    need cargo "Install Rust from https://rustup.rs and open a new terminal."
    step "Building the tunnel program"
    build_tunnel
    exec "$TUNNEL" serve "$@"
fi

need_build_tools
step "Building the demo page"
build_web
step "Building the server and the tunnel program (the first build takes a few minutes)"
build_server
build_tunnel

step "Sharing"
cd "$ROOT"
# exec, so that signals reach the program, which stops the server when it exits.
exec "$TUNNEL" share "$@"
