#pragma once

#include <string>
#include <vector>

#include "bench/kernel_rows.h"
#include "tests/op_checks.h"

namespace flyball::bench {

struct KernelOptions {
  std::string filter, backend, json, device = "cpu", precision = "all";
  int threads = 1;
  double seconds = 0.5;
};

inline constexpr uint64_t kSeed = 1;

// The case that is checked in place of this one, mostly itself. Throws Error where there is none of
// the name it gives.
const testing::OpCase& checked_case(const std::vector<testing::OpCase>& cases,
                                    const testing::OpCase& op);

// Runs the case once on the stream's device and compares it with the case's f64 kernel on the CPU,
// which the tests check against the naive reference; cases for tensor cores with that of the case
// of the same name in f32 arithmetic. One line that says what is wrong, or nothing. relative_error:
// the largest difference over the largest result of its operand.
std::string check_case(const Stream& stream, const std::vector<testing::OpCase>& cases,
                       const testing::OpCase& op, DType real, double& relative_error);

// The largest difference of the real outputs, over the largest value of each.
double difference(const testing::OpCase& op, const testing::Operands& wanted,
                  const testing::Operands& got, const std::vector<std::string>& without = {});

// The benchmark cases whose title contains the filter, in f32 on the CPU.
void bench_on_cpu(const KernelOptions& options, const std::vector<testing::OpCase>& cases,
                  KernelTable& table);

// Those of every precision that is asked for, on a CUDA device: timed, or on the simulated GPU
// counted. Throws Error where there is no device.
void bench_on_cuda(const KernelOptions& options, const std::vector<testing::OpCase>& cases,
                   KernelTable& table);

}  // namespace flyball::bench
