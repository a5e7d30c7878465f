#!/usr/bin/env bash
# Builds what is missing, starts the release server with its demo page, and says what to do next.
#
#   scripts/serve.sh [FLAG...]     flags go to the server: target/release/signalbox --help lists them
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

need_build_tools
need curl "Install it: 'apt-get install curl' on Debian or Ubuntu."
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

# Healthy within 30 s, or it has said why not.
tries=0
until [ -f "$ready" ] && curl --silent --fail --insecure --max-time 2 --output /dev/null "$scheme://$(cat "$ready")/healthz"; do
    kill -0 "$server" 2>/dev/null || fail "the server did not start; its message is above"
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || fail "the server is not healthy after 30 s; its log is above"
    sleep 0.1
done
address=$(cat "$ready")
# An address that means "all of them" is not one to open.
open=$(printf '%s' "$address" | sed -e 's/^0\.0\.0\.0:/127.0.0.1:/' -e 's/^\[::\]:/[::1]:/')

plain=-plaintext
[ $scheme = http ] || plain=-insecure

cat <<TEXT

Signalbox is running.

  Demo page   $scheme://$open/?room=demo
              Open it in two tabs, join in both, and you are in a call with yourself.
  By hand     grpcurl $plain -d @ $open signalbox.v1.Signal/Exchange
              then type {"join": {"room": "demo"}} and press Enter.
  Health      $scheme://$open/healthz

Stop it with Ctrl-C. README.md tells how it works and what can be set.
TEXT
wait "$server"
