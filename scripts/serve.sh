#!/usr/bin/env bash
# Builds and starts the release server with its demo page, and prints how to use it.
#
#   scripts/serve.sh [FLAG...]     flags of the server; target/release/signalbox serve --help lists them
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

need_build_tools
need curl "Install it, with 'apt-get install curl' on Debian or Ubuntu."
step "Building the demo page"
build_web
step "Building the server (the first time takes a few minutes)"
build_server

ready=$(mktemp -d)/address
server=
stop() {
    trap - EXIT INT TERM HUP
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$(dirname "$ready")"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

step "Starting the server"
cd "$ROOT"
"$SIGNALBOX" serve --web-dir "$ROOT/clients/web/dist" "$@" --ready-file "$ready" &
server=$!

scheme=http
case " $* " in *" --tls-cert"* | *" --tls-self-signed"*) scheme=https ;; esac
[ -z "${SIGNALBOX_TLS_CERT:-}" ] || scheme=https
[ "${SIGNALBOX_TLS_SELF_SIGNED:-false}" != true ] || scheme=https

# Wait up to 30 s for the server to become healthy.
tries=0
until [ -f "$ready" ] && curl --silent --fail --insecure --max-time 2 --output /dev/null "$scheme://$(cat "$ready")/healthz"; do
    kill -0 "$server" 2>/dev/null || fail "the server did not start: see its output above"
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || fail "the server is not healthy after 30 s: see its output above"
    sleep 0.1
done
address=$(cat "$ready")
# A wildcard address cannot be opened: print loopback instead.
open=$(printf '%s' "$address" | sed -e 's/^0\.0\.0\.0:/127.0.0.1:/' -e 's/^\[::\]:/[::1]:/')

plain=-plaintext
[ $scheme = http ] || plain=-insecure

cat <<TEXT

Signalbox is running.

  Demo page   $scheme://$open/?room=demo
              Open it in two tabs and join in both: you are in a call with yourself.
  grpcurl     grpcurl $plain -d @ $open signalbox.v1.Signal/Exchange
              Then type {"join": {"room": "demo"}} and press Enter.
  Health      $scheme://$open/healthz

Press Ctrl-C to stop. docs/configuration.md lists the settings, docs/architecture.md explains how it works.
TEXT
wait "$server"
