#include "kernels/batch_norm.h"

#include "tests/op_cases.h"
#include "tests/reference/batch_norm.h"

namespace flyball::testing {
namespace {

struct Options {
  bool relu = false, residual = false;
  bool column_sums = false;  // forward
  bool accumulate = false;   // backward
  bool running = true;       // forward: running statistics follow
  bool dx = true;            // backward: dx and dresidual are wanted
  bool inv_std = false;      // apply: in place of var
  bool gate_by_x = false;    // backward with ReLU: beta in place of y
  Values x = normal(0.5, 2);
};

std::string name_of(const char* pass, int64_t rows, int64_t c, const Options& o) {
  return str(pass, " ", rows, "x", c, o.relu ? " relu" : "", o.residual ? " residual" : "",
             o.column_sums ? " column sums" : "", o.accumulate ? " accumulate" : "",
             o.running ? "" : " no running statistics", o.dx ? "" : " parameters alone",
             o.gate_by_x ? " by x" : "");
}

Operand parameter(const char* name, int64_t c, Values values) {
  return {.name = name, .shape = {c}, .values = values, .element = Element::accumulator};
}

template <class T>
BatchNormForward<T> forward_of(const Operands& operands, int64_t rows, int64_t c,
                               const Options& o) {
  using A = Accumulator<T>;
  return {.x = operands.get<T>("x"),
          .gamma = operands.get<A>("gamma"),
          .beta = operands.get<A>("beta"),
          .residual = operands.get<T>("residual"),
          .column_sums = operands.get<A>("column_sums"),
          .y = operands.get<T>("y"),
          .mean = operands.get<A>("mean"),
          .inv_std = operands.get<A>("inv_std"),
          .running_mean = o.running ? operands.get<A>("running_mean") : nullptr,
          .running_var = o.running ? operands.get<A>("running_var") : nullptr,
          .rows = rows,
          .c = c,
          .relu = o.relu};
}

size_t index_of(const std::vector<Operand>& operands, const std::string& name) {
  size_t i = 0;
  while (i < operands.size() && operands[i].name != name) ++i;
  return i;
}

// First-order bounds, in units of u. With R the largest |x - mean| of a column and X the largest
// |x|: the differences d to a tile's first row are at most 2R, the sums of kColumnSumRows of them
// off by `tile` roundings; a tile's mean is rounded, merged with others up to 8 times and rounded
// again, each by u X. Its square has terms of 4 R^2 on either side of a subtraction, and tile means
// that are off by u e change squared deviations by 2 R u e.
Numbers forward_error(const std::vector<Operand>& operands, const Operands& before, int64_t rows,
                      int64_t c, const Options& o) {
  const auto f = forward_of<double>(before, rows, c, o);
  Numbers scale(operands.size());
  for (size_t i = 0; i < operands.size(); ++i) scale[i].resize(before.numbers(i).size());
  const auto at = [&](const char* name) { return index_of(operands, name); };
  const double tile = roundings(kColumnSumRows + 4);
  for (int64_t j = 0; j < c; ++j) {
    const reference::ColumnStatistics s = reference::column_statistics(f, j);
    const double var = s.squares / static_cast<double>(rows);
    double largest = std::abs(s.mean), deviation = std::sqrt(var);
    for (int64_t i = j; i < rows * c; i += c) {
      largest = std::max(largest, std::abs(f.x[i]));
      deviation = std::max(deviation, std::abs(f.x[i] - s.mean));
    }
    const double inv_std = 1 / std::sqrt(var + f.eps);
    const double mean_error = 2 * (tile + 1) * deviation + 12 * largest;
    const double var_error = 8 * (tile + 4) * deviation * deviation + 2 * deviation * mean_error;
    const double inv_error = 0.5 * std::pow(inv_std, 3) * var_error + 2 * inv_std;
    const auto column = static_cast<size_t>(j);
    scale[at("mean")][column] = mean_error;
    scale[at("inv_std")][column] = inv_error;
    if (o.running) {
      scale[at("running_mean")][column] =
          3 * std::abs(f.running_mean[j]) + f.momentum * (mean_error + 3 * std::abs(s.mean));
      scale[at("running_var")][column] =
          3 * std::abs(f.running_var[j]) + 2 * f.momentum * (var_error + 3 * var);
    }
    const double gamma = std::abs(f.gamma[j]), slope = gamma * inv_std;
    for (int64_t i = j; i < rows * c; i += c) {
      const double residual = o.residual ? std::abs(f.residual[i]) : 0;
      const double d = std::abs(f.x[i] - s.mean);
      scale[at("y")][static_cast<size_t>(i)] = slope * mean_error + d * gamma * inv_error +
                                               8 * (d * slope + std::abs(f.beta[j]) + residual);
    }
  }
  return scale;
}

OpCase forward_case(int64_t rows, int64_t c, const Options& o = {}) {
  OpCase op{.operation = "batch_norm", .name = name_of("forward", rows, c, o)};
  const Tolerance tolerance{1, roundings(rows)};
  const auto written = [&](const char* name, Role role) {
    return Operand{.name = name,
                   .shape = {c},
                   .role = role,
                   .values = normal(1, 0.1),
                   .tolerance = tolerance,
                   .element = Element::accumulator};
  };
  op.operands = {{.name = "x", .shape = {rows, c}, .values = o.x},
                 parameter("gamma", c, normal(1, 0.5)),
                 parameter("beta", c, normal()),
                 {.name = "y", .shape = {rows, c}, .role = Role::output, .tolerance = tolerance},
                 written("mean", Role::output),
                 written("inv_std", Role::output)};
  if (o.residual) op.operands.push_back({.name = "residual", .shape = {rows, c}});
  if (o.column_sums) {
    // Any sums will do: tile means around 1 and squares around 64.
    const int64_t tiles = (rows + kColumnSumRows - 1) / kColumnSumRows;
    op.operands.push_back({.name = "column_sums",
                           .shape = {tiles, 2, c},
                           .values = integers(32, 96),
                           .element = Element::accumulator});
  }
  if (o.running) {
    op.operands.push_back(written("running_mean", Role::in_out));
    op.operands.push_back(written("running_var", Role::in_out));
  }
  set_kernel<cpu::batch_norm_forward<float>, cpu::batch_norm_forward<double>,
             reference::batch_norm_forward, cuda::batch_norm_forward<float>,
             cuda::batch_norm_forward<double>, cuda::batch_norm_forward<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        return forward_of<decltype(zero)>(operands, rows, c, o);
      });
  op.magnitude = [=, operands = op.operands](const Operands& before, const Operands&) {
    return forward_error(operands, before, rows, c, o);
  };
  // Two values of a channel may lie so close that no difference quotient is exact enough.
  if (!o.relu && !o.column_sums && o.running && rows > 2 && rows * c < 2500) {
    op.differentiable = [o](const Context& context, const std::vector<Variable>& v) {
      const Context training{.stream = context.stream, .training = true};
      const int64_t channels = v[1].shape()[0];
      RunningStatistics running{.mean = Tensor::zeros(context.stream, {channels}, v[1].dtype()),
                                .var = Tensor::zeros(context.stream, {channels}, v[1].dtype())};
      return batch_norm(training, v[0], v[1], v[2], running,
                        {.residual = o.residual ? v[3] : Variable()});
    };
  }
  const double elements = static_cast<double>(rows * c);
  op.flops = elements * (o.column_sums ? 4 : 8);
  op.bytes = 4 * elements * ((o.column_sums ? 2 : 3) + (o.residual ? 1 : 0));
  return op;
}

