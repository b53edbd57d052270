#include "models/text_task.h"

#include "framework/text_loader.h"

namespace flyball {
namespace {

constexpr const char* kVocabularyFile = "vocabulary.txt";

class TextSet : public LabelledSet {
 public:
  explicit TextSet(TextData data) : data_(std::move(data)) {}
  const std::string& name() const override { return data_.name; }
  int64_t size() const override { return data_.size(); }
  std::unique_ptr<DataLoader> loader(const Stream& stream, std::vector<int64_t> indices,
                                     const RunOptions& options, Use use) const override {
    return std::make_unique<TextLoader>(stream, data_, indices,
                                        TextLoaderOptions{.batch_size = options.batch_size,
                                                          .shuffle = use == Use::training,
                                                          .seed = options.seed});
  }

 private:
  TextData data_;
};

EncodeOptions encoding_of(const TextOptions& text) {
  const Keep keep = text.keep == "head"   ? Keep::head
                    : text.keep == "tail" ? Keep::tail
                                          : Keep::both;
  return {.max_length = text.max_length, .keep = keep};
}

}  // namespace

std::unique_ptr<LabelledSet> TextTask::load(const RunOptions& options, Part part) {
  const TokenizedText text = parts_.load(options, part);
  if (part == Part::training && !vocabulary_) {
    vocabulary_ = Vocabulary::build(
        text, {.max_size = options.text.vocabulary, .min_count = options.text.min_count});
  }
  return std::make_unique<TextSet>(encode(text, vocabulary(), encoding_of(options.text)));
}

Model TextTask::make_model(const RunOptions& options, Initializer& init) const {
  return parts_.make_model(options.text, vocabulary().size(), init);
}

void TextTask::save(const std::filesystem::path& folder) const {
  vocabulary().save(folder / kVocabularyFile);
}

void TextTask::restore(const std::filesystem::path& folder) {
  vocabulary_ = Vocabulary::load(folder / kVocabularyFile);
}

std::unique_ptr<LabelledSet> TextTask::inputs(const RunOptions& options,
                                              const std::vector<std::string>& inputs) const {
  TextSamples samples{.name = "inputs", .texts = inputs};
  for (size_t i = 0; i < inputs.size(); ++i) samples.labels.push_back(static_cast<int32_t>(i));
  return std::make_unique<TextSet>(
      encode(tokenize(samples), vocabulary(), encoding_of(options.text)));
}

const Vocabulary& TextTask::vocabulary() const {
  if (!vocabulary_) throw Error("text task: no vocabulary, expected the training part first");
  return *vocabulary_;
}

}  // namespace flyball
