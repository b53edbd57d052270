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
# The archives, small: what is wanted of them, and something else.
mkdir -p "$work/tree/cifar-10-batches-bin" "$work"/tree/aclImdb/{train,test}/{neg,pos} "$work/tree/aclImdb/train/unsup" "$work/tree/SST-2"
for file in cifar-10-batches-bin/{readme.html,test_batch.bin} aclImdb/README aclImdb/train/unsup/0_0.txt \
  aclImdb/{train,test}/{neg,pos}/{0_1,10_2,9_3}.txt SST-2/{train,dev,test}.tsv; do
  seq -f "$file %g" 3000 > "$work/tree/$file"
done
tar -C "$work/tree" -czf "$work/site/cifar-10-binary.tar.gz" cifar-10-batches-bin
tar -C "$work/tree" -czf "$work/site/aclImdb_v1.tar.gz" aclImdb
(cd "$work/tree" && python3 -m zipfile -c "$work/site/SST-2.zip" SST-2)
archive_line() { # SET ARCHIVE FILE...: a line of the table, its files in the order of their names
  local wanted=$1\ $2
  shift 2
  echo "$wanted $(cd "$work/tree" && LC_ALL=C sha256sum "$@" | sha256sum | cut -d' ' -f1) ${paths:-$*}"
}
{
  archive_line cifar10 cifar-10-binary.tar.gz cifar-10-batches-bin/test_batch.bin
  (cd "$work/tree" && echo aclImdb/{test,train}/{neg,pos}/{0_1,10_2,9_3}.txt) > "$work/reviews"
  # shellcheck disable=SC2046
  paths="aclImdb/train/neg aclImdb/train/pos aclImdb/test/neg aclImdb/test/pos" archive_line imdb aclImdb_v1.tar.gz $(cat "$work/reviews")
  paths="SST-2/train.tsv SST-2/dev.tsv" archive_line sst2 SST-2.zip SST-2/dev.tsv SST-2/train.tsv
} >> "$work/table"
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

clean() { # FOLDER: the only thing beside mnist
  [ -z "$(find "$work/data" -mindepth 1 -maxdepth 1 ! -name mnist ! -name "${1:-none}")" ] || fail "left behind: $(ls -A "$work/data")"
}
archive_cases() { # SET ARCHIVE FOLDER WANTED_FILE OTHER_FILE
  case="$1: downloads and unpacks what is wanted"
  run 0 "$1" "$work/data"
  cmp -s "$work/data/$4" "$work/tree/$4" || fail "$4 differs from the original"
  absent "$work/data/$5"; says "$1 is complete"; clean "$3"

  case="$1: skips what is whole"
  run 0 "$1" "$work/data"
  says "already there"
  [ ! -s "$work/site.log" ] || fail "asked the server for something"
  rm -r "$work/data/$3"

  case="$1: refuses a damaged archive"
  cp "$work/site/$2" "$work/original"
  head -c 700 "$work/original" > "$work/site/$2"
  run 1 "$1" "$work/data"
  says "refused"; says "not a whole archive"; says "$2"; clean
  mv "$work/original" "$work/site/$2"
}
archive_cases cifar10 cifar-10-binary.tar.gz cifar-10-batches-bin cifar-10-batches-bin/test_batch.bin cifar-10-batches-bin/readme.html
archive_cases imdb aclImdb_v1.tar.gz aclImdb aclImdb/test/pos/9_3.txt aclImdb/train/unsup
if command -v unzip >/dev/null; then
  archive_cases sst2 SST-2.zip SST-2 SST-2/dev.tsv SST-2/test.tsv
else
  echo "sst2 not tested: no unzip"
fi
archive=aclImdb_v1.tar.gz
review=$work/data/aclImdb/train/neg/0_1.txt

case="resumes a part of an archive"
head -c 500 "$work/site/$archive" > "$work/data/$archive.part"
run 0 imdb "$work/data"
served "206 /$archive"; clean aclImdb
cmp -s "$review" "$work/tree/aclImdb/train/neg/0_1.txt" || fail "a review differs from the original"

case="leaves changed content alone and says so"
echo x >> "$review"
run 1 imdb "$work/data"
says "damaged"
[ "$(tail -n 1 "$review")" = x ] || fail "the file was changed"
rm "$review"
run 1 imdb "$work/data"
says "damaged"; absent "$review"
rm -r "$work/data/aclImdb"

case="takes an archive that was brought"
cp "$work/site/$archive" "$work/data/$archive"
run 0 imdb "$work/data"
[ ! -s "$work/site.log" ] || fail "asked the server for something"
clean aclImdb

case="notices a review too many"
echo x > "$work/data/aclImdb/train/neg/99_1.txt"
run 1 imdb "$work/data"
says "damaged"
rm -r "$work/data/aclImdb"

case="refuses an archive with other content"
cp "$work/site/$archive" "$work/original"
echo x >> "$work/tree/aclImdb/train/neg/0_1.txt"
tar -C "$work/tree" -czf "$work/site/$archive" aclImdb
run 1 imdb "$work/data"
says "refused"; says "expected $(awk '$1 == "imdb" { print $3 }' "$work/table")"; clean
rm -r "$work/tree/aclImdb/train/neg"
tar -C "$work/tree" -czf "$work/site/$archive" aclImdb
run 1 imdb "$work/data"
says "refused"; clean
mv "$work/original" "$work/site/$archive"

case="offline: says what to do"
kill "$server"; wait "$server" 2>/dev/null; server=
rm "$folder/$labels"
run 1 mnist "$work/data"
[ "$(grep -c downloading "$work/output")" = 1 ] || fail "goes on trying a mirror that does not answer"
says "Without a connection"; says "$(awk '/images/ { print $3 }' "$work/table")"; says "$folder"; absent "$folder/$images"

case="offline: says which archive to bring"
run 1 imdb "$work/data"
says "put them into $work/data/ and run"; says "aclImdb_v1.tar.gz  $(awk '$1 == "imdb" { print $3 }' "$work/table")"

case="wrong usage"
run 2
run 2 mnist a b
run 2 no_such_set
says "no_such_set"
run 2 --no-such-option
run 0 --help
says "FLYBALL_MIRROR"

if [ $failures = 0 ]; then echo "fetch: all cases passed"; else echo "fetch: $failures checks failed"; exit 1; fi
