#include "datasets/mnist.h"

#include <string>
#include <utility>
#include <vector>

#include "datasets/idx.h"
#include "datasets/sample_folder.h"
#include "kernels/error.h"

namespace flyball {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSide = 28;
constexpr int64_t kClasses = 10;

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

// The plain or gzipped file of this kind in one folder, or an empty path.
fs::path find_in(const fs::path& folder, const std::string& stem, const std::string& kind) {
  for (const char* separator : {"-", "."}) {
    for (const char* suffix : {"", ".gz"}) {
      fs::path path = folder / str(stem, separator, kind, suffix);
      std::error_code error;
      if (fs::exists(path, error) && !fs::is_directory(path, error)) return path;
    }
  }
  return {};
}

struct MnistFiles {
  fs::path images, labels;
};

// Images and labels come from the same folder, so that two copies of the set are never mixed.
MnistFiles find_files(const fs::path& folder, const std::string& prefix) {
  const std::string remedy = str("; `datasets/fetch mnist ", folder.string(), "` downloads MNIST");
  std::error_code error;
  if (!fs::exists(folder, error)) {
    throw Error(str("mnist: folder ", folder.string(), " does not exist", remedy));
  }
  if (!is_folder(folder)) throw Error(str("mnist: ", folder.string(), " is not a folder"));
  for (const fs::path& place : {folder, folder / "mnist", folder / "MNIST" / "raw"}) {
    MnistFiles files{find_in(place, prefix + "-images", "idx3-ubyte"),
                     find_in(place, prefix + "-labels", "idx1-ubyte")};
    if (files.images.empty() && files.labels.empty()) continue;
    const bool lacks_images = files.images.empty();
    if (lacks_images || files.labels.empty()) {
      throw Error(str("mnist: ", place.string(), " has no file ", prefix,
                      lacks_images ? "-images-idx3-ubyte" : "-labels-idx1-ubyte", "[.gz]", remedy));
    }
    return files;
  }
  throw Error(str("mnist: no files ", prefix, "-images-idx3-ubyte[.gz] and ", prefix,
                  "-labels-idx1-ubyte[.gz] in ", folder.string(), ", its mnist/ or its MNIST/raw/",
                  remedy));
}

}  // namespace

ImageData load_mnist(const fs::path& folder, MnistSplit split) {
  const bool train = split == MnistSplit::train;
  const MnistFiles files = find_files(folder, train ? "train" : "t10k");
  IdxArray images = read_idx(files.images, {kAnySize, kSide, kSide});
  const IdxArray labels = read_idx(files.labels, {kAnySize});
  if (labels.sizes[0] != images.sizes[0]) {
    throw Error(str(files.labels.string(), ": holds ", labels.sizes[0], " labels, expected ",
                    images.sizes[0], " (the images of ", files.images.string(), ")"));
  }
  for (size_t i = 0; i < labels.values.size(); ++i) {
    if (labels.values[i] >= kClasses) {
      throw Error(str(files.labels.string(), ": label ", i, " is ", int{labels.values[i]},
                      ", expected 0..", kClasses - 1));
    }
  }
  ImageData data = mnist_layout();
  data.name = train ? "mnist train" : "mnist test";
  data.count = images.sizes[0];
  data.pixels = std::move(images.values);
  data.labels.assign(labels.values.begin(), labels.values.end());
  return data;
}

ImageData mnist_layout() {
  return {.name = "mnist",
          .h = kSide,
          .w = kSide,
          .c = 1,
          .classes = kClasses,
          .pixels = {},
          .labels = {},
          .mean = {0.1307F},
          .deviation = {0.3081F}};
}

fs::path mnist_sample_folder() { return sample_folder("mnist"); }

}  // namespace flyball
