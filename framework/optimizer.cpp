#include "framework/optimizer.h"

#include <algorithm>
#include <array>

#include "framework/check.h"
#include "framework/run.h"
#include "kernels/reduce.h"
#include "kernels/sgd.h"

namespace flyball {
namespace {

template <class T>
StepFeedback<T> feedback(const StepResult& result, const LearningRate& rate) {
  return {.loss = result.loss.data<T>(),
          .correct = result.correct.data<int32_t>(),
          .rows = result.rows,
          .signals = rate.signals(),
          .state = rate.state(),
          .log = rate.log(),
          .log_capacity = LearningRate::kLogCapacity};
}

void check_options(const char* optimizer, double weight_decay, double clip_norm) {
  if (!(weight_decay >= 0) || !(clip_norm >= 0)) {
    throw Error(str(optimizer, ": weight_decay is ", weight_decay, " and clip_norm ", clip_norm,
                    ", expected at least 0"));
  }
}

// The squared norm of the whole gradient, for clipping: one pass for each segment, added in order.
template <class T>
const double* norm_squared(const Stream& stream, ParameterArena& arena, Tensor& destination) {
  bool accumulate = false;
  for (const ParameterSegment& segment : arena.host_segments()) {
    run<cpu::sum_of_squares<T>, cuda::sum_of_squares<T>>(
        stream, SumOfSquares<T>{.x = arena.gradients().data<T>() + segment.begin,
                                .y = destination.mutable_data<double>(),
                                .count = segment.end - segment.begin,
                                .accumulate = accumulate});
    accumulate = true;
  }
  return destination.data<double>();
}

}  // namespace

Adam::Adam(const Stream& stream, ParameterArena& arena, const LearningRate& rate,
           const AdamOptions& options)
    : arena_(arena), options_(options), m_(arena.new_buffer(stream)), v_(arena.new_buffer(stream)) {
  check_options("adam", options.weight_decay, options.clip_norm);
  if (rolls_back(rate.kind())) snapshot_ = arena.copy_of_values(stream);
  const int64_t chunks = adam_chunks(arena.host_segments().data(), arena.segment_count());
  partial_sums_ = Tensor::empty(stream, {3 * chunks}, DType::f64);
  gradient_norm_squared_ = Tensor::zeros(stream, {1}, DType::f64);
  const std::array<double, 2> ones{1, 1};
  powers_ = Tensor::from_host(stream, {2}, std::span<const double>(ones));
  arrivals_ = Tensor::zeros(stream, {1}, DType::i32);
}

void Adam::enqueue_step(const StepResult& result, LearningRate& rate, const Stream& stream) {
  check_shape("adam: loss", result.loss.shape(), {1}, "mean over the batch");
  check_dtype("adam: loss", result.loss.dtype(), arena_.dtype());
  arena_.finish_gradients(stream);
  dispatch_real(arena_.dtype(), "adam", [&](auto zero) {
    using T = decltype(zero);
    const double* norm =
        options_.clip_norm > 0 ? norm_squared<T>(stream, arena_, gradient_norm_squared_) : nullptr;
    run<cpu::adam<T>, cuda::adam<T>>(
        stream, AdamStep<T>{.values = arena_.values().mutable_data<T>(),
                            .gradients = arena_.gradients().data<T>(),
                            .m = m_.mutable_data<T>(),
                            .v = v_.mutable_data<T>(),
                            .snapshot = snapshot_.defined() ? snapshot_.mutable_data<T>() : nullptr,
                            .segments = arena_.segments(),
                            .segment_count = arena_.segment_count(),
                            .beta1 = options_.beta1,
                            .beta2 = options_.beta2,
                            .epsilon = options_.epsilon,
                            .weight_decay = options_.weight_decay,
                            .clip_norm = options_.clip_norm,
                            .gradient_norm_squared = norm,
                            .sums = reads_gradient_sums(rate.kind()),
                            .partial_sums = partial_sums_.mutable_data<double>(),
                            .powers = reinterpret_cast<AdamPowers*>(powers_.mutable_data<double>()),
                            .arrivals = static_cast<uint32_t*>(arrivals_.mutable_raw()),
                            .feedback = feedback<T>(result, rate)});
  });
  arena_.mark_stepped();
}

std::vector<std::pair<std::string, Tensor>> Adam::state() {
  std::vector<std::pair<std::string, Tensor>> state{{"m", m_}, {"v", v_}, {"powers", powers_}};
  if (snapshot_.defined()) state.emplace_back("snapshot", snapshot_);
  return state;
}

Sgd::Sgd(const Stream& stream, ParameterArena& arena, const LearningRate& rate,
         const SgdOptions& options)
    : arena_(arena), options_(options), momentum_(arena.new_buffer(stream)) {
  check_options("sgd", options.weight_decay, options.clip_norm);
  if (rolls_back(rate.kind())) snapshot_ = arena.copy_of_values(stream);
  if (reads_gradient_sums(rate.kind())) {
    const int64_t chunks = adam_chunks(arena.host_segments().data(), arena.segment_count());
    partial_sums_ = Tensor::empty(stream, {3 * chunks}, DType::f64);
  }
  gradient_norm_squared_ = Tensor::zeros(stream, {1}, DType::f64);
}

void Sgd::enqueue_step(const StepResult& result, LearningRate& rate, const Stream& stream) {
  check_shape("sgd: loss", result.loss.shape(), {1}, "mean over the batch");
  check_dtype("sgd: loss", result.loss.dtype(), arena_.dtype());
  arena_.finish_gradients(stream);
  dispatch_real(arena_.dtype(), "sgd", [&](auto zero) {
    using T = decltype(zero);
    const double* norm =
        options_.clip_norm > 0 ? norm_squared<T>(stream, arena_, gradient_norm_squared_) : nullptr;
    StepFeedback<T> with_sums = feedback<T>(result, rate);
    double* partial_sums = nullptr;
    if (partial_sums_.defined()) {
      with_sums.partial_sums = partial_sums = partial_sums_.mutable_data<double>();
      with_sums.chunks = partial_sums_.shape()[0] / 3;
    }
    run<cpu::sgd<T>, cuda::sgd<T>>(
        stream, SgdStep<T>{.values = arena_.values().mutable_data<T>(),
                           .gradients = arena_.gradients().data<T>(),
                           .momentum = momentum_.mutable_data<T>(),
                           .snapshot = snapshot_.defined() ? snapshot_.mutable_data<T>() : nullptr,
                           .segments = arena_.segments(),
                           .segment_count = arena_.segment_count(),
                           .mu = options_.momentum,
                           .weight_decay = options_.weight_decay,
                           .clip_norm = options_.clip_norm,
                           .gradient_norm_squared = norm,
                           .partial_sums = partial_sums,
                           .feedback = with_sums});
    run<cpu::learning_rate<T>, cuda::learning_rate<T>>(stream, with_sums);
  });
  arena_.mark_stepped();
}

std::vector<std::pair<std::string, Tensor>> Sgd::state() {
  std::vector<std::pair<std::string, Tensor>> state{{"momentum", momentum_}};
  if (snapshot_.defined()) state.emplace_back("snapshot", snapshot_);
  return state;
}

}  // namespace flyball
