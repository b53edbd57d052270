#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "datasets/tokenized_text.h"
#include "framework/text_data.h"

namespace flyball {

struct VocabularyOptions {
  int64_t max_size = 30000;  // <pad> and <unk> included
  int64_t min_count = 2;     // tokens that occur less often are left out
};

// The tokens a model knows, by their ids: <pad> is 0, <unk> is 1, then the most frequent first,
// equally frequent ones by their bytes. No text holds <pad> or <unk> as a token: "<" is a mark.
class Vocabulary {
 public:
  static constexpr int32_t kPadding = 0;
  static constexpr int32_t kUnknown = 1;

  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;
  Vocabulary(const Vocabulary&) = delete;  // ids_ refers to tokens_
  Vocabulary& operator=(const Vocabulary&) = delete;

  // From the training split alone. Throws Error where max_size is below 3 or min_count below 1.
  static Vocabulary build(const TokenizedText& training, const VocabularyOptions& options = {});

  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }
  int32_t id(std::string_view token) const;  // kUnknown where it is not known
  const std::string& token(int32_t id) const { return tokens_.at(static_cast<size_t>(id)); }

  // A text file, a token a line: line i + 1 holds the token with id i. Written to a temporary file
  // and renamed. Loading throws Error naming the file and the line: one of the first two lines is
  // not <pad> or <unk>, a line is empty or holds a token again, the last line has no end.
  void save(const std::filesystem::path& path) const;
  static Vocabulary load(const std::filesystem::path& path);

 private:
  explicit Vocabulary(std::vector<std::string> tokens);

  std::vector<std::string> tokens_;
  std::unordered_map<std::string_view, int32_t> ids_;  // of the strings in tokens_
};

// Which part of a text longer than max_length is kept; both: the first half of max_length, rounded
// up, and the end.
enum class Keep : uint8_t { head, tail, both };

struct EncodeOptions {
  int64_t max_length = 400;
  Keep keep = Keep::both;
};

// Token ids of every text, clipped; a text without tokens becomes one <unk>, so that no length is
// 0. Throws Error where max_length is below 1.
TextData encode(const TokenizedText& text, const Vocabulary& vocabulary,
                const EncodeOptions& options = {});

}  // namespace flyball
