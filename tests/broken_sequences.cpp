#include <algorithm>

#include "tests/broken_kernels.h"
#include "tests/reference/lstm.h"
#include "tests/reference/sequence_pool.h"

namespace flyball::testing {
namespace {

using Broken = std::vector<BrokenKernel>;

void add_embedding(Broken& all) {
  const std::string size = "31 of 7x5 padding 0";
  all.push_back({"looks up the padding row",
                 run_then("embedding forward " + size,
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 0; i < 31 * 5; ++i) {
                              const int64_t token = o.get<int32_t>("tokens")[i / 5];
                              o.get<T>("y")[i] = o.get<T>("table")[token * 5 + i % 5];
                            }
                          }),
                 "result: y"});
  all.push_back({"trains the padding row",
                 run_then("embedding backward " + size,
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 0; i < 31 * 5; ++i) {
                              if (o.get<int32_t>("tokens")[i / 5] != 0) continue;
                              o.get<T>("dtable")[i % 5] += o.get<T>("dy")[i];
                            }
                          }),
                 "result: dtable"});
  all.push_back({"keeps the last of equal tokens alone",
                 run_then("embedding backward " + size,
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 0; i < 31 * 5; ++i) {
                              const int64_t token = o.get<int32_t>("tokens")[i / 5];
                              if (token == 0) continue;
                              o.get<T>("dtable")[token * 5 + i % 5] = o.get<T>("dy")[i];
                            }
                          }),
                 "result: dtable"});
  all.push_back({"overwrites instead of accumulating",
                 run_as("embedding backward " + size + " accumulate", "embedding backward " + size),
                 "result: dtable"});
  all.push_back({"accumulates onto garbage",
                 run_as("embedding backward " + size, "embedding backward " + size + " accumulate"),
                 "result: dtable"});
  all.push_back({"trains frozen rows",
                 run_then("embedding backward 1025 of 300x100 padding 299 frozen 17",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 0; i < 1025 * 100; ++i) {
                              const int64_t token = o.get<int32_t>("tokens")[i / 100];
                              if (token >= 17) continue;
                              o.get<T>("dtable")[token * 100 + i % 100] += o.get<T>("dy")[i];
                            }
                          }),
                 "result: dtable"});
}

constexpr LstmShape kLstm{13, 6, 4, 17, 2};

// The f64 results of another shape's lengths, or of all steps, in the columns of one direction.
template <class T>
void put_direction(const Operands& o, int64_t direction, const std::vector<int32_t>& lengths) {
  const auto widened = [&](const char* name, int64_t count) {
    return std::vector<double>(o.get<T>(name), o.get<T>(name) + count);
  };
  const int64_t gates = kLstm.directions * 4 * kLstm.d;
  const auto x = widened("x", kLstm.time * kLstm.batch * kLstm.inputs);
  const auto w_ih = widened("w_ih", gates * kLstm.inputs), w_hh = widened("w_hh", gates * kLstm.d);
  const auto b_ih = widened("b_ih", gates), b_hh = widened("b_hh", gates);
  const auto y = reference::lstm_outputs<double>({.x = x.data(),
                                                  .lengths = lengths.data(),
                                                  .w_ih = w_ih.data(),
                                                  .w_hh = w_hh.data(),
                                                  .b_ih = b_ih.data(),
                                                  .b_hh = b_hh.data(),
                                                  .shape = kLstm});
  for (int64_t i = 0; i < kLstm.time * kLstm.batch * kLstm.columns(); ++i) {
    const int64_t t = i / kLstm.columns() / kLstm.batch, b = i / kLstm.columns() % kLstm.batch;
    if (i % kLstm.columns() / kLstm.d != direction || t >= o.get<int32_t>("lengths")[b]) continue;
    o.get<T>("y")[i] = static_cast<T>(y[static_cast<size_t>(i)]);
  }
}

// The kernel after the first number of an operand was set to 0.
OpCase without_first(const std::string& title, const char* name) {
  OpCase op = find_case(title);
  op.prepare = [kernel = op.prepare, name](const Operands& operands) -> Launch {
    return [&operands, launch = kernel(operands), name](const Stream& stream) {
      const size_t bytes = operands.real() == DType::f32 ? sizeof(float) : sizeof(double);
      std::fill_n(operands.get<std::byte>(name), bytes, std::byte{0});
      launch(stream);
    };
  };
  return op;
}

