#!/usr/bin/env bash
# Who may include whom, how long a file may be, and that no source knows a home folder.
# Usage: check_includes.sh [ROOT], or --self-test: every rule catches a planted violation.
set -uo pipefail
self=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
folders=(kernels framework schedulers datasets models tests bench)
most_lines=400

# What the files of a folder may include between quotes, as a regular expression. Longer folders come first.
allowed() {
  case $1 in
    schedulers/rules/*) echo '^schedulers/rules/' ;;
    kernels/*) echo '^(kernels|schedulers/rules)/' ;;
    framework/*) echo '^(framework|kernels|schedulers/rules)/' ;;
    schedulers/*) echo '^((schedulers|framework)/|kernels/error\.h$)' ;;
    datasets/*) echo '^(datasets|framework|kernels)/' ;;
    models/*) echo '^(models|datasets|schedulers|framework|kernels)/' ;;
    *) echo '^(tests|bench|models|datasets|schedulers|framework|kernels)/' ;;
  esac
}

check() { # ROOT
  cd "$1" || exit 2
  local found=()
  for folder in "${folders[@]}" .ci; do [ ! -d "$folder" ] || found+=("$folder"); done
  [ ${#found[@]} -gt 0 ] || { echo "$1: none of the folders ${folders[*]}"; exit 2; }
  local problems
  problems=$(
    # file:line:included, where included still has its quotes or brackets.
    grep -rnE --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh' '^[[:space:]]*#[[:space:]]*include' "${found[@]}" |
      sed -E 's/^([^:]*:[0-9]+):[^<"]*([<"][^>"]*[>"]).*/\1 \2/' |
      while read -r place included; do
        file=${place%%:*}
        name=${included:1:-1}
        if [[ $included == \"* ]]; then
          [[ $name =~ $(allowed "$file") ]] || echo "$place: must not include $included, allowed: $(allowed "$file")"
          [ -e "$name" ] || echo "$place: $included does not exist, expected a path from the top folder"
        elif [[ $name =~ ^(kernels|framework|schedulers|datasets|models|tests|bench)/ ]]; then
          echo "$place: $included is ours, expected quotes"
        fi
        if [[ $file =~ ^kernels/[^/]*\.h$ && $name =~ ^(cuda|cublas|cudnn|curand|nvrtc|cooperative_groups|mma\.h|thrust/|cub/) ]]; then
          echo "$place: a public kernel header must not include $included: it is read without CUDA, too"
        fi
      done
    # Sources: by their endings, and scripts without one. Samples and golden values are data.
    while IFS= read -r file; do
      lines=$(wc -l <"$file")
      [ "$lines" -le $most_lines ] || echo "$file: $lines lines, expected at most $most_lines"
    done < <(
      find "${found[@]}" -path datasets/samples -prune -o -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \
        -o -name '*.py' -o -name '*.sh' -o -name CMakeLists.txt -o -perm -u+x ! -name '*.*' \) -print
      find . -maxdepth 1 -type f \( -name CMakeLists.txt -o -perm -u+x ! -name '*.*' \)
    )
    { find "${found[@]}" -type f ! -name '*.gz' ! -name '*.pyc'; find . -maxdepth 1 -type f; } |
      xargs -d '\n' grep -nIE '(^|[^A-Za-z0-9_.$}])/(home|root|Users)/[A-Za-z0-9_]' /dev/null |
      sed -E 's/^([^:]*:[0-9]+):.*/\1: an absolute home path/'
  )
  [ -z "$problems" ] || { echo "$problems"; return 1; }
  echo "includes: $(find "${found[@]}" \( -name '*.h' -o -name '*.cpp' \) | wc -l) files keep the rules"
}

