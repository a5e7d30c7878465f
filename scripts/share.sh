#!/usr/bin/env bash
# Puts this machine on the public internet: builds what is missing, starts the server and a tunnel to it, and prints a
# link with which anybody, anywhere, can join a fresh room. Ctrl-C ends it all.
#
#   scripts/share.sh                    through bore.pub, a public tunnel server
#   scripts/share.sh --to HOST          through another; its secret, if it has one, is taken from BORE_SECRET
#   scripts/share.sh --serve-tunnel     runs a tunnel server, on a machine of your own that others can reach
#
# --help after any of these lists further flags.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

if [ "${1:-}" = --serve-tunnel ]; then
    shift
    need cargo "Install Rust from https://rustup.rs and open a new terminal."
    step "Building the tunnel's program"
    build_tunnel
    exec "$TUNNEL" serve "$@"
fi

need_build_tools
step "Building the demo page"
build_web
step "Building the server and the tunnel's program (the first time takes a few minutes)"
build_server
build_tunnel

step "Sharing"
cd "$ROOT"
# It takes the place of this script, and ends the server whatever becomes of it.
exec "$TUNNEL" share "$@"
