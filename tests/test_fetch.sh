#!/usr/bin/env bash
# datasets/fetch against a web server on this machine: download, skip, resume, refuse, offline.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
fetch=$root/datasets/fetch
for tool in curl python3; do
  command -v $tool >/dev/null || { echo "skipped: needs $tool"; exit 77; }
done
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
mkdir "$work/site"
cp "$root"/datasets/samples/mnist/t10k-*.gz "$work/site"
for file in "$work"/site/*.gz; do
  echo "mnist $(basename "$file") $(gunzip -c "$file" | sha256sum | cut -d' ' -f1)"
done > "$work/table"
export FLYBALL_CHECKSUMS=$work/table

# Honours "Range: bytes=N-" unless its file `whole_only` exists; logs status and path.
cat > "$work/server.py" <<'P'
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = sys.argv[1] + self.path
        if not os.path.exists(path): return self.send_error(404)
        data, start, wanted = open(path, 'rb').read(), 0, self.headers.get('Range')
        if wanted and not os.path.exists(sys.argv[1] + '/whole_only'): start = int(wanted[6:].split('-')[0])
        if start >= len(data): return self.send_error(416)
        self.send_response(206 if start else 200)
        if start: self.send_header('Content-Range', f'bytes {start}-{len(data) - 1}/{len(data)}')
        self.send_header('Content-Length', str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:])
    def log_message(self, form, *args): pass
    def log_request(self, code='-', size='-'):
        with open(sys.argv[1] + '.log', 'a') as log: log.write(f'{int(code)} {self.path}\n')
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
open(sys.argv[1] + '.port.part', 'w').write(str(server.server_port))
os.rename(sys.argv[1] + '.port.part', sys.argv[1] + '.port')
server.serve_forever()
P
python3 "$work/server.py" "$work/site" &
server=$!
for _ in $(seq 100); do [ -e "$work/site.port" ] && break; sleep 0.1; done
FLYBALL_MIRROR=http://127.0.0.1:$(cat "$work/site.port")
export FLYBALL_MIRROR
export no_proxy=127.0.0.1

failures=0
images=t10k-images-idx3-ubyte.gz
labels=t10k-labels-idx1-ubyte.gz
folder=$work/data/mnist
: > "$work/output"
run() { # EXPECTED_CODE, then the arguments of datasets/fetch
  local expected=$1
  shift
  : > "$work/site.log"
  "$fetch" "$@" > "$work/output" 2>&1
  local code=$?
  [ $code = "$expected" ] || fail "exit code $code, expected $expected"
}
fail() {
  failures=$((failures + 1))
  echo "FAILED: $case: $*"
  sed 's/^/  | /' "$work/output"
}
says() { grep -qF -- "$1" "$work/output" || fail "the output lacks: $1"; }
served() { grep -qx -- "$1" "$work/site.log" || fail "the server did not answer '$1' but: $(cat "$work/site.log")"; }
same() { cmp -s "$work/site/$1" "$folder/$1" || fail "$1 differs from the original"; }
absent() { [ ! -e "$1" ] || fail "$1 is there"; }

case="downloads both files"
run 0 mnist "$work/data"
same $images; same $labels; says "mnist is complete"; absent "$folder/$images.part"

case="skips what is whole"
run 0 mnist "$work/data"
says "already there"
[ ! -s "$work/site.log" ] || fail "asked the server for something"

case="resumes a part"
rm "$folder/$images"
head -c 100000 "$work/site/$images" > "$folder/$images.part"
run 0 mnist "$work/data"
served "206 /$images"; says "at byte 100000"; same $images; absent "$folder/$images.part"

case="takes a finished part"
mv "$folder/$images" "$folder/$images.part"
run 0 mnist "$work/data"
same $images
[ ! -s "$work/site.log" ] || fail "asked the server for something"

case="starts again after a damaged part"
rm "$folder/$images"
head -c 50000 /dev/zero > "$folder/$images.part"
run 0 mnist "$work/data"
served "206 /$images"; served "200 /$images"; says "refused"; same $images

case="starts again after a part longer than the file"
rm "$folder/$images"
head -c 300000 /dev/zero > "$folder/$images.part"
run 0 mnist "$work/data"
served "416 /$images"; same $images

case="starts again where the server cannot resume"
rm "$folder/$images"
head -c 100000 "$work/site/$images" > "$folder/$images.part"
touch "$work/site/whole_only"
run 0 mnist "$work/data"
rm "$work/site/whole_only"
same $images

case="refuses a damaged file of the mirror"
rm "$folder/$images"
cp "$work/site/$images" "$work/original"
printf 'x' | dd of="$work/site/$images" bs=1 seek=70000 conv=notrunc status=none
run 1 mnist "$work/data"
says "refused"; says "Missing"; absent "$folder/$images"; absent "$folder/$images.part"
mv "$work/original" "$work/site/$images"

case="leaves a damaged file alone and says so"
echo "something else" > "$folder/$images"
run 1 mnist "$work/data"
says "damaged"
[ "$(cat "$folder/$images")" = "something else" ] || fail "the file was changed"
rm "$folder/$images"

case="reports a file that the mirror lacks"
mv "$work/site/$images" "$work/original"
run 1 mnist "$work/data"
served "404 /$images"; says "no mirror"
mv "$work/original" "$work/site/$images"

case="offline: says what to do"
kill "$server"; wait "$server" 2>/dev/null; server=
rm "$folder/$labels"
run 1 mnist "$work/data"
[ "$(grep -c downloading "$work/output")" = 1 ] || fail "goes on trying a mirror that does not answer"
says "Without a connection"; says "$(awk '/images/ { print $3 }' "$work/table")"; says "$folder"; absent "$folder/$images"

case="wrong usage"
run 2
run 2 mnist a b
run 2 no_such_set
says "no_such_set"
run 2 --no-such-option
run 0 --help
says "FLYBALL_MIRROR"

if [ $failures = 0 ]; then echo "fetch: all cases passed"; else echo "fetch: $failures checks failed"; exit 1; fi
