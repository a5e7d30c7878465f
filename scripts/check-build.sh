#!/usr/bin/env bash
# Proves that no combination of cargo flags weakens the server. Builds the programs of the workspace with all features at
# once, and checks the server that comes of it: full-strength passcode hashes, and no deliberate fault.
#
#   scripts/check-build.sh
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

step "Building the workspace with all features"
build_all --bin signalbox --bin signalbox-tunnel --bin signalbox-proof || fail "the workspace did not build"

for crate in signalbox-server signalbox-core; do
    features=$(cargo tree --locked --workspace --all-features --invert "$crate" --depth 0 --format '{f}')
    [ -z "$features" ] || fail "$crate has cargo features ($features): use --cfg, a patch or another crate instead"
done

! grep -qaF MUTANT_OF_SIGNALBOX "$SIGNALBOX" || fail "$SIGNALBOX contains the mutants"

grpcurl=${GRPCURL:-grpcurl}
command -v "$grpcurl" >/dev/null 2>&1 || fail "grpcurl is missing: install it, or name it in GRPCURL"
folder=$(mktemp -d)
"$SIGNALBOX" --listen 127.0.0.1:0 --store "redb:$folder" --ready-file "$folder/ready" --web-dir "$folder" 2>"$folder/log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
for _ in $(seq 100); do
    [ ! -e "$folder/ready" ] || break
    kill -0 "$server" 2>/dev/null || fail "the server did not start: $(cat "$folder/log")"
    sleep 0.1
done
"$grpcurl" -plaintext -d '{"room": {"name": "demo"}, "passcode": "secret"}' "$(cat "$folder/ready")" \
    signalbox.v1.Rooms/CreateRoom >/dev/null || fail "CreateRoom failed"
kill "$server"
wait "$server" || fail "the server did not stop cleanly: $(cat "$folder/log")"
# OWASP's Password Storage Cheat Sheet: argon2id with 19 MiB, 2 passes, 1 lane.
grep -qaF "\$argon2id\$v=19\$m=19456,t=2,p=1\$" "$folder/rooms.redb" || fail "the passcode hash is weaker than 19 MiB, 2 passes"
printf 'the server of the build with all features hashes at full strength and has no mutant\n'
