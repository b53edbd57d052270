#pragma once

#include <functional>
#include <optional>

#include "datasets/vocabulary.h"
#include "models/task.h"

namespace flyball {

// A task on labelled texts: the vocabulary comes from the training part, and goes with the model.
class TextTask : public Task {
 public:
  struct Parts {
    BinaryDescription binary;
    std::vector<std::string> classes;
    std::function<TokenizedText(const RunOptions&, Part)> load;
    // vocabulary: its size
    std::function<Model(const TextOptions&, int64_t vocabulary, Initializer&)> make_model;
  };
  explicit TextTask(Parts parts) : parts_(std::move(parts)) {}

  const BinaryDescription& binary() const override { return parts_.binary; }
  const std::vector<std::string>& classes() const override { return parts_.classes; }
  std::unique_ptr<LabelledSet> load(const RunOptions& options, Part part) override;
  Model make_model(const RunOptions& options, Initializer& init) const override;
  void save(const std::filesystem::path& folder) const override;
  void restore(const std::filesystem::path& folder) override;
  bool reads_texts() const override { return true; }
  std::unique_ptr<LabelledSet> inputs(const RunOptions& options,
                                      const std::vector<std::string>& inputs) const override;

 private:
  const Vocabulary& vocabulary() const;

  Parts parts_;
  std::optional<Vocabulary> vocabulary_;
};

}  // namespace flyball
