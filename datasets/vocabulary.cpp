#include "datasets/vocabulary.h"

#include <algorithm>
#include <fstream>
#include <utility>

#include "framework/write_file.h"
#include "kernels/error.h"

namespace flyball {

Vocabulary::Vocabulary(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {
  ids_.reserve(tokens_.size());
  for (size_t i = 0; i < tokens_.size(); ++i) ids_.emplace(tokens_[i], static_cast<int32_t>(i));
}

Vocabulary Vocabulary::build(const TokenizedText& training, const VocabularyOptions& options) {
  if (options.max_size < 3) {
    throw Error(str("vocabulary: max_size is ", options.max_size, ", expected at least 3"));
  }
  if (options.min_count < 1) {
    throw Error(str("vocabulary: min_count is ", options.min_count, ", expected at least 1"));
  }
  std::vector<std::string> tokens{"<pad>", "<unk>"};
  for (size_t i = 0; i < training.dictionary.size(); ++i) {
    const bool full = static_cast<int64_t>(tokens.size()) == options.max_size;
    if (full || training.counts[i] < options.min_count) break;
    tokens.push_back(training.dictionary[i]);
  }
  return Vocabulary(std::move(tokens));
}

int32_t Vocabulary::id(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? kUnknown : found->second;
}

void Vocabulary::save(const std::filesystem::path& path) const {
  std::string lines;
  for (const std::string& token : tokens_) lines += token + '\n';
  write_whole_file(path, lines);
}

Vocabulary Vocabulary::load(const std::filesystem::path& path) {
  const std::string name = path.string();
  std::ifstream in(path, std::ios::binary);
  std::error_code error;
  if (!in || !std::filesystem::is_regular_file(path, error)) {
    throw Error(str(name, ": cannot open, expected a vocabulary"));
  }
  std::vector<std::string> tokens;
  for (std::string line; std::getline(in, line);) {
    const size_t number = tokens.size() + 1;
    if (in.eof()) throw Error(str(name, ": line ", number, " has no end, expected \\n"));
    if (number <= 2 && line != (number == 1 ? "<pad>" : "<unk>")) {
      throw Error(str(name, ": line ", number, " is not ", number == 1 ? "<pad>" : "<unk>"));
    }
    if (line.empty()) throw Error(str(name, ": line ", number, " is empty, expected a token"));
    tokens.push_back(std::move(line));
  }
  if (in.bad()) throw Error(str(name, ": cannot be read"));
  if (tokens.size() < 2) {
    throw Error(str(name, ": ends after line ", tokens.size(), ", expected <pad> and <unk>"));
  }
  Vocabulary vocabulary(std::move(tokens));
  for (size_t i = 0; i < vocabulary.tokens_.size(); ++i) {
    const int32_t first = vocabulary.id(vocabulary.tokens_[i]);
    if (first == static_cast<int32_t>(i)) continue;
    throw Error(str(name, ": line ", i + 1, " holds the token of line ", first + 1, " again"));
  }
  return vocabulary;
}

TextData encode(const TokenizedText& text, const Vocabulary& vocabulary,
                const EncodeOptions& options) {
  if (options.max_length < 1) {
    throw Error(str("encode: max_length is ", options.max_length, ", expected at least 1"));
  }
  std::vector<int32_t> ids;
  ids.reserve(text.dictionary.size());
  for (const std::string& token : text.dictionary) ids.push_back(vocabulary.id(token));

  const int64_t most = std::min(options.max_length, static_cast<int64_t>(text.tokens.size()) + 1);
  int64_t head = most;  // kept tokens before the dropped ones
  if (options.keep == Keep::tail) head = 0;
  if (options.keep == Keep::both) head = (most + 1) / 2;
  TextData data;
  data.name = text.name;
  data.classes = text.classes;
  data.vocabulary = vocabulary.size();
  data.labels = text.labels;
  data.offsets.push_back(0);
  const auto append = [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      data.tokens.push_back(ids[static_cast<size_t>(text.tokens[static_cast<size_t>(at)])]);
    }
  };
  for (size_t i = 0; i < text.labels.size(); ++i) {
    const int64_t begin = text.offsets[i];
    const int64_t end = text.offsets[i + 1];
    if (end - begin > most) {
      append(begin, begin + head);
      append(end - (most - head), end);
    } else if (end > begin) {
      append(begin, end);
    } else {
      data.tokens.push_back(Vocabulary::kUnknown);
    }
    data.offsets.push_back(static_cast<int64_t>(data.tokens.size()));
  }
  return data;
}

}  // namespace flyball
