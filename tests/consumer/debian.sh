#!/bin/sh
# debian.sh SOURCE BUILD CPACK: makes the Debian package of BUILD, unpacks it into a folder of its own, and runs
# what is in it. As root with --install as fourth argument it installs and removes the package for real.
# Status 77 and a sentence where the Debian tools are not installed.
set -eu
source=$(cd "$1" && pwd)
build=$(cd "$2" && pwd)
cpack=$3
for tool in dpkg-deb dpkg-shlibdeps file; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: $tool is not installed"
        exit 77
    fi
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

(cd "$build" && "$cpack" -G DEB -B "$folder") >"$folder/log" 2>&1 || { cat "$folder/log" >&2 && exit 1; }
package=$(ls "$folder"/*.deb)
dpkg-deb -f "$package" Package Version Architecture Depends Installed-Size
dpkg-deb -f "$package" Depends | grep -q libc6
dpkg-deb -x "$package" "$folder/root"

# classified PREFIX: the program and the model of an installation agree on a four.
classified() {
    "$1/bin/iviti-classify" -k 1 "$1/share/iviti/models/digits-vit.gguf" "$source/tests/pictures/digit-4.png" |
        grep -q '% *4$'
}
classified "$folder/root/usr"
for place in include/iviti/iviti.h lib/libiviti.a lib/libiviti.so share/doc/iviti/copyright \
    share/man/man1/iviti-classify.1 share/bash-completion/completions/iviti-classify; do
    if [ -z "$(find "$folder/root/usr" -path "*/$place" -o -path "*/lib/*/${place#lib/}" | head -n 1)" ]; then
        echo "$place is not in the package" >&2
        exit 1
    fi
done

if [ "${4:-}" = --install ]; then
    dpkg -i "$package"
    classified /usr
    cc "$source/tests/consumer/program.c" $(pkg-config --cflags --libs iviti) -o "$folder/program"
    "$folder/program" "$(pkg-config --variable=modelsdir iviti)/digits-vit.gguf"
    dpkg -r iviti
fi
echo "${package##*/} unpacks and runs"