OpCase apply_case(int64_t rows, int64_t c, const Options& o = {}) {
  OpCase op{.operation = "batch_norm",
            .name = name_of(o.inv_std ? "apply" : "evaluation", rows, c, o)};
  op.operands = {
      {.name = "x", .shape = {rows, c}, .values = o.x},
      parameter("gamma", c, normal(1, 0.5)),
      parameter("beta", c, normal()),
      parameter("mean", c, normal(0.5)),
      o.inv_std ? parameter("inv_std", c, normal(0.6, 0.1)) : parameter("var", c, integers(1, 9)),
      {.name = "y", .shape = {rows, c}, .role = Role::output, .tolerance = {12, 12}}};
  if (o.residual) op.operands.push_back({.name = "residual", .shape = {rows, c}});
  set_kernel<cpu::batch_norm_apply<float>, cpu::batch_norm_apply<double>,
             reference::batch_norm_apply, cuda::batch_norm_apply<float>,
             cuda::batch_norm_apply<double>, cuda::batch_norm_apply<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        using A = Accumulator<T>;
        return BatchNormApply<T>{.x = operands.get<T>("x"),
                                 .gamma = operands.get<A>("gamma"),
                                 .beta = operands.get<A>("beta"),
                                 .residual = operands.get<T>("residual"),
                                 .mean = operands.get<A>("mean"),
                                 .var = operands.get<A>("var"),
                                 .inv_std = operands.get<A>("inv_std"),
                                 .y = operands.get<T>("y"),
                                 .rows = rows,
                                 .c = c,
                                 .relu = o.relu};
      });
  op.magnitude = [=, operands = op.operands](const Operands& before, const Operands&) {
    const auto value = [&](const char* name, int64_t i) {
      return std::abs(before.get<double>(name)[i]);
    };
    Numbers scale(operands.size());
    for (int64_t i = 0; i < rows * c; ++i) {
      const int64_t j = i % c;
      const double inv_std = o.inv_std ? value("inv_std", j) : 1 / std::sqrt(value("var", j));
      scale[index_of(operands, "y")].push_back(
          value("gamma", j) * (value("x", i) + value("mean", j)) * inv_std + value("beta", j) +
          (o.residual ? value("residual", i) : 0));
    }
    return scale;
  };
  op.bytes = 4.0 * static_cast<double>(rows * c) * (o.residual ? 3 : 2);
  return op;
}

