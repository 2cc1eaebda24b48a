#!/bin/sh
# coverage.sh BUILD [PERCENT-OF-LINES PERCENT-OF-BRANCHES]: how much of the readers and of the model's checks
# the tests reach, a line for each file and the sum; status 1 below 95 % of the lines or 85 % of the branches
# (or of what is given). Debian: packages gcovr and gcc. BUILD is configured here if it is none yet.
set -eu
if [ $# -lt 1 ]; then
    echo "usage: coverage.sh BUILD [PERCENT-OF-LINES PERCENT-OF-BRANCHES]" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
build=$(cd "$1" && pwd)

if [ ! -f "$build/CMakeCache.txt" ]; then
    cmake -S "$root" -B "$build" -G Ninja -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Debug \
        -DCMAKE_C_FLAGS="--coverage -O1" -DIVITI_BUILD_SHARED=OFF -DIVITI_INSTALL=OFF >/dev/null
fi
units=$(cd "$root/tests/unit" && ls test_*.c | sed 's/\.c$//' |
    grep -E '_(checked|format|model|checkpoint|session|codebook|stem|prune|statuses)')
harnesses="fuzz_model fuzz_safetensors fuzz_torch_zip fuzz_npz fuzz_pickle fuzz_legacy"
# shellcheck disable=SC2086
cmake --build "$build" --target $units $harnesses failures make_seeds >"$build/coverage-build.log" || {
    cat "$build/coverage-build.log" >&2
    exit 1
}
find "$build" -name '*.gcda' -delete
names=$(echo $units $harnesses failures fuzz_seeds | tr ' ' '|')
ctest --test-dir "$build" -R "^($names)\$" -j "$(nproc)" --output-on-failure >"$build/coverage-tests.log" || {
    cat "$build/coverage-tests.log" >&2
    exit 1
}
status=0
gcovr --root "$root" --object-directory "$build" --filter "$root/src/model/" --filter "$root/src/base/" \
    --filter "$root/tools/checkpoint/" --exclude "$root/src/base/cpu.c" --exclude "$root/src/base/threads.c" \
    --txt "$build/coverage.txt" --fail-under-line "${2:-95}" --fail-under-branch "${3:-85}" --print-summary \
    "$build/CMakeFiles" "$build/tools" "$build/tests" >"$build/summary.txt" || status=1
grep -v '^functions' "$build/summary.txt"
echo "files: $build/coverage.txt"
exit $status
