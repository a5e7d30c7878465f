#!/usr/bin/env bash
# Holds what this project is made of against deny.toml: licenses, sources, versions that must not be older; and against
# the advisories that are known (RustSec, npm). Exit status: 0 all of it held, 1 something did not.
#
#   scripts/supply-chain.sh                         says aloud what could not be asked
#   scripts/supply-chain.sh --require-advisories    what could not be asked is an error, as in the weekly workflow
#
# "skipped" in the tests is for what the machine lacks, and never happens in CI. "not run" is for the two databases of
# advisories, which are on the internet: a machine that reaches package registries only can install everything and still
# not ask them. So that is no error here, but it is one in .github/workflows/supply-chain.yml, which can ask.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

required=
case ${1:-} in
    --require-advisories) required=yes ;;
    '') ;;
    *) fail "unknown flag $1; the head of this script has all of them" ;;
esac

not_run() {
    [ -z "$required" ] || fail "$*"
    printf 'not run: %s\n' "$*"
}

need cargo "Install Rust from https://rustup.rs and open a new terminal."
need npm "It comes with Node.js: https://nodejs.org."
step "Rust: licenses, sources, oldest versions"
install_tool cargo-deny || fail "cargo-deny could not be installed"
deny=("$TOOL" --log-level error --workspace --locked check --hide-inclusion-graph)
"${deny[@]}" bans licenses sources || fail "deny.toml does not allow that; it says why"

step "Rust: advisories"
if report=$("${deny[@]}" advisories 2>&1); then
    printf '%s\n' "$report"
elif printf '%s' "$report" | grep -q 'failed to fetch advisory database'; then
    not_run "the RustSec advisories: github.com cannot be reached from here"
else
    printf '%s\n' "$report"
    fail "there are advisories about crates that are used"
fi

step "npm: advisories about what pages are given"
if report=$(cd clients/web && npm audit --omit=dev --package-lock-only 2>&1); then
    printf '%s\n' "$report"
elif printf '%s' "$report" | grep -Eq 'audit endpoint returned an error|ENOTFOUND|ECONNREFUSED|ETIMEDOUT'; then
    not_run "the npm advisories: the registry that is used here has no audit service"
else
    printf '%s\n' "$report"
    fail "there are advisories about npm packages that are used"
fi
