#include "framework/sample_loader.h"

#include "framework/device_runtime.h"
#include "framework/host_batches.h"
#include "framework/resident_batches.h"

namespace flyball {
namespace {

bool wants_residence(const Stream& stream, const Dataset& dataset, Residence residence) {
  if (stream.device().kind == Device::Kind::cpu) return false;
  if (residence != Residence::automatic) return residence == Residence::device;
  const int64_t bytes = dataset.device_bytes();
  return bytes > 0 && bytes < device_runtime(stream.device()).free_bytes() / 4;
}

}  // namespace

SampleLoader::SampleLoader(const Stream& stream, const Dataset& dataset,
                           std::vector<int64_t> indices, const SampleLoaderOptions& options)
    : dataset_(dataset),
      order_(std::move(indices), dataset.size(), dataset.name(), options.batch_size,
             options.shuffle, options.seed),
      resident_(wants_residence(stream, dataset, options.residence)) {
  if (resident_) {
    source_ = std::make_unique<ResidentBatches>(stream, dataset.on_device(stream), order_,
                                                options.augmentation);
  } else {
    source_ = make_host_source(
        stream, std::make_unique<SampleBatches>(dataset, order_, options.augmentation),
        options.prefetch);
  }
}

}  // namespace flyball
