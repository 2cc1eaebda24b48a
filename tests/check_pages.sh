#!/bin/sh
# check_pages.sh BUILD: man pages and completions name every option of --help, and the programs that read them
# (man, bash, zsh, fish; each where installed) find nothing to complain about and complete what they should.
set -eu
build=$(cd "$1" && pwd)
pages=$build/pages
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
fail() {
    echo "$*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null || { echo "$1 is not installed: its part is not checked" && return 1; }
}

programs=0
for page in "$pages"/man/*; do
    name=${page##*/}
    programs=$((programs + 1))
    options=$("$build/$name" --help | sed -n 's/^  .*--\([a-z][a-z0-9-]*\).*/\1/p' | sort -u)
    [ "$(echo "$options" | wc -l)" -ge 5 ] || fail "$name --help names few options: $options"
    for option in $options; do
        escaped=$(echo "$option" | sed 's/-/\\\\-/g')
        grep -q -e "\\\\-\\\\-$escaped\\\\fR" "$page" || fail "$page: --$option is missing"
        grep -q -e "--$option[ ')|=]" "$pages/bash/$name" || fail "bash/$name: --$option is missing"
        grep -q -e "--$option[},=[]" "$pages/zsh/$name" || fail "zsh/$name: --$option is missing"
        grep -q -e " -l $option " "$pages/fish/$name" || fail "fish/$name: --$option is missing"
    done
done
[ "$programs" -ge 5 ] || fail "only $programs man pages in $pages/man"

if have man; then
    for page in "$pages"/man/*; do
        LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l "$page" >shown 2>complaints
        [ ! -s complaints ] || fail "$(cat complaints)"
        [ "$(wc -l <shown)" -gt 40 ] || fail "$page is nearly empty"
    done
fi

touch photo.jpg model.gguf
mkdir photos
if have bash; then
    cat >try.bash <<'END'
# complete PROGRAM WORD...: prints what bash offers for the last word
offers() {
    source "$PAGES/bash/$1"
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    "_${1//-/_}" "$1" "${!#}" 2>/dev/null
    echo "${COMPREPLY[*]}"
}
END
    offered() {
        wanted=$1
        shift
        got=$(PAGES=$pages bash -c 'source ./try.bash && offers "$@"' - "$@")
        [ "$got" = "$wanted" ] || fail "bash offers '$got' for '$*', not '$wanted'"
    }
    offered "avx2 avxvnni avx512vnni" iviti-classify --isa avx
    offered "avx2 avxvnni avx512vnni" iviti-classify --isa = avx
    offered "--logits" iviti-classify model.gguf --lo
    offered "photo.jpg photos" iviti-classify model.gguf pho
    offered "photos" iviti-eval model.gguf --images pho
    offered "" iviti-classify -k ""
fi
if have zsh; then
    for page in "$pages"/zsh/*; do
        zsh -n "$page" || fail "$page is no zsh"
        head -n 1 "$page" | grep -q "^#compdef ${page##*/}\$" || fail "$page: no #compdef"
    done
fi
if have fish; then
    for page in "$pages"/fish/*; do
        fish -n "$page" || fail "$page is no fish"
    done
    got=$(HOME=$folder fish --no-config -c "source $pages/fish/iviti-classify; complete -C 'iviti-classify --isa avx'" |
        cut -f 1 | sort | tr '\n' ' ')
    [ "$got" = "avx2 avx512vnni avxvnni " ] || fail "fish offers '$got' for --isa avx"
fi
echo "pages of $programs programs"
