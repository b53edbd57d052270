#include "models/saved_model.h"

#include <algorithm>

#include "framework/safetensors.h"
#include "models/run_config.h"

namespace flyball {
namespace {

namespace fs = std::filesystem;

// The run folder that weights lie in, or whose checkpoints/ they lie in.
fs::path folder_of(const fs::path& weights) {
  const fs::path folder = weights.parent_path();
  std::error_code failure;
  return fs::exists(folder / "config.json", failure) || !folder.has_parent_path()
             ? folder
             : folder.parent_path();
}

// Index of the largest of n logits; the first of equals.
int64_t answer(const float* logits, int64_t n) {
  return std::max_element(logits, logits + n) - logits;
}

}  // namespace

SavedModel open_model(const fs::path& checkpoint, const Stream& stream) {
  std::error_code failure;
  const bool is_folder = fs::is_directory(checkpoint, failure);
  const fs::path weights = is_folder ? checkpoint / "model.safetensors" : checkpoint;
  if (!fs::exists(weights, failure)) {
    throw Error(str("--checkpoint: ", weights.string(),
                    " does not exist, expected a run folder or "
                    "weights in one"));
  }
  const fs::path folder = is_folder ? checkpoint : folder_of(fs::absolute(checkpoint));
  SavedModel saved;
  saved.options = read_config(folder / "config.json");
  saved.task = make_task(saved.options.model);
  saved.task->restore(folder);
  Initializer init(stream, saved.options.seed);
  saved.model = saved.task->make_model(saved.options, init);
  load_model(weights, *saved.model.module, stream);
  return saved;
}

Score score(const Stream& stream, const SavedModel& saved, DataLoader& loader,
            const std::string& split, Precision precision) {
  std::vector<Tensor> all_logits;
  std::vector<std::vector<int32_t>> all_labels;
  const ForwardFunction remembering = [&](const Context& context, const Batch& batch) {
    Variable logits = saved.model.forward(context, batch);
    all_logits.push_back(logits.value());
    all_labels.push_back(batch.labels.to_host<int32_t>(stream));
    return logits;
  };
  Score score{.evaluation = evaluate(stream, remembering, loader, split, precision),
              .confusion = {}};
  const size_t classes = saved.task->classes().size();
  score.confusion.assign(classes, std::vector<int64_t>(classes, 0));
  for (size_t b = 0; b < all_logits.size(); ++b) {
    const Tensor& given_logits = all_logits[b];  // bf16 with --precision bf16
    const std::vector<float> logits =
        (given_logits.dtype() == DType::f32 ? given_logits : given_logits.cast(stream, DType::f32))
            .to_host<float>(stream);
    for (size_t i = 0; i < all_labels[b].size(); ++i) {
      const int64_t given = answer(logits.data() + i * classes, static_cast<int64_t>(classes));
      ++score.confusion[static_cast<size_t>(all_labels[b][i])][static_cast<size_t>(given)];
    }
  }
  return score;
}

int run_main(const std::string& program, const std::function<int()>& body) {
  try {
    return body();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: error: %s\n", program.c_str(), error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: failed: %s\n", program.c_str(), error.what());
    return 1;
  }
}

}  // namespace flyball
