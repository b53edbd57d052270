#pragma once

#include <functional>

#include "framework/image_data.h"
#include "models/task.h"

namespace flyball {

// A task on a set of images.
class ImageTask : public Task {
 public:
  struct Parts {
    BinaryDescription binary;
    std::vector<std::string> classes;
    std::function<ImageData(const std::filesystem::path& folder, Part part)> load;
    std::function<std::filesystem::path()> sample_folder;  // where there is no --data
    ImageData layout;  // sizes and normalisation, without images
    std::function<Model(const RunOptions&, Initializer&)> make_model;
  };
  explicit ImageTask(Parts parts) : parts_(std::move(parts)) {}

  const BinaryDescription& binary() const override { return parts_.binary; }
  const std::vector<std::string>& classes() const override { return parts_.classes; }
  std::unique_ptr<LabelledSet> load(const RunOptions& options, Part part) override;
  Model make_model(const RunOptions& options, Initializer& init) const override {
    return parts_.make_model(options, init);
  }
  bool reads_texts() const override { return false; }
  std::unique_ptr<LabelledSet> inputs(const RunOptions& options,
                                      const std::vector<std::string>& inputs) const override;

 private:
  Parts parts_;
};

}  // namespace flyball
