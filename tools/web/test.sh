#!/bin/sh
# test.sh CLASSIFY [FOLDER]: makes the page (build.sh), opens it in a headless Chromium and compares the logits of
# all test pictures, of both shipped models, with those of CLASSIFY, the native iviti-classify; then drops files
# onto the page. Status 77 and a sentence where Emscripten or Chromium is not installed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
classify=$1
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
said text.png: this browser cannot read it as a picture
said text.gguf: the file does not begin with GGUF: it is not a model
said mine.gguf is loaded, 10 classes; now a picture
resources 0
end
END

home=$(mktemp -d)
HOME=$home chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$home" \
    --remote-debugging-port=0 --enable-logging=stderr "file://$folder/test.html" 2>"$folder/chromium.log" &
browser=$!
trap 'kill $browser; wait $browser 2>/dev/null; rm -rf "$home"' EXIT
for second in $(seq 120); do
    grep -q 'RESULT end TLUSER' "$folder/chromium.log" && break
    kill -0 $browser || break
    sleep 1
done
sed -n 's/.*"RESULT \(.*\) TLUSER".*/\1/p' "$folder/chromium.log" >"$folder/result.txt"
if ! diff "$folder/wanted.txt" "$folder/result.txt"; then
    echo "< native, > in the browser; $folder/chromium.log has all that it said" >&2
    exit 1
fi
echo "$(grep -c , "$folder/wanted.txt") pictures have the same logits in Chromium, and the page works"
