#!/bin/sh
# test.sh CLASSIFY [FOLDER]: makes the page (build.sh), opens it in a headless Chromium and compares the logits of
# all test pictures, of both shipped models, with those of CLASSIFY, the native iviti-classify; then drops files
# onto the page. Status 77 and a sentence where Emscripten or Chromium is not installed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
classify=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
folder=${2:-$root/build-web}
for tool in emcc chromium; do
    command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed" && exit 77; }
done
"$here/build.sh" "$folder"
cd "$root/tests/pictures"

{
    sed '/<\/body>/,$d' "$folder/iviti.html"
    printf '<script>\nconst PICTURES = {'
    for picture in *.png; do
        printf '"%s": "%s",\n' "$picture" "$(base64 -w 0 "$picture")"
    done
    printf '};\n'
    cat "$here/test.js"
    printf '</script>\n</body>\n</html>\n'
} >"$folder/test.html"

for model in digits-vit cifar10-swin; do
    "$classify" --json --logits "$root/models/$model.gguf" *.png |
        sed "s/^{\"image\":\"\([^\"]*\)\".*\"logits\":\[\([-0-9,]*\)\].*/$model \1 \2/"
done >"$folder/wanted.txt"
cat >>"$folder/wanted.txt" <<'END'
said large-7.png: N ms with digits-vit
class 7
rows 5
attention drawn
said text.png: this browser cannot read it as a picture
said text.gguf: the file does not begin with GGUF: it is not a model
said mine.gguf is loaded, 10 classes; now a picture
attention of a Swin hidden
resources 0
end
END

# One try: a Chromium of its own, until it has printed everything, or has ended, or a minute is over.
open_page() {
    home=$(mktemp -d)
    HOME=$home chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$home" \
        --remote-debugging-port=0 --enable-logging=stderr "file://$folder/test.html" 2>"$folder/chromium.log" &
    browser=$!
    for second in $(seq 60); do
        grep -q 'RESULT end TLUSER' "$folder/chromium.log" && break
        kill -0 $browser 2>/dev/null || break
        sleep 1
    done
    kill $browser 2>/dev/null || true
    wait $browser || true
    rm -rf "$home"
    grep -q 'RESULT end TLUSER' "$folder/chromium.log"
}
# On a busy machine a browser now and then does not come up at all.
open_page || open_page || open_page || echo "the browser did not finish; this is what there is:" >&2
sed -n 's/.*"RESULT \(.*\) TLUSER".*/\1/p' "$folder/chromium.log" >"$folder/result.txt"
if ! diff "$folder/wanted.txt" "$folder/result.txt"; then
    echo "< native, > in the browser; $folder/chromium.log has all that it said" >&2
    exit 1
fi
echo "$(grep -c 'png [-0-9]*,' "$folder/wanted.txt") pictures have the same logits in Chromium, and the page works"
