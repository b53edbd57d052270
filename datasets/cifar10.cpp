#include "datasets/cifar10.h"

#include <string>
#include <vector>

#include "datasets/input_file.h"
#include "datasets/sample_folder.h"
#include "kernels/error.h"

namespace flyball {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSide = 32;
constexpr int64_t kChannels = 3;
constexpr int64_t kPlaneBytes = kSide * kSide;
constexpr int64_t kRecordBytes = 1 + kChannels * kPlaneBytes;
constexpr int64_t kClasses = 10;

// The plain or gzipped file of this name, or an empty path.
fs::path find_in(const fs::path& folder, const std::string& name) {
  for (const char* suffix : {"", ".gz"}) {
    fs::path path = folder / (name + suffix);
    std::error_code error;
    if (fs::exists(path, error)) return path;
  }
  return {};
}

std::vector<fs::path> find_files(const fs::path& folder, Cifar10Split split) {
  const std::string remedy =
      str("; `datasets/fetch cifar10 ", folder.string(), "` downloads CIFAR-10");
  std::error_code error;
  if (!fs::exists(folder, error)) {
    throw Error(str("cifar10: folder ", folder.string(), " does not exist", remedy));
  }
  if (!fs::is_directory(folder, error)) {
    throw Error(str("cifar10: ", folder.string(), " is not a folder"));
  }
  const bool train = split == Cifar10Split::train;
  const std::string first = train ? "data_batch_1.bin" : "test_batch.bin";
  for (const fs::path& place : {folder, folder / "cifar-10-batches-bin", folder / "cifar10"}) {
    std::vector<fs::path> files{find_in(place, first)};
    if (files[0].empty()) continue;
    const bool excerpt = fs::exists(place / "data_batch_1-indices.txt", error);
    for (int batch = 2; train && !excerpt && batch <= 5; ++batch) {
      const std::string name = str("data_batch_", batch, ".bin");
      files.push_back(find_in(place, name));
      if (files.back().empty()) {
        throw Error(str("cifar10: ", place.string(), " has no file ", name, "[.gz], expected five",
                        remedy));
      }
    }
    return files;
  }
  throw Error(str("cifar10: no file ", first, "[.gz] in ", folder.string(),
                  ", its cifar-10-batches-bin/ or its cifar10/", remedy));
}

void append_records(const fs::path& path, ImageData& data) {
  InputFile file(path, "a CIFAR-10 batch");
  std::vector<uint8_t> record(static_cast<size_t>(kRecordBytes));
  for (int64_t i = 0;; ++i) {
    const int64_t got = file.read(record.data(), kRecordBytes);
    if (got == 0 && i > 0) return;
    if (got == 0) file.fail("is empty, expected records of ", kRecordBytes, " bytes");
    if (got < kRecordBytes) {
      file.fail(file.gzipped() ? "unpacked size is " : "size is ", i * kRecordBytes + got,
                " bytes, expected a multiple of ", kRecordBytes, " (label and 3 planes of ", kSide,
                " x ", kSide, ")");
    }
    if (record[0] >= kClasses) {
      file.fail_at(i * kRecordBytes, "label of record ", i, " is ", int{record[0]},
                   ", expected 0..", kClasses - 1);
    }
    data.labels.push_back(record[0]);
    data.pixels.resize(data.pixels.size() + kChannels * kPlaneBytes);
    uint8_t* pixel = data.pixels.data() + data.pixels.size() - kChannels * kPlaneBytes;
    for (int64_t at = 0; at < kPlaneBytes; ++at) {
      for (int64_t channel = 0; channel < kChannels; ++channel) {
        *pixel++ = record[static_cast<size_t>(1 + channel * kPlaneBytes + at)];
      }
    }
  }
}

}  // namespace

ImageData load_cifar10(const fs::path& folder, Cifar10Split split) {
  const std::vector<fs::path> files = find_files(folder, split);
  ImageData data = cifar10_layout();
  data.name = split == Cifar10Split::train ? "cifar10 train" : "cifar10 test";
  for (const fs::path& file : files) append_records(file, data);
  data.count = static_cast<int64_t>(data.labels.size());
  return data;
}

ImageData cifar10_layout() {
  return {.name = "cifar10",
          .h = kSide,
          .w = kSide,
          .c = kChannels,
          .classes = kClasses,
          .pixels = {},
          .labels = {},
          .mean = {0.4914F, 0.4822F, 0.4465F},
          .deviation = {0.2470F, 0.2435F, 0.2616F}};
}

fs::path cifar10_sample_folder() { return sample_folder("cifar10"); }

}  // namespace flyball
