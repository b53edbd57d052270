#include "framework/text_loader.h"

#include <algorithm>

namespace flyball {

BatchMemory TextBatches::memory(const Allocate& allocate) const {
  return {allocate({order_.largest_tokens()}, DType::i32),
          allocate({2 * order_.largest_batch()}, DType::i32)};
}

Batch TextBatches::view(const BatchPosition& position, const BatchMemory& memory) const {
  const int64_t count = order_.count(position.index);
  const int64_t time = order_.time(position);
  return {.x = memory.x.slice(0, time * count).reshape({time, count}),
          .labels = memory.labels.slice(0, count),
          .lengths = memory.labels.slice(count, 2 * count),
          .count = count,
          .epoch = position.epoch,
          .index = position.index};
}

void TextBatches::fill(Batch& batch) const {
  const std::vector<int64_t> chosen = order_.samples_of({batch.epoch, batch.index});
  auto* x = batch.x.mutable_data<int32_t>();
  auto* labels = batch.labels.mutable_data<int32_t>();
  auto* lengths = batch.lengths.mutable_data<int32_t>();
  std::fill(x, x + batch.x.count(), 0);
  for (int64_t i = 0; i < batch.count; ++i) {
    const int64_t sample = chosen[static_cast<size_t>(i)];
    const int64_t length = data_.length(sample);
    const int32_t* tokens = data_.tokens.data() + data_.offsets[static_cast<size_t>(sample)];
    for (int64_t t = 0; t < length; ++t) x[t * batch.count + i] = tokens[t];
    labels[i] = data_.labels[static_cast<size_t>(sample)];
    lengths[i] = static_cast<int32_t>(length);
  }
}

BatchPosition TextBatches::after(const BatchPosition& position) const {
  return order_.after(position);
}

namespace {

std::vector<int64_t> lengths_for(const TextData& data, const std::vector<int64_t>& indices,
                                 const TextLoaderOptions& options) {
  if (!options.bucket_lengths.empty()) return options.bucket_lengths;
  return bucket_lengths(data, indices, options.buckets);
}

}  // namespace

TextLoader::TextLoader(const Stream& stream, const TextData& data,
                       const std::vector<int64_t>& indices, const TextLoaderOptions& options)
    : order_(data, indices, lengths_for(data, indices, options), options.batch_size,
             options.shuffle, options.seed),
      source_(make_host_source(stream, std::make_unique<TextBatches>(data, order_),
                               options.prefetch)) {}

}  // namespace flyball
