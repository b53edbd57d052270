#include "framework/data_loader.h"

#include "framework/ring_batches.h"

namespace flyball {

Batch DataLoader::next() {
  Batch batch = prepare();
  load(batch);
  return batch;
}

void DataLoader::seek(int64_t epoch, int64_t index) {
  check({epoch, index});
  source().seek({epoch, index});
}

int64_t DataLoader::full_waits() const {
  const auto* ring = dynamic_cast<const RingBatches*>(&source());
  return ring == nullptr ? 0 : ring->full_waits();
}

std::unique_ptr<BatchSource> make_host_source(const Stream& stream,
                                              std::unique_ptr<const BatchMaker> maker,
                                              int prefetch) {
  if (stream.device().kind == Device::Kind::cpu) {
    return std::make_unique<HostBatches>(std::move(maker),
                                         HostBatches::Options{.prefetch = prefetch});
  }
  return std::make_unique<RingBatches>(stream, std::move(maker), prefetch);
}

}  // namespace flyball
