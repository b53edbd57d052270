// A BiLSTM's training step on a CUDA device, real or simulated, captured and replayed.

#include "framework/step_graphs.h"
#include "models/bilstm.h"
#include "tests/cuda_device.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

constexpr int64_t kTime = 9, kBatch = 5, kVocabulary = 40;

// A training run on one memory, into which each step's batch is copied first.
class Training {
 public:
  Training(const Stream& stream, bool capture)
      : stream_(stream),
        capture_(capture),
        init_(stream, 1),
        net_(init_, {.vocabulary = kVocabulary,
                     .embedding = 6,
                     .hidden = 18,
                     .num_layers = 2,
                     .classes = 3,
                     .dropout = 0.3}),
        arena_(stream, net_),
        rate_(stream, ConstantRule{1e-2}),
        adam_(stream, arena_, rate_),
        graphs_(stream),
        tokens_(integers({kTime, kBatch}, 0, kVocabulary)),
        lengths_(integers({kBatch}, 1, kTime + 1)),
        labels_(integers({kBatch}, 0, 3)) {}

  std::vector<double> step() {
    const Batch batch{.x = tokens_, .labels = labels_, .count = kBatch};
    const auto enqueue = [&] {
      const Context context{.stream = stream_, .training = true, .seed = 3, .step = rate_.step()};
      const CrossEntropy entropy =
          softmax_cross_entropy(context, net_.forward(context, tokens_, lengths_), labels_);
      entropy.loss.backward(stream_);
      const StepResult result{entropy.loss.value(), entropy.correct, kBatch};
      adam_.enqueue_step(result, rate_, stream_);
      return result;
    };
    const StepResult result = capture_ ? graphs_.run(batch, enqueue) : enqueue();
    return result.loss.cast(stream_, DType::f64).to_host<double>(stream_);
  }

  // Another batch in the same memory.
  void next_batch() {
    ++batch_;
    tokens_.copy_from(stream_, integers({kTime, kBatch}, 0, kVocabulary));
    lengths_.copy_from(stream_, integers({kBatch}, 1, kTime + 1));
    labels_.copy_from(stream_, integers({kBatch}, 0, 3));
  }

  std::vector<float> weights() {
    std::vector<float> all;
    for (auto& parameter : parameters_of(net_)) {
      const auto values = parameter.item->variable.value().to_host<float>(stream_);
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }
  int64_t replays() const { return graphs_.replays(); }

 private:
  Tensor integers(const Shape& shape, int64_t begin, int64_t end) {
    std::vector<int32_t> values(static_cast<size_t>(shape.count()));
    for (size_t i = 0; i < values.size(); ++i) {
      const auto word = philox_at(i, batch_, static_cast<uint32_t>(shape.count()), 7).word[0];
      values[i] = static_cast<int32_t>(begin + word % (end - begin));
    }
    return Tensor::from_host(stream_, shape, std::span<const int32_t>(values));
  }

  const Stream& stream_;
  bool capture_;
  uint32_t batch_ = 0;
  Initializer init_;
  BiLstm net_;
  ParameterArena arena_;
  LearningRate rate_;
  Adam adam_;
  StepGraphs graphs_;
  Tensor tokens_, lengths_, labels_;
};

}  // namespace

TEST_CASE("cuda bilstm: captured steps, with lengths that change, give the bits of enqueued ones") {
  const Stream* stream = cuda_stream();
  if (stream == nullptr) return;
  Training enqueued(*stream, false), captured(*stream, true);
  for (int i = 0; i < 6; ++i) {
    CHECK(enqueued.step() == captured.step());
    enqueued.next_batch();
    captured.next_batch();
  }
  CHECK(captured.replays() == 5);
  CHECK(enqueued.weights() == captured.weights());
}

TEST_CASE("cuda bilstm: 20 steps have the CPU's losses") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  const Stream cpu;
  Training on_cuda(*cuda, true), on_cpu(cpu, false);
  double worst = 0;
  for (int i = 0; i < 20; ++i) {
    const double got = on_cuda.step()[0], want = on_cpu.step()[0];
    worst = std::max(worst, std::abs(got - want) / want);
    on_cuda.next_batch();
    on_cpu.next_batch();
  }
  MESSAGE("losses within ", worst);
  CHECK(worst < 1e-4);
}
