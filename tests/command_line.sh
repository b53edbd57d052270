# Checks of command lines, for scripts that are given the folder of the binaries: `call` and `refuse` run one in an empty folder,
# `says`, `shows`, `hides`, `value` and `same` look at what came out. `launcher` is a command in front of the binary, `limit` its seconds. `finish` reports. Sourced, not run.
set -uo pipefail
bin=$(cd "$1" && pwd)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
empty=$work/empty
mkdir "$empty"
cd "$empty" || exit 1

checks=0
failures=0
case=
launcher=()
limit=60
fail() {
  failures=$((failures + 1))
  echo "FAILED: $case: $*"
  sed 's/^/  out| /' "$work/out" | head -n 3
  sed 's/^/  err| /' "$work/err" | head -n 3
}
call() { # EXPECTED_CODE MODEL FLAG ...
  case="${*:2}"
  checks=$((checks + 1))
  timeout "$limit" "${launcher[@]}" "$bin/$2" "${@:3}" >"$work/out" 2>"$work/err"
  local code=$?
  [ $code = "$1" ] || fail "exit code $code, expected $1"
}
refuse() { # MODEL FRAGMENT FLAG ...
  call 2 "$1" "${@:3}"
  [ "$(wc -l <"$work/err")" = 1 ] || fail "expected one line on standard error"
  [ ! -s "$work/out" ] || fail "expected nothing on standard output"
  case $(cat "$work/err") in "$1: error: "*) ;; *) fail "expected a line that begins with '$1: error: '" ;; esac
  grep -qF -- "$2" "$work/err" || fail "the line lacks: $2"
  [ -z "$(ls -A "$empty")" ] || { fail "left behind: $(ls -A "$empty")"; rm -rf "${empty:?}"/*; }
}
shows() { grep -qE -- "$1" "${2-$work/out}" || fail "lacks: $1"; } # EXPRESSION [FILE]
hides() { ! grep -qE -- "$1" "${2-$work/out}" || fail "has: $1"; }
says() { grep -qF -- "$1" "$2" || fail "$(basename "$2") lacks: $1"; }
value() { sed -n "s/.*\"$1\": *\"\{0,1\}\([^,\"}]*\).*/\1/p" "$2" | head -n 1; } # KEY FILE -> its value in JSON
same() { [ "$1" = "$2" ] || fail "$3: '$1', expected '$2'"; }
finish() { # NAME
  if [ $failures = 0 ]; then echo "$1: all $checks command lines behaved"; else echo "$1: $failures checks failed"; exit 1; fi
}
