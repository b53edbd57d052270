#include "kernels/lstm.h"

#include "framework/ops_sequence.h"
#include "tests/op_cases.h"
#include "tests/reference/lstm.h"

namespace flyball::testing {
namespace {

struct Options {
  bool lengths = true, bias = true, accumulate = false;
};

std::string name_of(const LstmShape& s, const Options& o) {
  return str(s.time, "x", s.batch, "x", s.inputs, " -> ", s.directions, "x", s.d,
             o.lengths ? "" : " whole", o.bias ? "" : " no bias",
             o.accumulate ? " accumulate" : "");
}

template <class T>
LstmForward<T> forward_arguments(const LstmShape& s, const Operands& operands) {
  return {.x = operands.get<T>("x"),
          .lengths = operands.get<int32_t>("lengths"),
          .w_ih = operands.get<T>("w_ih"),
          .w_hh = operands.get<T>("w_hh"),
          .b_ih = operands.get<T>("b_ih"),
          .b_hh = operands.get<T>("b_hh"),
          .y = operands.get<T>("y"),
          .saved = operands.get<T>("saved"),
          .shape = s};
}

template <class T>
LstmBackward<T> backward_arguments(const LstmShape& s, const Options& o, const Operands& operands) {
  const auto gradient = [&](const char* name) {
    return LstmGradient<T>{operands.get<T>(name), o.accumulate};
  };
  return {.x = operands.get<T>("x"),
          .lengths = operands.get<int32_t>("lengths"),
          .w_ih = operands.get<T>("w_ih"),
          .w_hh = operands.get<T>("w_hh"),
          .dy = operands.get<T>("dy"),
          .saved = operands.get<T>("saved"),
          .dx = gradient("dx"),
          .dw_ih = gradient("dw_ih"),
          .dw_hh = gradient("dw_hh"),
          .db_ih = gradient("db_ih"),
          .db_hh = gradient("db_hh"),
          .shape = s};
}

// Weights of a deviation that keeps the gates out of saturation, and errors from growing with time.
std::vector<Operand> inputs_of(const LstmShape& s, const Options& o, const Values& lengths) {
  const double deviation = 0.7 / std::sqrt(static_cast<double>(s.d));
  const int64_t gates = 4 * s.d;
  std::vector<Operand> operands = {{.name = "x", .shape = {s.time, s.batch, s.inputs}}};
  if (o.lengths) {
    operands.push_back(
        {.name = "lengths", .shape = {s.batch}, .values = lengths, .element = Element::i32});
  }
  operands.push_back({.name = "w_ih",
                      .shape = {s.directions, gates, s.inputs},
                      .values = normal(0, 0.7 / std::sqrt(static_cast<double>(s.inputs)))});
  operands.push_back(
      {.name = "w_hh", .shape = {s.directions, gates, s.d}, .values = normal(0, deviation)});
  if (!o.bias) return operands;
  for (const char* name : {"b_ih", "b_hh"}) {
    operands.push_back(
        {.name = name, .shape = {s.directions, gates}, .values = normal(0, deviation)});
  }
  return operands;
}

double flops_of(const LstmShape& s) {
  return 8.0 * static_cast<double>(s.directions * s.time * s.batch * s.d * (s.inputs + s.d));
}

// The magnitudes of the operands named, from an array each.
Numbers magnitudes(const std::vector<Operand>& operands,
                   const std::vector<std::pair<std::string, std::vector<reference::Bounded>>>& all,
                   const Operands* before) {
  Numbers numbers(operands.size());
  for (size_t i = 0; i < operands.size(); ++i) {
    for (const auto& [name, bounds] : all) {
      if (operands[i].name != name) continue;
      const std::vector<double> added =
          before == nullptr ? std::vector<double>(bounds.size(), 0.0) : before->numbers(i);
      for (size_t j = 0; j < bounds.size(); ++j) {
        numbers[i].push_back(bounds[j].bound + std::abs(bounds[j].value) + std::abs(added[j]));
      }
    }
  }
  return numbers;
}

OpCase forward_case(const LstmShape& s, const Options& o, const Values& lengths) {
  OpCase op{.operation = "lstm", .name = "forward " + name_of(s, o)};
  op.operands = inputs_of(s, o, lengths);
  op.operands.push_back({.name = "y",
                         .shape = {s.time, s.batch, s.columns()},
                         .role = Role::output,
                         .tolerance = {1, 1}});
  op.operands.push_back({.name = "saved", .shape = {s.saved_count()}, .role = Role::scratch});
  set_kernel<cpu::lstm_forward<float>, cpu::lstm_forward<double>,
             [](const LstmForward<double>& f) {
               const std::vector<double> y = reference::lstm_outputs<double>(f);
               std::copy(y.begin(), y.end(), f.y);
             },
             cuda::lstm_forward<float>, cuda::lstm_forward<double>>(
      op, [=](auto zero, const Operands& operands) {
        return forward_arguments<decltype(zero)>(s, operands);
      });
  op.magnitude = [s, operands = op.operands](const Operands& before, const Operands&) {
    const auto arguments = forward_arguments<double>(s, before);
    return magnitudes(operands, {{"y", reference::lstm_outputs<reference::Bounded>(arguments)}},
                      nullptr);
  };
  op.differentiable = [=](const Context& context, const std::vector<Variable>& v) {
    const size_t w = o.lengths ? 2 : 1;
    return lstm(context, v[0], o.lengths ? v[1].value() : Tensor(),
                {v[w], v[w + 1], o.bias ? v[w + 2] : Variable(), o.bias ? v[w + 3] : Variable()});
  };
  op.flops = flops_of(s);
  op.bytes =
      4.0 * static_cast<double>(s.time * s.batch * (s.inputs + s.columns()) + s.saved_count());
  return op;
}

// The forward pass, whose results are kept, and then the backward pass.
OpCase backward_case(const LstmShape& s, const Options& o, const Values& lengths) {
  OpCase op{.operation = "lstm", .name = "backward " + name_of(s, o)};
  op.operands = inputs_of(s, o, lengths);
  op.operands.push_back({.name = "dy", .shape = {s.time, s.batch, s.columns()}});
  op.operands.push_back(
      {.name = "y", .shape = {s.time, s.batch, s.columns()}, .role = Role::scratch});
  op.operands.push_back({.name = "saved", .shape = {s.saved_count()}, .role = Role::scratch});
  const int64_t gates = 4 * s.d;
  const auto add_gradient = [&](const char* name, const Shape& shape) {
    op.operands.push_back({.name = name,
                           .shape = shape,
                           .role = o.accumulate ? Role::in_out : Role::output,
                           .tolerance = {1, 1}});
  };
  add_gradient("dx", {s.time, s.batch, s.inputs});
  add_gradient("dw_ih", {s.directions, gates, s.inputs});
  add_gradient("dw_hh", {s.directions, gates, s.d});
  add_gradient("db_ih", {s.directions, gates});
  add_gradient("db_hh", {s.directions, gates});
  for (const DType real : {DType::f32, DType::f64}) {
    for (const Device::Kind device : {Device::Kind::cpu, Device::Kind::cuda}) {
      op.versions.push_back({real, device});
    }
  }
  op.prepare = [=](const Operands& operands) -> Launch {
    const auto launch = [&](auto zero) -> Launch {
      using T = decltype(zero);
      return [f = forward_arguments<T>(s, operands),
              b = backward_arguments<T>(s, o, operands)](const Stream& stream) {
        run<cpu::lstm_forward<T>, cuda::lstm_forward<T>>(stream, f);
        run<cpu::lstm_backward<T>, cuda::lstm_backward<T>>(stream, b);
      };
    };
    return operands.real() == DType::f32 ? launch(float{}) : launch(double{});
  };
  op.reference = [=](const Operands& operands) {
    const auto g = reference::lstm_gradients<double>(forward_arguments<double>(s, operands),
                                                     operands.get<double>("dy"));
    const auto put = [&](const char* name, const std::vector<double>& values) {
      auto* to = operands.get<double>(name);
      for (size_t i = 0; i < values.size(); ++i) to[i] = (o.accumulate ? to[i] : 0) + values[i];
    };
    put("dx", g.dx);
    put("dw_ih", g.dw_ih);
    put("dw_hh", g.dw_hh);
    put("db_ih", g.db);
    put("db_hh", g.db);
  };
  op.magnitude = [=, operands = op.operands](const Operands& before, const Operands&) {
    const auto g = reference::lstm_gradients<reference::Bounded>(
        forward_arguments<double>(s, before), before.get<double>("dy"));
    return magnitudes(
        operands,
        {{"dx", g.dx}, {"dw_ih", g.dw_ih}, {"dw_hh", g.dw_hh}, {"db_ih", g.db}, {"db_hh", g.db}},
        o.accumulate ? &before : nullptr);
  };
  op.flops = 3 * flops_of(s);
  op.bytes = 4.0 * static_cast<double>(2 * s.time * s.batch * (s.inputs + s.columns()) +
                                       2 * s.saved_count());
  return op;
}

}  // namespace

std::vector<OpCase> lstm_cases() {
  std::vector<OpCase> cases;
  const auto add = [&](const LstmShape& s, Options o, const Values& lengths) {
    cases.push_back(forward_case(s, o, lengths));
    for (const bool accumulate : {false, true}) {
      o.accumulate = accumulate;
      cases.push_back(backward_case(s, o, lengths));
    }
  };
  // On either side of a vector, a warp and a group of sequences; one step; one sequence.
  for (const LstmShape& s :
       {LstmShape{1, 1, 1, 1, 1}, LstmShape{1, 3, 5, 4, 2}, LstmShape{7, 1, 3, 5, 2},
        LstmShape{5, 4, 7, 31, 1}, LstmShape{6, 3, 33, 32, 2}, LstmShape{4, 5, 8, 33, 2},
        LstmShape{3, 67, 2, 3, 2}, LstmShape{13, 6, 4, 17, 2}}) {
    add(s, {}, integers(1, static_cast<double>(s.time + 1)));
  }
  // Wider than what a device's registers hold at once.
  for (const LstmShape& s : {LstmShape{3, 2, 3, 257, 2}, LstmShape{2, 3, 4, 260, 1}}) {
    add(s, {}, integers(1, static_cast<double>(s.time + 1)));
    cases[cases.size() - 3].differentiable = nullptr;
  }
  add({4, 3, 5, 6, 2}, {.bias = false}, integers(1, 5));
  add({4, 3, 5, 6, 2}, {.lengths = false}, {});
  add({6, 9, 3, 4, 2}, {}, integers(-2, 9));
  for (size_t i = cases.size() - 3; i < cases.size(); ++i) cases[i].name += " lengths outside";
  const LstmShape model{200, 64, 100, 128, 2};
  for (const Values& lengths : {constant(200), integers(1, 201)}) {
    cases.push_back(forward_case(model, {}, lengths));
    cases.push_back(backward_case(model, {}, lengths));
    for (size_t i = cases.size() - 2; i < cases.size(); ++i) {
      cases[i].name += lengths.b == 0 ? " all long" : " lengths 1 to 200";
      cases[i].benchmark = true;
      cases[i].differentiable = nullptr;
      const bool forward = i + 2 == cases.size();
      cases[i].checked_as = forward ? "forward 13x6x4 -> 2x17" : "backward 13x6x4 -> 2x17";
    }
  }
  // For the counters of the simulated GPU, a small device: one that holds it all at once.
  cases.push_back(backward_case({16, 8, 100, 128, 2}, {}, constant(16)));
  cases.back().benchmark = true;
  cases.back().checked_as = "backward 13x6x4 -> 2x17";
  return cases;
}

}  // namespace flyball::testing
