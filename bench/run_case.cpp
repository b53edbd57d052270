// Runs benchmark cases of tests/op_cases.h once, unchecked and untimed, for programs that look on
// from outside: the counters of the simulated GPU, a profiler. Usage: run_case DEVICE TITLE ..., or
// run_case for the list of titles.

#include <cstdio>
#include <string>

#include "tests/op_cases.h"

int main(int argc, char** argv) {
  using namespace flyball;
  using namespace flyball::testing;
  try {
    const std::vector<OpCase> cases = op_cases();
    if (argc < 3) {
      for (const OpCase& op : cases) {
        if (op.benchmark) std::printf("%s\t%.0f\n", op.title().c_str(), op.flops);
      }
      return 0;
    }
    const Stream stream(parse_device(argv[1]));
    for (int i = 2; i < argc; ++i) {
      const std::string title = argv[i];
      const auto op = std::find_if(cases.begin(), cases.end(), [&](const OpCase& one) {
        return one.benchmark && one.title() == title;
      });
      if (op == cases.end()) throw Error(str("no benchmark case is called '", title, "'"));
      const DType real = op->runs(DType::f32, stream.device().kind) ? DType::f32 : DType::bf16;
      const Operands operands(stream, *op, real, 1, 0);
      op->prepare(operands)(stream);
      stream.synchronize();
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "run_case: %s\n", error.what());
    return 2;
  }
}
