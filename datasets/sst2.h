#pragma once

#include <filesystem>

#include "datasets/text_samples.h"

namespace flyball {

enum class Sst2Split { train, dev, test };

// SST-2: phrases (train) and sentences (dev) of film reviews, negative (0) or positive (1). Socher,
// Perelygin, Wu, Chuang, Manning, Ng, Potts 2013, "Recursive Deep Models for Semantic
// Compositionality Over a Sentiment Treebank", EMNLP; the split of GLUE, Wang et al. 2019.
// `folder`, folder/SST-2 or folder/sst2 holds train.tsv and dev.tsv, and test_with_labels.tsv where
// somebody added it (GLUE's own test.tsv has no labels), each plain or .gz. A line is text, tab,
// label, after the line "sentence\tlabel"; lines may end with \r\n. Throws Error, one line with
// file and line: nothing found, another first line, no tab or more than one, a label that is not 0
// or 1, no samples.
TextSamples load_sst2(const std::filesystem::path& folder, Sst2Split split);

}  // namespace flyball
