#include "datasets/sst2.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "datasets/input_file.h"
#include "kernels/error.h"

namespace flyball {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBlockBytes = int64_t{1} << 20;

std::string file_of(Sst2Split split) {
  if (split == Sst2Split::train) return "train.tsv";
  return split == Sst2Split::dev ? "dev.tsv" : "test_with_labels.tsv";
}

fs::path find_file(const fs::path& folder, Sst2Split split) {
  const std::string remedy = str("; `datasets/fetch sst2 ", folder.string(), "` downloads SST-2");
  std::error_code error;
  if (!fs::exists(folder, error)) {
    throw Error(str("sst2: folder ", folder.string(), " does not exist", remedy));
  }
  for (const fs::path& place : {folder, folder / "SST-2", folder / "sst2"}) {
    for (const char* suffix : {"", ".gz"}) {
      fs::path file = place / (file_of(split) + suffix);
      if (fs::exists(file, error)) return file;
    }
  }
  throw Error(str("sst2: no file ", file_of(split), "[.gz] in ", folder.string(),
                  ", its SST-2/ or its sst2/",
                  split == Sst2Split::test ? "; GLUE does not publish it" : remedy));
}

std::string read_content(const fs::path& path) {
  InputFile file(path, "a table of texts and labels");
  std::string content;
  for (int64_t got = kBlockBytes; got == kBlockBytes;) {
    const size_t size = content.size();
    content.resize(size + static_cast<size_t>(kBlockBytes));
    got = file.read(reinterpret_cast<uint8_t*>(content.data() + size), kBlockBytes);
    content.resize(size + static_cast<size_t>(got));
  }
  return content;
}

}  // namespace

TextSamples load_sst2(const fs::path& folder, Sst2Split split) {
  const fs::path path = find_file(folder, split);
  const char* name = split == Sst2Split::train ? "train" : split == Sst2Split::dev ? "dev" : "test";
  TextSamples samples{.name = str("sst2 ", name)};
  int64_t number = 0;
  const auto fail = [&](const std::string& what) {
    throw Error(str(path.string(), ": line ", number, ": ", what));
  };
  const std::string content = read_content(path);
  for (std::string_view rest = content; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (number == 1) {
      if (line != "sentence\tlabel") fail("expected sentence, tab, label");
      continue;
    }
    const auto tabs = std::count(line.begin(), line.end(), '\t');
    if (tabs != 1) fail(str(tabs, " tabs, expected text, tab, label"));
    const size_t tab = line.find('\t');
    const std::string_view label = line.substr(tab + 1);
    if (label != "0" && label != "1") fail("label is not 0 or 1");
    samples.labels.push_back(label == "1" ? 1 : 0);
    samples.texts.emplace_back(line.substr(0, tab));
  }
  if (samples.texts.empty())
    throw Error(str(path.string(), ": no samples, expected text, tab, label"));
  return samples;
}

}  // namespace flyball
