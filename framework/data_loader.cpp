#include "framework/data_loader.h"

#include "framework/device_runtime.h"
#include "framework/resident_batches.h"
#include "framework/ring_batches.h"

namespace flyball {
namespace {

bool wants_residence(const Stream& stream, const Dataset& dataset, Residence residence) {
  if (residence != Residence::automatic) return residence == Residence::device;
  const int64_t bytes = dataset.device_bytes();
  return bytes > 0 && bytes < device_runtime(stream.device()).free_bytes() / 4;
}

}  // namespace

DataLoader::DataLoader(const Stream& stream, const Dataset& dataset, std::vector<int64_t> indices,
                       const DataLoaderOptions& options)
    : dataset_(dataset),
      order_(std::move(indices), dataset.size(), dataset.name(), options.batch_size,
             options.shuffle, options.seed) {
  if (stream.device().kind == Device::Kind::cpu) {
    source_ = std::make_unique<HostBatches>(
        std::make_unique<SampleBatches>(dataset, order_, options.augmentation),
        HostBatches::Options{.prefetch = options.prefetch});
    return;
  }
  resident_ = wants_residence(stream, dataset, options.residence);
  if (resident_) {
    source_ = std::make_unique<ResidentBatches>(stream, dataset.on_device(stream), order_,
                                                options.augmentation);
  } else {
    source_ = std::make_unique<RingBatches>(stream, dataset, order_, options.augmentation,
                                            options.prefetch);
  }
}

Batch DataLoader::next() {
  Batch batch = prepare();
  load(batch);
  return batch;
}

void DataLoader::seek(int64_t epoch, int64_t index) {
  order_.check({epoch, index});
  source_->seek({epoch, index});
}

int64_t DataLoader::full_waits() const {
  const auto* ring = dynamic_cast<const RingBatches*>(source_.get());
  return ring == nullptr ? 0 : ring->full_waits();
}

}  // namespace flyball
