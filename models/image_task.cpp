#include "models/image_task.h"

#include "datasets/image_file.h"
#include "framework/sample_loader.h"

namespace flyball {
namespace {

Residence residence_of(const RunOptions& options) {
  if (options.residence == "host") return Residence::host;
  return options.residence == "device" ? Residence::device : Residence::automatic;
}

Augmentation augmentation_of(const RunOptions& options) {
  if (options.augment == "flip-rotate") return {.flip_probability = 0.5, .rotation_degrees = 10};
  if (options.augment == "crop-flip") return {.flip_probability = 0.5, .crop_padding = 4};
  return {};
}

class ImageSet : public LabelledSet {
 public:
  explicit ImageSet(ImageData data) : dataset_(std::move(data)) {}
  const std::string& name() const override { return dataset_.name(); }
  int64_t size() const override { return dataset_.size(); }
  std::unique_ptr<DataLoader> loader(const Stream& stream, std::vector<int64_t> indices,
                                     const RunOptions& options, Use use) const override {
    const bool training = use == Use::training;
    return std::make_unique<SampleLoader>(
        stream, dataset_, std::move(indices),
        SampleLoaderOptions{.batch_size = options.batch_size,
                            .shuffle = training,
                            .seed = options.seed,
                            .augmentation = training ? augmentation_of(options) : Augmentation{},
                            .residence = residence_of(options)});
  }

 private:
  ImageDataset dataset_;
};

}  // namespace

std::unique_ptr<LabelledSet> ImageTask::load(const RunOptions& options, Part part) {
  const std::filesystem::path folder =
      options.data.empty() ? parts_.sample_folder() : std::filesystem::path(options.data);
  return std::make_unique<ImageSet>(parts_.load(folder, part));
}

std::unique_ptr<LabelledSet> ImageTask::inputs(const RunOptions&,
                                               const std::vector<std::string>& inputs) const {
  ImageData data = parts_.layout;
  data.name = "inputs";
  data.count = static_cast<int64_t>(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::vector<uint8_t> pixels = read_image(inputs[i], data.h, data.w, data.c);
    data.pixels.insert(data.pixels.end(), pixels.begin(), pixels.end());
    data.labels.push_back(static_cast<int32_t>(i));
  }
  return std::make_unique<ImageSet>(std::move(data));
}

}  // namespace flyball
