#pragma once

#include <functional>
#include <string>

#include "tests/op_cases.h"

// The checks of a case's kernel. Each returns one line that says what is wrong, or nothing.
namespace flyball::testing {

// What a case's outputs have to be, and what their errors are relative to.
struct Expected {
  Numbers values, magnitude;
};

// Of a run in dtype `real`, from what `solve` makes of f64 operands in host memory.
Expected expected_results(const OpCase& op, DType real, uint64_t seed,
                          const std::function<void(const Operands&)>& solve);
// The same from the naive reference, or from the CPU kernel in f64 where the reference would take
// too long.
enum class Oracle : uint8_t { reference, f64_kernel };
Expected expected_results(const OpCase& op, DType real, uint64_t seed, Oracle oracle);

// Whether every output is within its tolerance. largest_error: of |got - want| relative to the
// largest |want| of its operand, over all real outputs.
std::string compare(const OpCase& op, const Expected& expected, const Operands& got,
                    double* largest_error = nullptr);

struct CheckOptions {
  uint64_t seed = 1;
  // With the pass-through allocator operands end where their memory ends, for bounds checkers.
  bool guards = true;
  bool repeat = true;  // run again, and on two threads
};
CheckOptions default_check_options();

// Runs the case in dtype `real` and checks: the results against the reference; the memory around
// each operand; that inputs are unchanged; that a second run, and one on two threads, give the same
// bits.
std::string check_kernel(const Stream& stream, const OpCase& op, DType real,
                         const CheckOptions& options = default_check_options());

}  // namespace flyball::testing
