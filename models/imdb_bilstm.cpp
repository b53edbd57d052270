#include <cstdio>

#include "datasets/imdb.h"
#include "datasets/sst2.h"
#include "datasets/synthetic_text.h"
#include "models/bilstm.h"
#include "models/tasks.h"
#include "models/text_task.h"

namespace flyball {
namespace {

constexpr int64_t kSyntheticTraining = 4000, kSyntheticTest = 1000;

// IMDB's texts lie in 50,000 files; their tokens are kept in one, beside the data, where that can
// be written.
TokenizedText load_imdb_tokens(const std::filesystem::path& folder, Part part) {
  const bool test = part == Part::test;
  const std::filesystem::path cache = folder / (test ? "imdb-test.tokens" : "imdb-train.tokens");
  CacheUse use{};
  TokenizedText text =
      cached_tokens(imdb_source(folder, test ? ImdbSplit::test : ImdbSplit::train), cache, &use);
  if (use == CacheUse::unwritten) {
    std::fprintf(stderr, "imdb_bilstm: note: cannot write %s, the texts are read again each time\n",
                 cache.c_str());
  }
  return text;
}

TokenizedText load_texts(const RunOptions& options, Part part) {
  const bool test = part == Part::test;
  if (options.dataset == "imdb") return load_imdb_tokens(options.data, part);
  if (options.dataset == "sst2") {
    return tokenize(load_sst2(options.data, test ? Sst2Split::dev : Sst2Split::train));
  }
  TextSamples samples =
      synthetic_text(test ? kSyntheticTest : kSyntheticTraining, /*seed=*/test ? 2 : 1);
  samples.name = test ? "synthetic test" : "synthetic train";
  return tokenize(samples);
}

SequencePool pool_of(const std::string& name) {
  if (name == "max") return SequencePool::kMax;
  return name == "last" ? SequencePool::kLast : SequencePool::kMean;
}

Model make_bilstm(const TextOptions& text, int64_t vocabulary, Initializer& init) {
  return make_model<BiLstm>(init, BiLstmOptions{.vocabulary = vocabulary,
                                                .embedding = text.embedding,
                                                .hidden = text.hidden,
                                                .num_layers = text.layers,
                                                .dropout = text.dropout,
                                                .pool = pool_of(text.pool)});
}

}  // namespace

std::unique_ptr<Task> imdb_bilstm() {
  return std::make_unique<TextTask>(TextTask::Parts{
      .binary = {.model = "imdb_bilstm",
                 .what = "Trains a bidirectional LSTM on film reviews (3,236,034 parameters with "
                         "IMDB's 30,000 most frequent tokens).",
                 .variants = {},
                 .default_epochs = 3,
                 .datasets = {"imdb", "sst2", "synthetic"},
                 .texts = true,
                 .presets = {{"sst2",
                              "phrases and sentences of at most 64 tokens",
                              {"--dataset", "sst2", "--max-length", "64", "--min-count", "1"}},
                             {"quick",
                              "one epoch of a small network",
                              {"--epochs", "1", "--limit-train", "2000", "--max-length", "100",
                               "--embedding", "50", "--hidden", "32"}}}},
      .classes = {"negative", "positive"},
      .load = load_texts,
      .make_model = make_bilstm});
}

}  // namespace flyball