template <class T>
BatchNormBackward<T> backward_of(const Operands& operands, int64_t rows, int64_t c,
                                 const Options& o) {
  using A = Accumulator<T>;
  return {.x = operands.get<T>("x"),
          .y = operands.get<T>("y"),
          .dy = operands.get<T>("dy"),
          .gamma = operands.get<A>("gamma"),
          .beta = operands.get<A>("beta"),
          .mean = operands.get<A>("mean"),
          .inv_std = operands.get<A>("inv_std"),
          .dx = operands.get<T>("dx"),
          .dgamma = operands.get<A>("dgamma"),
          .dbeta = operands.get<A>("dbeta"),
          .dresidual = operands.get<T>("dresidual"),
          .rows = rows,
          .c = c,
          .accumulate_dx = o.accumulate,
          .accumulate_dgamma = o.accumulate,
          .accumulate_dbeta = o.accumulate,
          .accumulate_dresidual = o.accumulate};
}

// The sums of |terms|.
Numbers backward_terms(const std::vector<Operand>& operands, const Operands& before, int64_t rows,
                       int64_t c, const Options& o) {
  const auto b = backward_of<double>(before, rows, c, o);
  Numbers scale(operands.size());
  for (size_t i = 0; i < operands.size(); ++i) scale[i].resize(before.numbers(i).size());
  const auto put = [&](const char* name, const double* memory, int64_t i, double terms) {
    if (memory == nullptr) return;
    scale[index_of(operands, name)][static_cast<size_t>(i)] =
        terms + (o.accumulate ? std::abs(memory[i]) : 0);
  };
  const auto count = static_cast<double>(rows);
  for (int64_t j = 0; j < c; ++j) {
    const auto h = [&](int64_t i) {
      return (std::abs(b.x[i]) + std::abs(b.mean[j])) * std::abs(b.inv_std[j]);
    };
    double dbeta = 0, dgamma = 0;
    for (int64_t i = j; i < rows * c; i += c) {
      const double dz = std::abs(reference::masked(b, i));
      dbeta += dz;
      dgamma += dz * h(i);
    }
    put("dbeta", b.dbeta, j, dbeta);
    put("dgamma", b.dgamma, j, dgamma);
    const double slope = std::abs(b.gamma[j] * b.inv_std[j]);
    for (int64_t i = j; i < rows * c; i += c) {
      const double dz = std::abs(reference::masked(b, i));
      put("dx", b.dx, i, slope * (dz + dbeta / count + h(i) * dgamma / count));
      put("dresidual", b.dresidual, i, dz);
    }
  }
  return scale;
}

