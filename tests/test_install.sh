#!/usr/bin/env bash
# The installed package: a program outside the tree finds it, builds against it and trains. Usage: test_install.sh BUILD_FOLDER
set -euo pipefail
build=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
cached() { sed -n "s/^$1:[^=]*=//p" "$build/CMakeCache.txt"; }

cmake --install "$build" --prefix "$work/first" >"$work/log" 2>&1 || { cat "$work/log"; fail "cmake --install"; }
mv "$work/first" "$work/prefix" # nothing may remember where it was installed
prefix=$work/prefix

for file in bin/mnist_cnn bin/mnist_mlp include/flyball/framework/trainer.h include/flyball/kernels/gemm.h \
  include/flyball/schedulers/rules/adaptive.h include/flyball/datasets/mnist.h share/flyball/samples/mnist \
  share/flyball/samples/cifar10; do
  [ -e "$prefix/$file" ] || fail "not installed: $file"
done
[ -z "$(find "$prefix/include" -type f ! -name '*.h')" ] || fail "more than headers under include/"
headers=$(cd "$root" && find kernels framework schedulers datasets -name '*.h' | sort)
[ "$(cd "$prefix/include/flyball" && find . -name '*.h' | sed 's,^\./,,' | sort)" = "$headers" ] || fail "some headers are missing"
targets=$(find "$prefix" -name flyballTargets.cmake)
[ -n "$targets" ] || fail "no flyballTargets.cmake"
folder=$(dirname "$targets")
! grep -rnF -e "$root" -e "$build" -e "$work" "$folder" || fail "the package names a folder of the build"
# What the targets ask the user for: our own libraries, and the system's behind them.
asked=$(grep -h INTERFACE_LINK_LIBRARIES "$folder"/*.cmake | sed 's/.*LIBRARIES "\(.*\)"/\1/; s/\\\$<LINK_ONLY:\([^>]*\)>/\1/g' |
  tr ';' '\n' | grep -v -e '^flyball::' -e '^$' | sort -u | tr '\n' ' ')
for name in $asked; do
  case $name in
    CUDA::cudart | OpenMP::OpenMP_CXX | PNG::PNG | Threads::Threads | ZLIB::ZLIB | dnnl | turbojpeg) ;;
    *) fail "the targets ask for $name" ;;
  esac
done

mkdir "$work/program"
cat >"$work/program/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(program LANGUAGES CXX)
find_package(flyball 0.1 REQUIRED)
add_executable(program program.cpp)
target_link_libraries(program PRIVATE flyball::flyball)
CMAKE
cat >"$work/program/program.cpp" <<'CPP'
#include <cstdio>

#include "datasets/synthetic.h"
#include "framework/layers.h"
#include "framework/sample_loader.h"
#include "framework/trainer.h"
#include "schedulers/schedules.h"

using namespace flyball;

struct Network : Module {
  explicit Network(Initializer& init) : hidden(init, 64, 32, {.relu = true}), output(init, 32, 4) {}
  Variable forward(const Context& context, const Variable& x) const {
    return output.forward(context, hidden.forward(context, flatten(x)));
  }
  void visit(Visitor& visitor) override { visitor("hidden", hidden), visitor("output", output); }
  Linear hidden, output;
};

int main() {
  const Stream stream;
  const ImageDataset images(synthetic_images(512, 8, 8, 1, 4, 1));
  SampleLoader loader(stream, images, first_indices(512), {.batch_size = 32, .seed = 1});
  Initializer init(stream, 1);
  Network network(init);
  ParameterArena arena(stream, network);
  LearningRate rate(stream, make_rule("constant", 1e-2), {.steps_per_epoch = 16});
  Adam adam(stream, arena, rate);
  Trainer trainer(stream, [&](const Context& c, const Batch& b) { return network.forward(c, Variable(b.x)); }, adam, rate);
  for (int i = 0; i < 48; ++i) {
    trainer.step(loader.next());
    if (i % 16 == 15) std::printf("%.4f\n", trainer.last_result().loss.item(stream));
  }
}
CPP
flags=()
sanitize=$(cached FLYBALL_SANITIZE)
[ -z "$sanitize" ] || flags=(-DCMAKE_CXX_FLAGS="-fsanitize=$sanitize")
cmake -S "$work/program" -B "$work/program/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$prefix" \
  -DCMAKE_CXX_COMPILER="$(cached CMAKE_CXX_COMPILER)" "${flags[@]}" >"$work/log" 2>&1 || { cat "$work/log"; fail "find_package(flyball)"; }
cmake --build "$work/program/build" >"$work/log" 2>&1 || { cat "$work/log"; fail "the program does not build"; }
"$work/program/build/program" >"$work/losses" || fail "the program does not run"
[ "$(wc -l <"$work/losses")" = 3 ] || fail "expected three losses: $(tr '\n' ' ' <"$work/losses")"
awk 'NR == 1 { first = $1 } END { exit !($1 > 0 && $1 < first && $1 < 0.8) }' "$work/losses" ||
  fail "the loss did not fall: $(tr '\n' ' ' <"$work/losses")"
(cd "$work" && "$prefix/bin/mnist_mlp" --limit-train 64 --limit-eval 10 --epochs 1 --json >"$work/log" 2>&1) ||
  { cat "$work/log"; fail "the installed mnist_mlp"; }
echo "install: losses $(tr '\n' ' ' <"$work/losses")with $asked"
