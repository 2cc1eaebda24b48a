#!/bin/sh
# failures_convert.sh BUILD [ALL]: checkpoints of the smallest networks of each kind, converted with memory that
# runs out at each of the first ALL allocations and at some of the others (failures_convert.c).
set -eu
build=$(cd "$1" && pwd)
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
make() {
    name=$1
    shift
    "$build/tests/make-checkpoint" "$@" --classes 3 -o "$folder/$name.safetensors" >/dev/null
}
make vit --image 16 --patch 4 --dim 16 --heads 2 --depth 2
make predictor --image 16 --patch 4 --dim 16 --heads 2 --depth 2 --predictors 1
make swin --preset swin-t --image 32 --window 4 --dim 8 --heads 1,2 --depth 2,1
make stem --preset lvvit-s --image 32 --patch 16 --dim 16 --heads 2 --depth 2 --channels 4,4,4
"$build/tests/failures_convert" "$folder" "$@"
