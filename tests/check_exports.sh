#!/bin/sh
# check_exports.sh NM INCLUDE STATIC [SHARED]: the shared library shows exactly what the public headers declare
# with IVITI_API, and the static one no global name outside iviti_.
set -eu
nm=$1
include=$2
static=$3
shared=${4:-}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Every declaration begins with IVITI_API and its name is what stands before the first bracket.
sed -n 's/^IVITI_API [^(]*[ *]\(iviti_[a-z0-9_]*\)(.*/\1/p' "$include"/iviti/*.h | LC_ALL=C sort >"$folder/declared"
declared=$(wc -l <"$folder/declared")
marked=$(cat "$include"/iviti/*.h | grep -c '^IVITI_API ')
if [ "$declared" -lt 40 ] || [ "$declared" -ne "$marked" ]; then
    echo "$include: $marked declarations are marked IVITI_API, $declared could be read" >&2
    exit 1
fi

foreign=$("$nm" -g --defined-only "$static" 2>/dev/null | awk 'NF == 3 && $3 !~ /^_?iviti_/ { print $3 }')
if [ -n "$foreign" ]; then
    echo "$static defines global names that are not the project's:" $foreign >&2
    exit 1
fi
if [ -z "$shared" ]; then
    echo "$declared declared; no shared library was built"
    exit 0
fi
"$nm" -D --defined-only "$shared" | awk '{ print $3 }' | LC_ALL=C sort >"$folder/exported"
if ! diff "$folder/declared" "$folder/exported" >"$folder/difference"; then
    echo "$shared: < declared but not exported, > exported but not declared:" >&2
    cat "$folder/difference" >&2
    exit 1
fi
echo "$shared exports the $declared functions that the headers declare, and nothing else"
