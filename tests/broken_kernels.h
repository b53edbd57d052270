#pragma once

#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/op_cases.h"

// Deliberately broken versions of the table's kernels, to show that the checks notice.
namespace flyball::testing {

struct BrokenKernel {
  std::string what;  // how it is broken
  OpCase op;
  std::string fault;  // part of what the check has to say
};

inline OpCase find_case(const std::string& title) {
  for (OpCase& op : op_cases()) {
    if (!op.benchmark && op.title() == title) return std::move(op);
  }
  throw Error("no case is called " + title);
}

// The case run by the kernel of another one whose operands have the same names and shapes.
inline OpCase run_as(const std::string& title, const std::string& other) {
  OpCase op = find_case(title);
  op.prepare = find_case(other).prepare;
  return op;
}

// body(T{}, operands) instead of the kernel.
template <class Body>
OpCase run_instead(const std::string& title, Body body) {
  OpCase op = find_case(title);
  op.prepare = [body](const Operands& operands) -> Launch {
    return [body, &operands](const Stream&) {
      if (operands.real() == DType::f32) {
        body(float{}, operands);
      } else {
        body(double{}, operands);
      }
    };
  };
  return op;
}

// The kernel, then body(T{}, operands).
template <class Body>
OpCase run_then(const std::string& title, Body body) {
  OpCase op = run_instead(title, body);
  op.prepare = [kernel = find_case(title).prepare, then = op.prepare](const Operands& operands) {
    return [first = kernel(operands), second = then(operands)](const Stream& stream) {
      first(stream);
      second(stream);
    };
  };
  return op;
}

// body(T{}, operands), then the kernel, then what body changed in the input `name` is undone.
template <class Body>
OpCase run_with(const std::string& title, const char* name, Body body) {
  OpCase op = run_instead(title, body);
  size_t input = 0;
  while (std::string(op.operands[input].name) != name) ++input;
  op.prepare = [kernel = find_case(title).prepare, prepare = op.prepare, name,
                input](const Operands& operands) {
    return [&operands, first = prepare(operands), second = kernel(operands), name,
            input](const Stream& stream) {
      const std::vector<std::byte> kept = operands.bytes(input);
      first(stream);
      second(stream);
      std::memcpy(operands.get<std::byte>(name), kept.data(), kept.size());
    };
  };
  return op;
}

std::vector<BrokenKernel> broken_kernels();
// Of winograd_cases(), in f32 alone; and what they are made from.
std::vector<BrokenKernel> broken_winograd();
std::vector<OpCase> unbroken_winograd();
void add_broken_batch_norm(std::vector<BrokenKernel>& all);
void add_broken_losses_and_optimizers(std::vector<BrokenKernel>& all);
void add_broken_sequences(std::vector<BrokenKernel>& all);

}  // namespace flyball::testing
