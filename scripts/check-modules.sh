#!/usr/bin/env bash
# Fails on an import cycle between the top-level modules of a crate: imports point downwards only.
#
#   scripts/check-modules.sh
#
# A module's imports are the names that follow `crate::` in its files. `lib.rs` and `main.rs` are not modules.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# imports SRC: prints "MODULE IMPORTED" for each import between top-level modules.
imports() {
    local src=$1 file module
    find "$src" -name '*.rs' ! -name tests.rs ! -path "$src/lib.rs" ! -path "$src/main.rs" | sort | while read -r file; do
        module=${file#"$src"/}
        module=${module%%/*}
        module=${module%.rs}
        # Comments and unit tests do not count. Nested use groups are joined into one line.
        sed -e '/^mod tests {/,$d' -e 's://.*$::' "$file" | tr -d '\n' |
            sed -e 's/use crate::{\([^;]*\)};/\n@\1\n/g' -e 's/crate::\([a-z_]*\)/\n@\1\n/g' | sed -n 's/^@//p' |
            # Only the first level of a group names modules.
            awk '{ depth = 0; word = ""; text = $0 ","
                for (i = 1; i <= length(text); i++) {
                    c = substr(text, i, 1)
                    if (c == "{") depth++
                    else if (c == "}") depth--
                    else if (depth == 0 && c == ",") { print word; word = "" }
                    else if (depth == 0 && c != " ") word = word c
                } }' |
            sed -e 's/:.*//' | { grep -E '^[a-z_]+$' || true; } | sort -u | while read -r imported; do
            if [ "$imported" != "$module" ] && { [ -e "$src/$imported.rs" ] || [ -d "$src/$imported" ]; }; then
                printf '%s %s\n' "$module" "$imported"
            fi
        done
    done | sort -u
}

failed=0
for src in services/signal/src services/tunnel/src clients/rust/src; do
    # tsort names the members of each cycle on standard error.
    if ! cycle=$(imports "$ROOT/$src" | tsort 2>&1 >/dev/null) || [ -n "$cycle" ]; then
        failed=1
        printf '%s: import cycle between modules:\n' "$src"
        printf '%s\n' "$cycle" | sed 's/^tsort: */  /'
    fi
done
[ "$failed" = 0 ] || fail "move what both sides need into a module below them"
