#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "datasets/tokenized_text.h"

namespace flyball {

// Texts that can be read again, and a sign of change that is cheaper than reading them.
struct TextSource {
  std::string name;
  std::function<uint64_t()> fingerprint;  // of the files' names, sizes and times
  std::function<TextSamples()> read;
};

enum class CacheUse : uint8_t {
  loaded,     // the files look as they did when the cache was written
  confirmed,  // they do not, but hold the same texts: the cache was used and written anew
  rebuilt,    // there was none, or it was stale or damaged
  unwritten   // as rebuilt or confirmed, and the cache could not be written
};

// The tokens of the source's texts, from the file `cache` where that was made from the same texts
// by the same tokenizer, else from the texts, and then the file is written. It holds,
// little-endian, the checksum of texts, labels and tokenizer version, the source's fingerprint, the
// tokens, and at its end the checksum of all before it; every field is verified before it is used.
// Safe when several programs do this at once. An empty path means no cache. Throws what reading the
// texts throws; a cache that cannot be read or written is no error.
TokenizedText cached_tokens(const TextSource& source, const std::filesystem::path& cache,
                            CacheUse* use = nullptr);

}  // namespace flyball
