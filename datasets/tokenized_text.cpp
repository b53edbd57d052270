#include "datasets/tokenized_text.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "datasets/tokenizer.h"
#include "kernels/cpu/parallel.h"
#include "kernels/error.h"

namespace flyball {
namespace {

constexpr int64_t kTextsOfPiece = 512;

struct Hash {
  using is_transparent = void;
  size_t operator()(std::string_view token) const { return std::hash<std::string_view>{}(token); }
};
using Places = std::unordered_map<std::string, int32_t, Hash, std::equal_to<>>;

// A run of texts with a dictionary of its own, in order of appearance.
struct Piece {
  std::vector<std::string> dictionary;
  std::vector<int64_t> counts;
  std::vector<int32_t> tokens;
  std::vector<int64_t> lengths;
};

Piece tokenize_piece(const TextSamples& samples, size_t begin, size_t end) {
  Piece piece;
  Places places;
  for (size_t i = begin; i < end; ++i) {
    const size_t before = piece.tokens.size();
    tokenize(samples.texts[i], [&](std::string_view token) {
      auto found = places.find(token);
      if (found == places.end()) {
        const auto place = static_cast<int32_t>(piece.dictionary.size());
        found = places.emplace(std::string(token), place).first;
        piece.dictionary.emplace_back(token);
        piece.counts.push_back(0);
      }
      ++piece.counts[static_cast<size_t>(found->second)];
      piece.tokens.push_back(found->second);
    });
    piece.lengths.push_back(static_cast<int64_t>(piece.tokens.size() - before));
  }
  return piece;
}

}  // namespace

TokenizedText tokenize(const TextSamples& samples) {
  const auto size = static_cast<int64_t>(samples.texts.size());
  if (samples.labels.size() != samples.texts.size()) {
    throw Error(str(samples.name, ": ", samples.labels.size(), " labels, expected ", size));
  }
  std::vector<Piece> pieces(static_cast<size_t>((size + kTextsOfPiece - 1) / kTextsOfPiece));
  cpu::parallel_for(static_cast<int64_t>(pieces.size()), [&](int64_t i) {
    pieces[static_cast<size_t>(i)] =
        tokenize_piece(samples, static_cast<size_t>(i * kTextsOfPiece),
                       static_cast<size_t>(std::min(size, (i + 1) * kTextsOfPiece)));
  });

  std::unordered_map<std::string_view, int64_t> totals;
  for (const Piece& piece : pieces) {
    for (size_t i = 0; i < piece.dictionary.size(); ++i) {
      totals[piece.dictionary[i]] += piece.counts[i];
    }
  }
  if (totals.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    throw Error(str(samples.name, ": ", totals.size(), " different tokens, expected below 2^31"));
  }
  std::vector<std::pair<std::string_view, int64_t>> order(totals.begin(), totals.end());
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  std::unordered_map<std::string_view, int32_t> places;
  places.reserve(order.size());
  TokenizedText text{.name = samples.name, .classes = samples.classes};
  for (const auto& [token, count] : order) {
    places.emplace(token, static_cast<int32_t>(text.dictionary.size()));
    text.dictionary.emplace_back(token);
    text.counts.push_back(count);
  }

  text.offsets.reserve(static_cast<size_t>(size) + 1);
  text.offsets.push_back(0);
  text.tokens.resize(
      static_cast<size_t>(std::accumulate(text.counts.begin(), text.counts.end(), int64_t{0})));
  std::vector<int64_t> starts;
  int64_t start = 0;
  for (const Piece& piece : pieces) {
    starts.push_back(start);
    start += static_cast<int64_t>(piece.tokens.size());
    for (const int64_t length : piece.lengths) {
      text.offsets.push_back(text.offsets.back() + length);
    }
  }
  cpu::parallel_for(static_cast<int64_t>(pieces.size()), [&](int64_t i) {
    const Piece& piece = pieces[static_cast<size_t>(i)];
    std::vector<int32_t> place_of;
    place_of.reserve(piece.dictionary.size());
    for (const std::string& token : piece.dictionary) place_of.push_back(places.at(token));
    int32_t* to = text.tokens.data() + starts[static_cast<size_t>(i)];
    for (const int32_t token : piece.tokens) *to++ = place_of[static_cast<size_t>(token)];
  });
  text.labels = samples.labels;
  return text;
}

}  // namespace flyball