void add_lstm(Broken& all) {
  const std::string forward = "lstm forward 13x6x4 -> 2x17";
  const std::string backward = "lstm backward 13x6x4 -> 2x17";
  all.push_back({"forgets b_hh",
                 run_with(forward, "b_hh",
                          [](auto zero, const Operands& o) {
                            std::fill_n(o.get<decltype(zero)>("b_hh"), 2 * 68, decltype(zero){0});
                          }),
                 "result: y"});
  all.push_back({"takes f for o",
                 run_with(forward, "w_ih",
                          [](auto zero, const Operands& o) {
                            auto* w = o.get<decltype(zero)>("w_ih");
                            std::swap_ranges(w + 17 * 4, w + 34 * 4, w + 51 * 4);
                          }),
                 "result: y"});
  all.push_back({"has no recurrence",
                 run_with(forward, "w_hh",
                          [](auto zero, const Operands& o) {
                            std::fill_n(o.get<decltype(zero)>("w_hh"), 2 * 68 * 17,
                                        decltype(zero){0});
                          }),
                 "result: y"});
  all.push_back(
      {"runs past the lengths",
       run_with(forward, "lengths",
                [](auto, const Operands& o) { std::fill_n(o.get<int32_t>("lengths"), 6, 13); }),
       "result: y"});
  all.push_back({"starts direction 1 at the end of the padding",
                 run_then(forward,
                          [](auto zero, const Operands& o) {
                            put_direction<decltype(zero)>(o, 1, std::vector<int32_t>(6, 13));
                          }),
                 "result: y"});
  all.push_back({"runs direction 1 forwards in time",
                 run_with(forward, "x",
                          [](auto zero, const Operands& o) {
                            auto* x = o.get<decltype(zero)>("x");
                            for (int64_t t = 0; t < 6; ++t) {
                              std::swap_ranges(x + t * 24, x + (t + 1) * 24, x + (12 - t) * 24);
                            }
                          }),
                 "result: y"});
  for (const char* name : {"dx", "dw_ih", "dw_hh", "db_ih", "db_hh"}) {
    all.push_back({str("overwrites the first of ", name),
                   without_first(backward + " accumulate", name), str("result: ", name)});
  }
  all.push_back(
      {"accumulates onto garbage", run_as(backward, backward + " accumulate"), "result: d"});
  all.push_back({"leaves out what dy sends through the last step",
                 run_with(backward, "dy",
                          [](auto zero, const Operands& o) {
                            const int64_t last = o.get<int32_t>("lengths")[5] - 1;
                            std::fill_n(o.get<decltype(zero)>("dy") + (last * 6 + 5) * 34, 34,
                                        decltype(zero){0});
                          }),
                 "result: dx"});
  all.push_back({"sends dy past the lengths back",
                 run_then(backward,
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 0; i < 13 * 6 * 4; ++i) {
                              const bool past = i / 24 >= o.get<int32_t>("lengths")[i / 4 % 6];
                              if (past) o.get<T>("dx")[i] += static_cast<T>(1e-6);
                            }
                          }),
                 "result: dx"});
}

void add_sequence_pool(Broken& all) {
  const std::string mean = "sequence_pool forward mean 33x5x31";
  all.push_back({"divides by the time",
                 run_then(mean,
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 0; i < 5 * 31; ++i) {
                              const int32_t length = o.get<int32_t>("lengths")[i / 31];
                              o.get<T>("y")[i] *= static_cast<T>(length);
                              o.get<T>("y")[i] /= T{33};
                            }
                          }),
                 "result: y"});
  for (const char* kind : {"mean", "max", "last"}) {
    const std::string backward_columns = std::string(kind) == "last" ? " backward 15" : "";
    all.push_back(
        {str(kind, " ignores the lengths"),
         run_with(str("sequence_pool forward ", kind, " 33x5x31", backward_columns), "lengths",
                  [](auto, const Operands& o) { std::fill_n(o.get<int32_t>("lengths"), 5, 33); }),
         "result: "});
    const std::string backward = str("sequence_pool backward ", kind, " 33x5x31", backward_columns);
    all.push_back({str(kind, " overwrites instead of accumulating"),
                   run_as(backward + " accumulate", backward), "result: dx"});
    all.push_back({str(kind, " accumulates onto garbage"),
                   run_as(backward, backward + " accumulate"), "result: dx"});
  }
  all.push_back({"takes the last step of columns that ran backwards",
                 run_then("sequence_pool forward last 33x5x31 backward 15",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            const SequencePoolShape last{SequencePool::kLast, 33, 5, 31};
                            reference::for_each_pooled_element(
                                last, o.get<int32_t>("lengths"),
                                [&](int64_t x, int64_t y, int64_t, int64_t) {
                                  o.get<T>("y")[y] = o.get<T>("x")[x];
                                });
                          }),
                 "result: y"});
  all.push_back({"lets the last of equals win",
                 run_then("sequence_pool forward max 9x5x6 ties, lengths outside",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            const SequencePoolShape max{SequencePool::kMax, 9, 5, 6};
                            reference::for_each_pooled_element(
                                max, o.get<int32_t>("lengths"),
                                [&](int64_t x, int64_t y, int64_t t, int64_t) {
                                  if (o.get<T>("x")[x] < o.get<T>("y")[y]) return;
                                  o.get<int32_t>("argmax")[y] = static_cast<int32_t>(t);
                                });
                          }),
                 "result: argmax"});
}

}  // namespace

void add_broken_sequences(std::vector<BrokenKernel>& all) {
  add_embedding(all);
  add_lstm(all);
  add_sequence_pool(all);
}

}  // namespace flyball::testing
