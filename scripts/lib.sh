# Shared by the scripts beside it. Works with bash 3.2 (macOS).
# shellcheck shell=bash disable=SC2034 # what is set here is used by the scripts

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=$ROOT/.cache
SIGNALBOX=$ROOT/target/release/signalbox

step() {
    printf '\n==> %s\n' "$*"
}

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# need COMMAND HOW-TO-GET-IT
need() {
    command -v "$1" >/dev/null 2>&1 || fail "$1 is missing. $2"
}

need_build_tools() {
    need cargo "Install Rust from https://rustup.rs and open a new terminal."
    need cc "Install a C linker: 'apt-get install build-essential' on Debian or Ubuntu, 'xcode-select --install' on macOS."
    need node "Install Node.js 20 or newer from https://nodejs.org."
    need npm "It comes with Node.js: https://nodejs.org."
    local major
    major=$(node -p 'process.versions.node.split(".")[0]')
    [ "$major" -ge 20 ] || fail "Node.js $(node --version) is too old: 20 or newer is needed, from https://nodejs.org."
}

# Installs what clients/web needs, unless that was done for this very lock file.
install_web() {
    local lock=$ROOT/clients/web/package-lock.json stamp=$ROOT/clients/web/node_modules/.installed
    if ! cmp -s "$lock" "$stamp"; then
        (cd "$ROOT/clients/web" && npm ci --ignore-scripts --no-audit --no-fund) || fail "npm ci failed in clients/web"
        cp "$lock" "$stamp"
    fi
}

build_web() {
    install_web
    (cd "$ROOT/clients/web" && npm run --silent build) || fail "the demo page did not build"
}

build_server() {
    (cd "$ROOT" && cargo build --release --locked --package signalbox-server) || fail "the server did not build"
}