self_test() {
  local failures=0
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  fresh() { # a small tree that keeps every rule
    rm -rf "$work/tree"
    mkdir -p "$work"/tree/{kernels/cpu,framework,schedulers/rules,datasets,models,tests,bench}
    for header in kernels/error.h kernels/gemm.h kernels/cpu/parallel.h framework/tensor.h schedulers/rules/rule.h \
      schedulers/schedules.h datasets/mnist.h models/cnn.h tests/testing.h bench/clock.h; do
      echo '#pragma once' >"$work/tree/$header"
    done
    echo '#include "schedulers/rules/rule.h"' >>"$work/tree/kernels/gemm.h"
    printf '#include "framework/tensor.h"\n#include "kernels/error.h"\n' >>"$work/tree/schedulers/schedules.h"
    printf '#include "kernels/gemm.h"\n#include <vector>\n' >>"$work/tree/framework/tensor.h"
    printf '#include "bench/clock.h"\n#include "tests/testing.h"\n' >>"$work/tree/bench/clock.h"
  }
  catches() { # WHAT FILE LINE: with LINE in FILE the check must fail and name FILE
    fresh
    mkdir -p "$(dirname "$work/tree/$2")"
    printf '%s\n' "$3" >>"$work/tree/$2"
    if bash "$self" "$work/tree" >"$work/output"; then
      failures=$((failures + 1)); echo "FAILED: not caught: $1"
    elif ! grep -q "^\(\./\)\?$2:" "$work/output" || [ "$(wc -l <"$work/output")" != 1 ]; then
      failures=$((failures + 1)); echo "FAILED: $1: expected one line about $2:"; cat "$work/output"
    fi
  }
  fresh
  bash "$self" "$work/tree" >"$work/output" || { failures=1; echo "FAILED: the tree that keeps the rules is refused:"; cat "$work/output"; }
  catches "kernels include framework" kernels/cpu/gemm.cpp '#include "framework/tensor.h"'
  catches "kernels include schedulers beside the rules" kernels/gemm.h '#include "schedulers/schedules.h"'
  catches "rules include kernels" schedulers/rules/rule.h '#include "kernels/error.h"'
  catches "framework includes schedulers beside the rules" framework/tensor.h '#include "schedulers/schedules.h"'
  catches "framework includes models" framework/tensor.h '  #  include "models/cnn.h"  // indented'
  catches "schedulers include kernels beside error.h" schedulers/schedules.h '#include "kernels/gemm.h"'
  catches "datasets include schedulers" datasets/mnist.h '#include "schedulers/rules/rule.h"'
  catches "datasets include models" datasets/mnist.h '#include "models/cnn.h"'
  catches "models include tests" models/cnn.h '#include "tests/testing.h"'
  catches "kernels include tests" kernels/gemm.h '#include "tests/testing.h"'
  catches "models include bench" models/cnn.h '#include "bench/clock.h"'
  catches "ours between brackets" models/cnn.h '#include <kernels/gemm.h>'
  catches "a header that does not exist" tests/testing.h '#include "tests/none.h"'
  catches "CUDA in a public kernel header" kernels/gemm.h '#include <cuda_runtime.h>'
  catches "a CUDA library in a public kernel header" kernels/gemm.h '#include <cublas_v2.h>'
  catches "CUDA file includes framework" kernels/cuda/gemm.cu '#include "framework/tensor.h"'
  catches "a long source" models/cnn.cpp "$(seq -f '// %g' 401)"
  catches "a long script" tests/long.sh "$(seq 401)"
  catches "a home path in a source" models/cnn.cpp "$(printf '// see /%s/someone/data' home)"
  catches "a home path in a text" models/README.md "$(printf '/%s/data' root)"
  catches "a home path at the top" README.md "$(printf 'in "/%s/me"' Users)"
  fresh
  printf '#include <cuda_runtime.h>\n' >"$work/tree/kernels/cpu/inner.h" # allowed below kernels/
  seq -f '// %g' 400 >"$work/tree/models/cnn.cpp"
  bash "$self" "$work/tree" >"$work/output" || { failures=1; echo "FAILED: refused without a reason:"; cat "$work/output"; }
  [ $failures = 0 ] || exit 1
  echo "self-test: every rule catches its violation"
}

case ${1:-} in
  --self-test) self_test ;;
  *) check "${1:-$(dirname "$self")/..}" ;;
esac
