#pragma once

#include <cstring>
#include <vector>

#include "kernels/learning_rate.h"
#include "tests/op_cases.h"

// The operands that adam and sgd share.
namespace flyball::testing {

inline constexpr double kTestRate = 0.01;
inline constexpr int64_t kTestRows = 64, kTestLogCapacity = 4;

// Parameters of these sizes, with a gap of `gap` elements, which no step may touch, before each.
// Every second one is spared weight decay.
inline std::vector<ParameterSegment> segments_of(const std::vector<int64_t>& sizes, int64_t gap) {
  std::vector<ParameterSegment> segments;
  int64_t begin = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    begin += gap;
    segments.push_back({begin, begin + sizes[i], i % 2 == 0 ? 1 : 0});
    begin += sizes[i];
  }
  return segments;
}

inline int64_t elements_of(const std::vector<ParameterSegment>& segments) {
  int64_t elements = 0;
  for (const ParameterSegment& segment : segments) elements += segment.end - segment.begin;
  return elements;
}

// The weights and biases of the MNIST CNN: 1.2 million.
inline std::vector<int64_t> cnn_sizes() {
  return {32 * 9, 32, 64 * 9 * 32, 64, 128 * 9216, 128, 10 * 128, 10};
}

// ResNet-18 on 32x32 images: each convolution, and its batch norm's two vectors; 11.2 million.
inline std::vector<int64_t> resnet18_sizes() {
  std::vector<int64_t> sizes;
  const auto add_convolution = [&](int64_t from, int64_t to, int64_t filter) {
    for (const int64_t size : {from * to * filter * filter, to, to}) sizes.push_back(size);
  };
  add_convolution(3, 64, 3);
  int64_t from = 64;
  for (const int64_t to : {64, 128, 256, 512}) {
    add_convolution(from, to, 3);
    if (from != to) add_convolution(from, to, 1);
    for (int i = 0; i < 3; ++i) add_convolution(to, to, 3);
    from = to;
  }
  for (const int64_t size : {5120, 10}) sizes.push_back(size);
  return sizes;
}

template <class Record>
Record record_at(const std::byte* bytes, int64_t i = 0) {
  Record record;
  std::memcpy(&record, bytes + i * static_cast<int64_t>(sizeof(Record)), sizeof(Record));
  return record;
}

inline std::vector<double> signal_numbers(const std::byte* bytes) {
  const auto s = record_at<StepSignals>(bytes);
  return {static_cast<double>(s.step), static_cast<double>(s.epoch), s.loss,
          s.correct_fraction,          s.gradient_dot_update,        s.gradient_norm_squared,
          s.update_norm_squared};
}
inline constexpr size_t kFirstSum = 4;  // of signal_numbers

inline std::vector<double> state_numbers(const std::byte* bytes) {
  const auto state = record_at<LearningRateState>(bytes);
  return {state.rate, static_cast<double>(state.action)};
}

inline std::vector<double> log_numbers(const std::byte* bytes) {
  std::vector<double> numbers;
  for (int64_t i = 0; i < kTestLogCapacity; ++i) {
    const auto r = record_at<StepRecord>(bytes, i);
    numbers.insert(numbers.end(),
                   {static_cast<double>(r.step), r.loss, r.correct_fraction, r.learning_rate,
                    static_cast<double>(r.action), static_cast<double>(r.skipped)});
  }
  return numbers;
}

// Weights and gradients, then what drives the step: the loss, the sixth step's signals and a
// constant rate.
inline void add_shared_operands(OpCase& op, const std::vector<ParameterSegment>& segments,
                                const Values& gradients, double loss, Action action) {
  const Shape arena{segments.back().end};
  const LearningRateState state{
      .rate = kTestRate, .action = action, .rule = Rule(ConstantRule{kTestRate})};
  const StepSignals signals{.step = 5, .steps_per_epoch = 3, .total_steps = 100};
  op.operands = {
      {.name = "values", .shape = arena, .role = Role::in_out, .tolerance = {1, 1}},
      {.name = "gradients", .shape = arena, .values = gradients},
      record_operand("segments", Role::input, segments),
      {.name = "loss", .shape = {1}, .values = constant(loss)},
      {.name = "correct", .shape = {1}, .values = constant(48), .element = Element::i32},
      record_operand("signals", Role::in_out, std::vector{signals}, signal_numbers),
      record_operand("state", Role::in_out, std::vector{state}, state_numbers),
      record_operand("log", Role::in_out,
                     std::vector<StepRecord>(static_cast<size_t>(kTestLogCapacity)), log_numbers),
      {.name = "gradient_norm_squared",
       .shape = {1},
       .values = constant(4),
       .element = Element::f64}};
}

template <class T>
StepFeedback<T> feedback_of(const Operands& operands) {
  return {.loss = operands.get<T>("loss"),
          .correct = operands.get<int32_t>("correct"),
          .rows = kTestRows,
          .signals = operands.get<StepSignals>("signals"),
          .state = operands.get<LearningRateState>("state"),
          .log = operands.get<StepRecord>("log"),
          .log_capacity = kTestLogCapacity};
}

// All zeros: numbers without a scale have to be equal.
inline Numbers no_error(const Operands& operands) {
  Numbers scale(operands.size());
  for (size_t i = 0; i < scale.size(); ++i) scale[i].resize(operands.numbers(i).size());
  return scale;
}

}  // namespace flyball::testing
