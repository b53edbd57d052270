#pragma once

#include <filesystem>

#include "datasets/text_samples.h"
#include "datasets/token_cache.h"

namespace flyball {

enum class ImdbSplit { train, test };

// IMDB: 25,000 + 25,000 film reviews, negative (0) or positive (1). Maas, Daly, Pham, Huang, Ng,
// Potts 2011, "Learning Word Vectors for Sentiment Analysis", ACL. `folder` or folder/aclImdb holds
// {train,test}/{neg,pos}/*.txt, a review a file; other files are not looked at. The files of each
// label are in the order of their names' bytes, and the labels take turns, negative first, so that
// the first reviews are balanced. Read by as many threads as kernels use. Throws Error, one line
// with the path: nothing found (it says what was looked for), a label without reviews, a file that
// cannot be read.
TextSamples load_imdb(const std::filesystem::path& folder, ImdbSplit split);

// The same for cached_tokens().
TextSource imdb_source(const std::filesystem::path& folder, ImdbSplit split);

}  // namespace flyball
