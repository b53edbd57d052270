#include "datasets/token_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <optional>
#include <type_traits>
#include <utility>

#include "datasets/tokenizer.h"
#include "framework/checksum.h"
#include "framework/write_file.h"
#include "kernels/error.h"

namespace flyball {
namespace {

static_assert(std::endian::native == std::endian::little, "the cache is little-endian");

constexpr char kMagic[] = "flytok01";  // changes with the format
constexpr size_t kMagicBytes = sizeof kMagic - 1;

struct Cache {
  uint64_t key = 0, fingerprint = 0;
  TokenizedText text;
};

uint64_t key_of(const TextSamples& samples) {
  Checksum sum;
  sum.add(kTokenizerVersion);
  sum.add(samples.name);
  sum.add(static_cast<uint64_t>(samples.classes));
  for (size_t i = 0; i < samples.texts.size(); ++i) {
    sum.add(samples.texts[i]);
    sum.add(static_cast<uint64_t>(samples.labels[i]));
  }
  return sum.value();
}

uint64_t checksum_of(std::string_view bytes) {
  Checksum sum;
  sum.add(bytes);
  return sum.value();
}

template <class T>
void put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
void put(std::string& bytes, const std::vector<T>& values) {
  put(bytes, static_cast<uint64_t>(values.size()));
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

std::string bytes_of(const Cache& cache) {
  std::string bytes(kMagic);
  put(bytes, kTokenizerVersion);
  put(bytes, cache.key);
  put(bytes, cache.fingerprint);
  put(bytes, cache.text.classes);
  std::vector<char> dictionary;
  for (const std::string& token : cache.text.dictionary) {
    dictionary.insert(dictionary.end(), token.begin(), token.end());
    dictionary.push_back('\n');
  }
  put(bytes, dictionary);
  put(bytes, cache.text.counts);
  put(bytes, cache.text.tokens);
  put(bytes, cache.text.offsets);
  put(bytes, cache.text.labels);
  put(bytes, checksum_of(bytes));
  return bytes;
}

// Takes values from the front; false at the end of the bytes.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}
  template <class T>
  bool take(T& value) {
    if (left_.size() < sizeof value) return false;
    std::memcpy(&value, left_.data(), sizeof value);
    left_.remove_prefix(sizeof value);
    return true;
  }
  template <class T>
  bool take(std::vector<T>& values) {
    uint64_t size = 0;
    if (!take(size) || size > left_.size() / sizeof(T)) return false;
    values.resize(size);
    if (size > 0) std::memcpy(values.data(), left_.data(), size * sizeof(T));
    left_.remove_prefix(size * sizeof(T));
    return true;
  }
  bool at_end() const { return left_.empty(); }

 private:
  std::string_view left_;
};

bool consistent(const TokenizedText& text) {
  if (text.dictionary.size() != text.counts.size()) return false;
  if (text.offsets.size() != text.labels.size() + 1 || text.offsets[0] != 0) return false;
  if (!std::is_sorted(text.offsets.begin(), text.offsets.end())) return false;
  if (text.offsets.back() != static_cast<int64_t>(text.tokens.size())) return false;
  const auto places = static_cast<int32_t>(text.dictionary.size());
  return std::all_of(text.tokens.begin(), text.tokens.end(),
                     [&](int32_t token) { return token >= 0 && token < places; }) &&
         std::all_of(text.labels.begin(), text.labels.end(),
                     [&](int32_t label) { return label >= 0 && label < text.classes; });
}

std::optional<Cache> read_cache(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return {};
  const auto size = static_cast<size_t>(std::filesystem::file_size(path, error));
  std::ifstream in(path, std::ios::binary);
  std::string bytes(error ? 0 : size, '\0');
  if (!in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) return {};
  if (bytes.size() < kMagicBytes + sizeof(uint64_t) || !bytes.starts_with(kMagic)) return {};
  std::string_view content(bytes.data(), bytes.size() - sizeof(uint64_t));
  uint64_t sum = 0;
  std::memcpy(&sum, bytes.data() + content.size(), sizeof sum);
  if (sum != checksum_of(content)) return {};

  content.remove_prefix(kMagicBytes);
  Reader reader(content);
  Cache cache;
  std::remove_const_t<decltype(kTokenizerVersion)> version = 0;
  std::vector<char> dictionary;
  const bool whole = reader.take(version) && reader.take(cache.key) &&
                     reader.take(cache.fingerprint) && reader.take(cache.text.classes) &&
                     reader.take(dictionary) && reader.take(cache.text.counts) &&
                     reader.take(cache.text.tokens) && reader.take(cache.text.offsets) &&
                     reader.take(cache.text.labels) && reader.at_end();
  if (!whole || version != kTokenizerVersion) return {};
  for (auto begin = dictionary.begin(); begin != dictionary.end();) {
    const auto end = std::find(begin, dictionary.end(), '\n');
    if (end == dictionary.end()) return {};
    cache.text.dictionary.emplace_back(begin, end);
    begin = end + 1;
  }
  if (!consistent(cache.text)) return {};
  return cache;
}

bool write_cache(const std::filesystem::path& path, const Cache& cache) {
  try {
    write_whole_file(path, bytes_of(cache));
  } catch (const Error&) {
    return false;
  }
  return true;
}

}  // namespace

TokenizedText cached_tokens(const TextSource& source, const std::filesystem::path& cache,
                            CacheUse* use) {
  CacheUse ignored;
  CacheUse& used = use == nullptr ? ignored : *use;
  // Before the texts are read: a change while they are is a change of the files next time.
  const uint64_t fingerprint = source.fingerprint();
  std::optional<Cache> found;
  if (!cache.empty()) found = read_cache(cache);
  if (found.has_value() && found->fingerprint == fingerprint) {
    used = CacheUse::loaded;
    found->text.name = source.name;
    return std::move(found->text);
  }
  const TextSamples samples = source.read();
  const uint64_t key = key_of(samples);
  used = CacheUse::confirmed;
  if (!found.has_value() || found->key != key) {
    used = CacheUse::rebuilt;
    found = Cache{.key = key, .text = tokenize(samples)};
  }
  found->fingerprint = fingerprint;
  found->text.name = source.name;
  if (!cache.empty() && !write_cache(cache, *found)) used = CacheUse::unwritten;
  return std::move(found->text);
}

}  // namespace flyball
