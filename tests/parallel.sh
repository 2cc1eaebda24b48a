#!/bin/sh
# parallel.sh SOURCE BUILD: GNU parallel hands 600 lines, some of them bad, to several workers in the ways that
# tools/SCALE.md shows. The results must be complete and equal to those of a single run, and in order where
# that was asked for. Status 77 and a sentence where GNU parallel is not installed.
set -eu
source=$(cd "$1" && pwd)
build=$(cd "$2" && pwd)
PATH=$build:$PATH
export PATH
if ! parallel --version 2>/dev/null | grep -q '^GNU parallel'; then
    echo "skipped: GNU parallel is not installed"
    exit 77
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HOME="$folder" # where parallel keeps notes
cp "$source/models/digits-vit.gguf" model.gguf
cp "$source"/tests/pictures/*.png .

i=0
while [ $i -lt 600 ]; do
    case $((i % 13)) in
    10) echo large-7.png ;;
    11) echo "absent $i.png" ;;
    12) echo model.gguf ;;
    *) echo digit-$((i % 10)).png ;;
    esac
    i=$((i + 1))
done >paths.txt

# The time is the one thing that may differ.
timeless() { sed 's/,"ms":[0-9.]*//'; }
compare() {
    cmp single.jsonl "$1" || {
        echo "$1: $(wc -l <"$1") lines, other than those of a single run" >&2
        exit 1
    }
}

iviti-classify --json --logits --threads 1 model.gguf - <paths.txt 2>/dev/null | timeless >single.jsonl
[ "$(wc -l <single.jsonl)" -eq 600 ]
[ "$(grep -c '"error"' single.jsonl)" -eq 92 ]

echo "blocks of lines to long-lived workers, results in the order of the input"
parallel --will-cite --pipe -N 50 -j 3 --keep-order iviti-classify --json --logits --threads 1 model.gguf - \
    <paths.txt 2>/dev/null | timeless >ordered.jsonl
compare ordered.jsonl

echo "the same workers from the first line to the last, results as they come"
parallel --will-cite --pipe --round-robin -N 20 -j 3 --line-buffer \
    iviti-classify --json --logits --threads 1 model.gguf - <paths.txt 2>/dev/null | timeless | LC_ALL=C sort >mixed
LC_ALL=C sort single.jsonl >wanted
cmp wanted mixed

echo "paths as arguments, as many as a command line holds"
parallel --will-cite -X -j 3 --keep-order -n 100 iviti-classify --json --logits --threads 1 model.gguf \
    <paths.txt 2>/dev/null | timeless >arguments.jsonl
compare arguments.jsonl

echo "a file in parts that the parallel program reads itself"
parallel --will-cite --pipe-part -a paths.txt --block -2 -j 3 --keep-order \
    iviti-classify --json --logits --threads 1 model.gguf - 2>/dev/null | timeless >parts.jsonl
compare parts.jsonl
echo "the script of an array of jobs, as the page has it, task by task"
sed -n '/^    #!\/bin\/sh/,/^$/s/^    //p' "$source/tools/SCALE.md" >array.sh
grep -q SLURM_ARRAY_TASK_ID array.sh
for task in 0 1 2 3; do
    SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_ID=$task sh -e array.sh 2>/dev/null
done
cat results/part-*.jsonl | timeless | sed 's/,"logits":.*}/}/' | LC_ALL=C sort >mixed
sed 's/,"logits":.*}/}/' single.jsonl | LC_ALL=C sort >wanted
cmp wanted mixed
echo "600 lines, five ways, the same results"
