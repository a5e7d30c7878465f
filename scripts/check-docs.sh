#!/usr/bin/env bash
# Checks the documentation and the words of the sources. Prints each problem as file:line, and what to write instead.
# Exit status: 0 no problem, 1 problems.
#
#   scripts/check-docs.sh              everything
#   scripts/check-docs.sh CHECK...     only these: length, sentences, links, words
#
# The checks of sentences and words skip lines between "check-docs: skip" and "check-docs: end", for tables that quote
# other texts.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
# Bytes are enough: what is matched is ASCII.
export LC_ALL=C

MAX_README_LINES=150
MAX_SENTENCE_WORDS=30
PAGES="README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md docs/*.md"
LINKED="$PAGES clients/web/README.md"
# Generated code repeats the comments of proto/.
WORDED="services/*/src services/signal/core clients/*/src proto docs README.md CONTRIBUTING.md"

# Words that are never right here: an extended regular expression in lower case, a tab, and what to write.
words() {
    cat <<'WORDS'
whoever	the client, member or caller that
somebody	a client, member or caller
anew	again, new
in vain	without success
by hand	manually
drawn by lot	chosen at random
told of	notified of, receives
tells? of	reports
(hears?|heard) of	receives, is notified of
given up	reset, abandoned
worth nothing	invalid
takes back	revokes, removes
beside	next to, together with, in addition to
what is said	messages, what is sent
put off	extended, renewed
turned away	rejected
sent away	drained
look(s|ed)? whether	check whether
goes by (a|the|its) token	uses, is bound to
port of (the )?members	public listener
port of (the )?operators	admin listener
back ends?	application server, backend
comes? of a guess	counts as a failed attempt
own making	self-signed, generated
farewell	final frames
last words	final frames
(is|are|was|were) there first	joined earlier
ma(ke|kes|de) place	evicts, frees capacity
lets? pass	accepts
in the same breath	together
at the most[,.;:)]	at most
of one's own	your own
WORDS
}

check_length() {
    local lines
    lines=$(wc -l <README.md)
    [ "$lines" -le "$MAX_README_LINES" ] ||
        printf 'README.md:%d: %d lines: move something to docs/, %d are allowed\n' $((MAX_README_LINES + 1)) "$lines" \
            "$MAX_README_LINES"
}

# A list item, a heading and a table cell end a sentence too.
check_sentences() {
    # shellcheck disable=SC2086 # several files
    awk -v max="$MAX_SENTENCE_WORDS" '
        function finish() {
            if (count > max) printf "%s: sentence of %d words, split it: %s...\n", start, count, opening
            count = 0
            opening = ""
        }
        function add(text,   i, n, tokens) {
            n = split(text, tokens, /[ \t]+/)
            for (i = 1; i <= n; i++) {
                if (tokens[i] !~ /[A-Za-z0-9]/) continue
                if (count == 0) start = FILENAME ":" FNR
                if (++count <= 6) opening = opening (count > 1 ? " " : "") tokens[i]
                if (tokens[i] ~ /[.!?]["\047)*_`]*$/) finish()
            }
        }
        FNR == 1 { finish(); fenced = skip = 0 }
        /check-docs: end/ { skip = 0 }
        /^[ \t]*(```|~~~)/ { fenced = !fenced; finish(); next }
        fenced || skip { next }
        /check-docs: skip/ { skip = 1 }
        {
            gsub(/!\[[^]]*\]\([^)]*\)/, "")
            gsub(/\]\([^)]*\)/, "")
            gsub(/<!--.*-->/, "")
        }
        /^[ \t]*$/ { finish(); next }
        /^#/ { finish(); add($0); finish(); next }
        /^[ \t]*\|/ {
            finish()
            cells = split($0, row, /\|/)
            for (c = 1; c <= cells; c++) { add(row[c]); finish() }
            next
        }
        /^[ \t]*([-*+]|[0-9]+\.)[ \t]/ { finish(); sub(/^[ \t]*([-*+]|[0-9]+\.)[ \t]/, "") }
        { add($0) }
        END { finish() }
    ' $PAGES
}

# file, line and target of every link in the Markdown files that are given.
links_in() {
    awk '
        FNR == 1 { fenced = 0 }
        /^[ \t]*(```|~~~)/ { fenced = !fenced; next }
        fenced { next }
        {
            gsub(/`[^`]*`/, "")
            while (match($0, /\]\([^)]*\)/)) {
                target = substr($0, RSTART + 2, RLENGTH - 3)
                sub(/[ \t].*/, "", target)
                printf "%s\t%d\t%s\n", FILENAME, FNR, target
                $0 = substr($0, RSTART + RLENGTH)
            }
        }
        /^\[[^]]+\]:[ \t]/ { printf "%s\t%d\t%s\n", FILENAME, FNR, $2 }
    ' "$@"
}

# The anchors that GitHub gives to the headings of a Markdown file.
anchors_in() {
    awk '
        /^[ \t]*(```|~~~)/ { fenced = !fenced; next }
        fenced { next }
        /^##* / {
            sub(/^##* */, "")
            gsub(/\]\([^)]*\)/, "")
            slug = tolower($0)
            gsub(/[^a-z0-9 _-]/, "", slug)
            gsub(/ /, "-", slug)
            print slug (seen[slug] ? "-" seen[slug] : "")
            seen[slug]++
        }
        match($0, /<a (id|name)="[^"]*"/) { split(substr($0, RSTART, RLENGTH), part, "\""); print part[2] }
    ' "$1"
}

