#!/usr/bin/env bash
# Checks the dependencies: licenses, sources and minimum versions against deny.toml, and advisories (RustSec, npm).
#
#   scripts/supply-chain.sh                         an unreachable advisory database is reported as "not run"
#   scripts/supply-chain.sh --require-advisories    an unreachable advisory database is an error
#
# Exit status: 0 all checks passed, 1 a check failed.
#
# The advisory databases are on the internet. A machine with access to package registries only can run all other tests,
# so "not run" is no error there. The weekly workflow (.github/workflows/supply-chain.yml) requires the databases.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

required=
case ${1:-} in
    --require-advisories) required=yes ;;
    --help) usage && exit ;;
    '') ;;
    *) fail "unknown flag \"$1\": run $0 --help for the flags" ;;
esac

not_run() {
    [ -z "$required" ] || fail "$*"
    printf 'not run: %s\n' "$*"
}

need cargo "Install Rust from https://rustup.rs and open a new terminal."
need npm "Install Node.js with npm from https://nodejs.org."
step "Rust: licenses, sources, minimum versions"
install_tool cargo-deny || fail "installing cargo-deny failed: see the output above"
deny=("$TOOL" --log-level error --workspace --locked check --hide-inclusion-graph)
"${deny[@]}" bans licenses sources ||
    fail "a dependency violates deny.toml, which gives the reason: see the output above"

step "Rust: advisories"
if report=$("${deny[@]}" advisories 2>&1); then
    printf '%s\n' "$report"
elif printf '%s' "$report" | grep -q 'failed to fetch advisory database'; then
    not_run "RustSec advisories: github.com is unreachable"
else
    printf '%s\n' "$report"
    fail "advisories affect crates in Cargo.lock: update them, or add an exception with its reason to deny.toml"
fi

step "npm: advisories for runtime dependencies"
if report=$(cd clients/web && npm audit --omit=dev --package-lock-only 2>&1); then
    printf '%s\n' "$report"
elif printf '%s' "$report" | grep -Eq 'audit endpoint returned an error|ENOTFOUND|ECONNREFUSED|ETIMEDOUT'; then
    not_run "npm advisories: the configured registry has no audit service"
else
    printf '%s\n' "$report"
    fail "advisories affect npm packages in clients/web/package-lock.json: update them"
fi
