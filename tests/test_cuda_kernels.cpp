// Every case of the table on a CUDA device, real or simulated, against the naive reference.

#include <cstdlib>
#include <cstring>
#include <map>

#include "tests/cuda_device.h"
#include "tests/op_checks.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

TEST_CASE("cuda kernels: every case of the table gives the reference's results") {
  const Stream* stream = cuda_stream();
  if (stream == nullptr) return;
  const bool repeat = std::getenv("FLYBALL_TEST_ONCE") == nullptr;
  const char* only = std::getenv("FLYBALL_TEST_OPERATION");
  std::map<DType, int> cases;
  for (const OpCase& op : op_cases()) {
    if (op.benchmark || (only != nullptr && op.operation != only)) continue;
    for (const DType real : {DType::f32, DType::f64, DType::bf16}) {
      if (!op.runs(real, Device::Kind::cuda)) continue;
      CheckOptions options = default_check_options();
      options.repeat = repeat;
      const std::string fault = check_kernel(*stream, op, real, options);
      CHECK_MESSAGE(fault.empty(), op.title() << " in " << name_of(real) << ": " << fault);
      ++cases[real];
    }
  }
  MESSAGE(cases[DType::f32] << " cases in f32, " << cases[DType::f64] << " in f64, "
                            << cases[DType::bf16] << " in bf16");
  CHECK(cases[DType::f32] > 0);
}

TEST_CASE("cuda kernels: adam and sgd give the CPU's bits, sums and the rule's state included") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  int results = 0;
  for (const OpCase& op : op_cases()) {
    if (op.benchmark || (op.operation != "adam" && op.operation != "sgd")) continue;
    for (const DType real : {DType::f32, DType::f64}) {
      const Operands on_cpu(testing::stream(), op, real, 1, 0), on_cuda(*cuda, op, real, 1, 0);
      op.prepare(on_cpu)(testing::stream());
      op.prepare(on_cuda)(*cuda);
      for (size_t i = 0; i < op.operands.size(); ++i) {
        if (op.operands[i].role != Role::output && op.operands[i].role != Role::in_out) continue;
        const std::vector<double> want = on_cpu.numbers(i), got = on_cuda.numbers(i);
        const bool same = std::memcmp(want.data(), got.data(), want.size() * sizeof(double)) == 0;
        CHECK_MESSAGE(same, op.title() << " in " << name_of(real) << ": " << op.operands[i].name);
        ++results;
      }
    }
  }
  CHECK(results > 0);
}