check_links() {
    local file line target path anchor
    # shellcheck disable=SC2086 # several files
    links_in $LINKED | while IFS=$'\t' read -r file line target; do
        case $target in
            http://* | https://* | mailto:*) continue ;;
        esac
        path=${target%%#*}
        anchor=
        case $target in *'#'*) anchor=${target#*#} ;; esac
        if [ -z "$path" ]; then path=$file; else path=$(dirname "$file")/$path; fi
        if [ ! -e "$path" ]; then
            printf '%s:%d: broken link %s: there is no such file\n' "$file" "$line" "$target"
        elif [ -n "$anchor" ] && ! anchors_in "$path" | grep -Fqx -e "$anchor"; then
            printf '%s:%d: broken link %s: there is no such heading\n' "$file" "$line" "$target"
        fi
    done
}

check_words() {
    local place
    # shellcheck disable=SC2016,SC2086 # several places, with patterns; the dollars are those of awk
    for place in $WORDED; do
        [ ! -e "$place" ] || find "$place" -name gen -prune -o -type f ! -name '*.png' -print
    done | sort | tr '\n' '\0' | WORDS=$(words) xargs -0 awk '
        BEGIN {
            count = split(ENVIRON["WORDS"], entries, "\n")
            for (i = 1; i <= count; i++) {
                split(entries[i], part, "\t")
                pattern[i] = "[^a-z0-9_]" part[1] "[^a-z0-9_]"
                advice[i] = part[2]
                any = any (i > 1 ? "|" : "") part[1]
            }
        }
        function report(found, i) {
            gsub(/^[^a-z0-9]+|[^a-z0-9]+$/, "", found)
            printf "%s:%d: \"%s\": write %s\n", FILENAME, FNR, found, advice[i]
        }
        FNR == 1 { skip = 0; before = "" }
        /check-docs: end/ { skip = 0 }
        skip { before = ""; next }
        /check-docs: skip/ { skip = 1 }
        {
            line = tolower($0)
            sub(/^[ \t]*(\/\/[\/!]?|\*|#)?[ \t]*/, "", line)
            both = " " before " " line " "
            # A phrase may begin on the line before.
            if (both ~ any)
                for (i = 1; i <= count; i++) {
                    if (match(" " line " ", pattern[i])) report(substr(" " line " ", RSTART, RLENGTH), i)
                    else if (match(both, pattern[i]) && RSTART + RLENGTH - 1 > length(before) + 3)
                        report(substr(both, RSTART, RLENGTH), i)
                }
            before = line
        }
    '
}

[ $# -gt 0 ] || set -- length sentences links words
problems=
for check in "$@"; do
    case $check in
        length | sentences | links | words) problems=$problems$("check_$check")$'\n' ;;
        *) fail "unknown check $check: use length, sentences, links or words" ;;
    esac
done
problems=$(printf '%s' "$problems" | grep -v '^$' || true)
[ -z "$problems" ] || {
    printf '%s\n' "$problems"
    fail "problems found: $(printf '%s\n' "$problems" | wc -l | tr -d ' ')"
}
