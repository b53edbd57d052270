#include <algorithm>

#include "tests/broken_kernels.h"
#include "tests/reference/winograd.h"

namespace flyball::testing {
namespace {

using reference::WinogradMatrices;
using Operand64 = std::vector<std::vector<double>>;  // of each operand, the result last

OpCase find_winograd_case(const std::string& title) {
  for (OpCase& op : winograd_cases()) {
    if (op.title() == title) return std::move(op);
  }
  throw Error("no case is called " + title);
}

// The case with its result computed by body(operands in f64).
template <class Body>
OpCase computed_by(const std::string& title, Body body) {
  OpCase op = find_winograd_case(title);
  op.prepare = [body, name = op.operands.back().name](const Operands& operands) -> Launch {
    return [body, name, &operands](const Stream&) {
      Operand64 values;
      for (size_t i = 0; i < operands.size(); ++i) values.push_back(operands.numbers(i));
      body(values);
      std::transform(values.back().begin(), values.back().end(), operands.get<float>(name),
                     [](double x) { return static_cast<float>(x); });
    };
  };
  return op;
}

constexpr Conv2dShape kShape{2, 7, 11, 17, 15, 3, 3, 1, 0};  // tiles of 5 x 9: a rim of one pixel
constexpr const char* kName = "2x7x11x17 -> 15, 3x3";
std::string title_of(const std::string& pass) { return str("conv2d winograd ", pass, " ", kName); }

void forward(Operand64& v, const WinogradMatrices& matrices, const Conv2dShape& shape) {
  reference::winograd_forward(
      {.x = v[0].data(), .filters = v[1].data(), .y = v[2].data(), .shape = shape}, matrices);
}
void backward_data(Operand64& v, const WinogradMatrices& matrices, const Conv2dShape& shape) {
  reference::winograd_backward_data(
      {.dy = v[0].data(), .filters = v[1].data(), .dx = v[2].data(), .shape = shape}, matrices);
}
void backward_weights(Operand64& v, const WinogradMatrices& matrices, const Conv2dShape& shape) {
  reference::winograd_backward_weights(
      {.x = v[0].data(), .dy = v[1].data(), .dfilters = v[2].data(), .shape = shape}, matrices);
}
using Pass = void (*)(Operand64&, const WinogradMatrices&, const Conv2dShape&);

// A pass with other matrices.
template <class Change>
OpCase with_matrices(const std::string& pass, Pass run, Change change) {
  return computed_by(title_of(pass), [=](Operand64& v) {
    WinogradMatrices matrices;
    change(matrices);
    run(v, matrices, kShape);
  });
}

// filters: [k, 3, 3, c]
void turn(std::vector<double>& filters, int64_t k, int64_t c) {
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t tap = 0; tap < 4; ++tap) {
      double* filter = filters.data() + i * 9 * c;
      std::swap_ranges(filter + tap * c, filter + (tap + 1) * c, filter + (8 - tap) * c);
    }
  }
}

// 0 in images [n, h, w, channels] from row `row` and column `column` of each on.
void clear_corner(std::vector<double>& images, int64_t h, int64_t w, int64_t channels, int64_t row,
                  int64_t column) {
  for (size_t i = 0; i < images.size(); ++i) {
    const auto pixel = static_cast<int64_t>(i) / channels;
    if (pixel / w % h >= row && pixel % w >= column) images[i] = 0;
  }
}

struct PassName {
  const char* name;
  Pass run;
  const char* fault;
};
constexpr PassName kPasses[] = {{"forward", forward, "result: y"},
                                {"backward_data", backward_data, "result: dx"},
                                {"backward_weights", backward_weights, "result: dfilters"}};

}  // namespace

std::vector<OpCase> unbroken_winograd() {
  std::vector<OpCase> all;
  for (const PassName& pass : kPasses) {
    all.push_back(with_matrices(pass.name, pass.run, [](WinogradMatrices&) {}));
  }
  return all;
}

std::vector<BrokenKernel> broken_winograd() {
  std::vector<BrokenKernel> all;
  for (const PassName& pass : kPasses) {
    const std::string name = pass.name;
    all.push_back(
        {name + " with a wrong sign in B",
         with_matrices(name, pass.run, [](WinogradMatrices& m) { m.data[2][1] = -m.data[2][1]; }),
         pass.fault});
    all.push_back(
        {name + " with 1/12 for 1/24 in G",
         with_matrices(name, pass.run, [](WinogradMatrices& m) { m.filter[3][0] = 1. / 12; }),
         pass.fault});
    all.push_back({name + " without the last 1 of A",
                   with_matrices(name, pass.run, [](WinogradMatrices& m) { m.output[3][5] = 0; }),
                   pass.fault});
  }
  all.push_back({"forward begins tiles one pixel early",
                 computed_by(title_of("forward"),
                             [](Operand64& v) {
                               Conv2dShape d = kShape;
                               d.h -= 2, d.w -= 2;
                               d.padding = 1;
                               forward(v, {}, d);
                             }),
                 "result: y"});
  all.push_back({"forward turns the filters",
                 computed_by(title_of("forward"),
                             [](Operand64& v) {
                               turn(v[1], kShape.k, kShape.c);
                               forward(v, {}, kShape);
                             }),
                 "result: y"});
  all.push_back({"forward leaves out the tile in the corner",
                 computed_by(title_of("forward"),
                             [](Operand64& v) {
                               forward(v, {}, kShape);
                               clear_corner(v[2], kShape.p(), kShape.q(), kShape.k, 4, 8);
                             }),
                 "result: y"});
  all.push_back({"backward_data does not turn the filters",
                 computed_by(title_of("backward_data"),
                             [](Operand64& v) {
                               turn(v[1], kShape.k, kShape.c);
                               backward_data(v, {}, kShape);
                             }),
                 "result: dx"});
  all.push_back({"backward_data leaves out the tile in the corner",
                 computed_by(title_of("backward_data"),
                             [](Operand64& v) {
                               backward_data(v, {}, kShape);
                               clear_corner(v[2], kShape.h, kShape.w, kShape.c, 4, 8);
                             }),
                 "result: dx"});
  all.push_back({"backward_weights leaves out the tile in the corner",
                 computed_by(title_of("backward_weights"),
                             [](Operand64& v) {
                               clear_corner(v[1], kShape.p(), kShape.q(), kShape.k, 4, 8);
                               backward_weights(v, {}, kShape);
                             }),
                 "result: dfilters"});
  all.push_back({"backward_weights changes rows and columns of the filters",
                 computed_by(title_of("backward_weights"),
                             [](Operand64& v) {
                               backward_weights(v, {}, kShape);
                               const std::vector<double> sound = v[2];
                               for (size_t i = 0; i < sound.size(); ++i) {
                                 const size_t c = kShape.c, tap = i / c % 9;
                                 v[2][i] = sound[i - tap * c + (tap % 3 * 3 + tap / 3) * c];
                               }
                             }),
                 "result: dfilters"});
  return all;
}

}  // namespace flyball::testing