OpCase backward_case(int64_t rows, int64_t c, const Options& o = {}) {
  OpCase op{.operation = "batch_norm", .name = name_of("backward", rows, c, o)};
  const Role role = o.accumulate ? Role::in_out : Role::output;
  const Tolerance tolerance{roundings(kColumnSumRows + 8), roundings(rows + 8)};
  const auto parameter_gradient = [&](const char* name) {
    return Operand{.name = name,
                   .shape = {c},
                   .role = role,
                   .tolerance = tolerance,
                   .element = Element::accumulator};
  };
  op.operands = {{.name = "x", .shape = {rows, c}, .values = o.x},
                 {.name = "dy", .shape = {rows, c}},
                 parameter("gamma", c, normal(1, 0.5)),
                 parameter("mean", c, normal(o.x.a, 0.1)),
                 parameter("inv_std", c, normal(1, 0.1)),
                 parameter_gradient("dgamma"),
                 parameter_gradient("dbeta")};
  if (o.gate_by_x) {
    // Multiples of 1/4 that every type holds, and none at the ReLU's edge.
    op.operands[0].values = integers(-8, 8);
    op.operands[2] = parameter("gamma", c, integers(-2, 2));
    op.operands[3] = parameter("mean", c, integers(-3, 3));
    op.operands[4] = parameter("inv_std", c, constant(0.5));
    op.operands.push_back(parameter("beta", c, constant(0.25)));
  } else if (o.relu) {
    op.operands.push_back({.name = "y", .shape = {rows, c}, .values = integers(0, 3)});
  }
  const auto gradient = [&](const char* name) {
    op.operands.push_back({.name = name, .shape = {rows, c}, .role = role, .tolerance = tolerance});
  };
  if (o.dx) gradient("dx");
  if (o.residual && o.dx) gradient("dresidual");
  set_kernel<cpu::batch_norm_backward<float>, cpu::batch_norm_backward<double>,
             reference::batch_norm_backward, cuda::batch_norm_backward<float>,
             cuda::batch_norm_backward<double>, cuda::batch_norm_backward<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        return backward_of<decltype(zero)>(operands, rows, c, o);
      });
  op.magnitude = [=, operands = op.operands](const Operands& before, const Operands&) {
    return backward_terms(operands, before, rows, c, o);
  };
  const double elements = static_cast<double>(rows * c);
  op.flops = elements * 9;
  op.bytes = 4 * elements * (5 + (o.relu && !o.gate_by_x ? 2 : 0) + (o.residual ? 1 : 0));
  return op;
}

// On either side of a tile of rows, of a vector and of the blocks' columns.
constexpr int64_t kTestShapes[][2] = {{2, 1},   {2, 3},   {2, 64},   {3, 65},    {64, 64}, {63, 5},
                                      {65, 33}, {129, 3}, {1025, 1}, {300, 128}, {67, 513}};

void add_tests(std::vector<OpCase>& cases) {
  for (const auto& [rows, c] : kTestShapes) {
    for (const bool relu : {false, true}) {
      for (const bool residual : {false, true}) {
        const Options o{.relu = relu, .residual = residual};
        cases.push_back(forward_case(rows, c, o));
        cases.push_back(apply_case(rows, c, o));
        cases.push_back(backward_case(rows, c, o));
        Options other = o;
        other.inv_std = true;
        cases.push_back(apply_case(rows, c, other));
        other = o;
        other.accumulate = true;
        cases.push_back(backward_case(rows, c, other));
        if (relu && !residual) {
          cases.push_back(backward_case(rows, c, {.relu = true, .gate_by_x = true}));
        }
        other = o;
        other.column_sums = true;
        cases.push_back(forward_case(rows, c, other));
      }
    }
    cases.push_back(forward_case(rows, c, {.running = false}));
    cases.push_back(backward_case(rows, c, {.relu = true, .dx = false}));
  }
  for (const Values& x : {normal(1e4, 1), normal(-300, 0.25)}) {
    cases.push_back(forward_case(1000, 33, {.relu = true, .x = x}));
    cases.back().name += str(" mean ", x.a);
    cases.push_back(backward_case(1000, 33, {.relu = true, .x = x}));
    cases.back().name += str(" mean ", x.a);
  }
  cases.push_back(forward_case(130, 17, {.x = constant(7)}));
  cases.back().name += " constant";
  cases.back().differentiable = nullptr;  // its curvature is 1 / eps
}

void add_benchmarks(std::vector<OpCase>& cases) {
  const int64_t shapes[][2] = {{64 * 32 * 32, 64}, {64 * 16 * 16, 128}, {64 * 4 * 4, 512}};
  for (const auto& [rows, c] : shapes) {
    cases.push_back(forward_case(rows, c, {.relu = true}));
    cases.push_back(forward_case(rows, c, {.relu = true, .residual = true, .column_sums = true}));
    cases.push_back(apply_case(rows, c, {.relu = true}));
    cases.push_back(apply_case(rows, c, {.relu = true, .residual = true, .inv_std = true}));
    cases.push_back(backward_case(rows, c, {.relu = true, .gate_by_x = true}));
    cases.push_back(backward_case(rows, c, {.relu = true, .residual = true}));
    for (size_t i = cases.size() - 6; i < cases.size(); ++i) cases[i].benchmark = true;
  }
}

}  // namespace

std::vector<OpCase> batch_norm_cases() {
  std::vector<OpCase> cases;
  add_tests(cases);
  add_benchmarks(cases);
  return cases;
}

}  // namespace flyball::testing
