#include <map>
#include <set>

#include "kernels/cpu/backend.h"
#include "tests/op_checks.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

// A library, and nothing in its place.
class WithBackend {
 public:
  explicit WithBackend(cpu::Backend backend)
      : before_(cpu::backend()), winograd_before_(cpu::winograd_use()) {
    cpu::set_backend(backend);
    cpu::set_winograd_use(cpu::WinogradUse::kOff);
  }
  ~WithBackend() {
    cpu::set_backend(before_);
    cpu::set_winograd_use(winograd_before_);
  }
  WithBackend(const WithBackend&) = delete;
  WithBackend& operator=(const WithBackend&) = delete;

 private:
  cpu::Backend before_;
  cpu::WinogradUse winograd_before_;
};

void check_family(const std::string& operation, DType real) {
  int checked = 0;
  for (const OpCase& op : op_cases()) {
    if (op.benchmark || op.operation != operation || !op.runs(real, Device::Kind::cpu)) continue;
    CHECK(check_kernel(stream(), op, real) == "");
    ++checked;
  }
  MESSAGE(operation << " in " << name_of(real) << ": " << checked << " cases");
  CHECK(checked > 0);
}

constexpr const char* kFamilies[] = {
    "gemm",   "conv2d",    "pool2d",  "elementwise",  "dropout",    "softmax_cross_entropy",
    "reduce", "copy",      "augment", "batch",        "batch_norm", "adam",
    "sgd",    "embedding", "lstm",    "sequence_pool"};

}  // namespace

TEST_CASE("kernels: f64 agrees with the naive reference to the last digits") {
  for (const char* family : kFamilies) {
    if (std::string(family) == "augment" || std::string(family) == "batch") continue;  // f32 alone
    SUBCASE(family) { check_family(family, DType::f64); }
  }
}

TEST_CASE("kernels: f32 is within its derived tolerance of the double reference") {
  for (const char* family : kFamilies) {
    SUBCASE(family) {
      const WithBackend eigen(cpu::Backend::kEigen);
      check_family(family, DType::f32);
    }
  }
}

TEST_CASE("kernels: f32 gemm, conv2d and lstm by oneDNN") {
  if (!cpu::has_onednn()) {
    MESSAGE("built without oneDNN");
    return;
  }
  const WithBackend onednn(cpu::Backend::kOneDnn);
  for (const char* family : {"gemm", "conv2d", "lstm"}) {
    SUBCASE(family) { check_family(family, DType::f32); }
  }
}

TEST_CASE("kernels: the table names every case once and every family has both kinds") {
  std::set<std::string> titles;
  std::map<std::string, int> tests, benchmarks;
  for (const OpCase& op : op_cases()) {
    CHECK_MESSAGE(titles.insert(op.title() + (op.benchmark ? " benchmark" : "")).second,
                  op.title());
    CHECK((op.bytes > 0 || !op.benchmark));
    ++(op.benchmark ? benchmarks : tests)[op.operation];
  }
  for (const char* family : kFamilies) {
    CHECK(tests[family] > 0);
    CHECK(benchmarks[family] > 0);
    MESSAGE(std::string(family), ": ", tests[family], " tests, ", benchmarks[family],
            " benchmarks");
  }
  CHECK(tests.size() == std::size(kFamilies));
}
