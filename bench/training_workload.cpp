#include "bench/training_workload.h"

#include <vector>

#include "kernels/philox.h"
#include "models/bilstm.h"
#include "models/cnn.h"
#include "models/mlp.h"
#include "models/resnet.h"
#include "schedulers/schedules.h"

namespace flyball::bench {
namespace {

constexpr int64_t kTime = 200;  // tokens of a sequence
constexpr BiLstmOptions kBiLstm{.dropout = 0};

Model make_network(const TrainingOptions& options, Initializer& init) {
  if (options.model == "bilstm") return make_model<BiLstm>(init, kBiLstm);
  if (options.model == "resnet18") {
    return make_model<ResNet18>(init, ResNetOptions{.width = options.width});
  }
  if (options.model == "mlp") return make_model<Mlp>(init, Mlp::complex());
  return make_model<Cnn>(init);
}

Tensor random_tokens(const Stream& stream, int64_t batch) {
  std::vector<int32_t> tokens(static_cast<size_t>(kTime * batch));
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = 1 + static_cast<int32_t>(philox_at(i, 1, 0, 7).word[0] %
                                         static_cast<uint32_t>(kBiLstm.vocabulary - 1));
  }
  return Tensor::from_host(stream, {kTime, batch}, std::span<const int32_t>(tokens));
}

Tensor random_images(const Stream& stream, const Shape& shape) {
  std::vector<float> x(static_cast<size_t>(shape.count()));
  for (size_t i = 0; i < x.size(); ++i) {
    const PhiloxWords words = philox_at(i, 0, 0, 7);
    x[i] = 3.4F * (uniform_float(words.word[0]) + uniform_float(words.word[1]) - 1);
  }
  return Tensor::from_host(stream, shape, std::span<const float>(x));
}

Batch make_batch(const TrainingOptions& options, const Stream& stream) {
  const int64_t n = options.batch;
  const bool texts = options.model == "bilstm";
  std::vector<int32_t> labels(static_cast<size_t>(n));
  for (size_t i = 0; i < labels.size(); ++i)
    labels[i] = static_cast<int32_t>(i * 7 % (texts ? 2 : 10));
  Batch batch;
  batch.count = n;
  batch.labels = Tensor::from_host(stream, {n}, std::span<const int32_t>(labels));
  if (texts) {
    batch.x = random_tokens(stream, n);
    const std::vector<int32_t> lengths(static_cast<size_t>(n), kTime);
    batch.lengths = Tensor::from_host(stream, {n}, std::span<const int32_t>(lengths));
  } else {
    batch.x = random_images(
        stream, options.model == "resnet18" ? Shape{n, 32, 32, 3} : Shape{n, 28, 28, 1});
  }
  return batch;
}

}  // namespace

Workload::Workload(const TrainingOptions& options)
    : stream_(parse_device(options.device)),
      precision_(parse_precision(options.precision)),
      recompute_(parse_recompute(options.recompute, stream_.device())),
      init_(stream_, 1),
      model_(make_network(options, init_)),
      arena_(stream_, *model_.module),
      rate_(stream_, make_rule(options.schedule, 1e-3)),
      adam_(stream_, arena_, rate_),
      batch_(make_batch(options, stream_)) {
  check_precision(precision_, stream_.device());
}

void Workload::forward() {
  const Context context{.stream = stream_,
                        .training = true,
                        .seed = 1,
                        .step = rate_.step(),
                        .precision = precision_,
                        .recompute = recompute_};
  entropy_ = softmax_cross_entropy(context, model_.forward(context, batch_), batch_.labels);
}

void Workload::evaluate() {
  const NoGradient no_gradient;
  const Context context{.stream = stream_, .precision = precision_};
  softmax_cross_entropy(context, model_.forward(context, batch_), batch_.labels);
}

void Workload::backward() { entropy_.loss.backward(stream_); }

StepResult Workload::optimize() {
  const StepResult result{entropy_.loss.value(), entropy_.correct, batch_.count};
  adam_.enqueue_step(result, rate_, stream_);
  return result;
}

}  // namespace flyball::bench
