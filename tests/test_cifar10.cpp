#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "datasets/cifar10.h"
#include "kernels/error.h"
#include "tests/file_helpers.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

namespace fs = std::filesystem;

constexpr size_t kRecord = 3073;

// Records whose bytes tell batch, record, channel, row and column.
std::string records(int batch, int count) {
  std::string bytes;
  for (int record = 0; record < count; ++record) {
    bytes += static_cast<char>((batch + record) % 10);
    for (int plane = 0; plane < 3; ++plane) {
      for (int at = 0; at < 1024; ++at) {
        bytes += static_cast<char>(batch * 101 + record * 37 + plane * 71 + at + at / 256);
      }
    }
  }
  return bytes;
}

void write_all(const fs::path& folder, const char* suffix = ".bin") {
  const bool packed = std::string(suffix) == ".bin.gz";
  for (int batch = 1; batch <= 6; ++batch) {
    const std::string name = batch == 6 ? "test_batch" : str("data_batch_", batch);
    const std::string bytes = records(batch, batch);
    if (packed) {
      write_gz_file(folder / (name + suffix), bytes);
    } else {
      write_file(folder / (name + suffix), bytes);
    }
  }
}

std::string load_error(const fs::path& folder, Cifar10Split split = Cifar10Split::train) {
  std::string text = error_of([&] { load_cifar10(folder, split); });
  CHECK(!contains(text, "\n"));
  return text;
}

std::vector<int64_t> histogram(const ImageData& data) {
  std::vector<int64_t> counts(static_cast<size_t>(data.classes));
  for (const int32_t label : data.labels) ++counts.at(static_cast<size_t>(label));
  return counts;
}

uint32_t crc(const std::vector<uint8_t>& bytes) {
  return static_cast<uint32_t>(
      crc32(crc32(0, nullptr, 0), bytes.data(), static_cast<unsigned>(bytes.size())));
}

}  // namespace

TEST_CASE("cifar10: planes become channels, batches follow each other") {
  for (const char* suffix : {".bin", ".bin.gz"}) {
    for (const char* layout : {".", "cifar-10-batches-bin", "cifar10"}) {
      const TemporaryFolder folder;
      write_all(folder.path() / layout, suffix);
      const ImageData train = load_cifar10(folder.path(), Cifar10Split::train);
      CHECK(train.name == "cifar10 train");
      REQUIRE(train.count == 15);
      CHECK((train.h == 32 && train.w == 32 && train.c == 3 && train.classes == 10));
      REQUIRE(train.pixels.size() == 15 * 3072);
      CHECK(train.labels == std::vector<int32_t>{1, 2, 3, 3, 4, 5, 4, 5, 6, 7, 5, 6, 7, 8, 9});
      const std::string third = records(3, 3);  // images 3, 4, 5
      for (size_t image = 0; image < 3; ++image) {
        for (size_t at = 0; at < 1024; ++at) {
          for (size_t channel = 0; channel < 3; ++channel) {
            REQUIRE(train.pixels[(3 + image) * 3072 + at * 3 + channel] ==
                    static_cast<uint8_t>(third[image * kRecord + 1 + channel * 1024 + at]));
          }
        }
      }
      CHECK(train.mean == std::vector<float>{0.4914F, 0.4822F, 0.4465F});
      CHECK(train.deviation == std::vector<float>{0.2470F, 0.2435F, 0.2616F});
      const ImageData test = load_cifar10(folder.path(), Cifar10Split::test);
      CHECK(test.name == "cifar10 test");
      CHECK(test.labels == std::vector<int32_t>{6, 7, 8, 9, 0, 1});
    }
  }
}

TEST_CASE("cifar10: missing folders and files are named, with the way to get them") {
  const TemporaryFolder folder;
  const std::string root = folder.path().string();
  const std::string remedy = "; `datasets/fetch cifar10 " + root + "` downloads CIFAR-10";
  CHECK(load_error(folder.path() / "none") == "cifar10: folder " + root +
                                                  "/none does not exist; `datasets/fetch cifar10 " +
                                                  root + "/none` downloads CIFAR-10");
  CHECK(load_error(write_file(folder.path() / "file", "x")) ==
        "cifar10: " + root + "/file is not a folder");
  CHECK(load_error(folder.path()) == "cifar10: no file data_batch_1.bin[.gz] in " + root +
                                         ", its cifar-10-batches-bin/ or its cifar10/" + remedy);
  write_all(folder.path());
  fs::remove(folder.path() / "data_batch_4.bin");
  CHECK(load_error(folder.path()) ==
        "cifar10: " + root + " has no file data_batch_4.bin[.gz], expected five" + remedy);
  fs::remove(folder.path() / "test_batch.bin");
  CHECK(load_error(folder.path(), Cifar10Split::test) ==
        "cifar10: no file test_batch.bin[.gz] in " + root +
            ", its cifar-10-batches-bin/ or its cifar10/" + remedy);
  write_file(folder.path() / "data_batch_1-indices.txt", "7\n");  // an excerpt has one file
  CHECK(load_cifar10(folder.path(), Cifar10Split::train).count == 1);
}

TEST_CASE("cifar10: a damaged file is refused with its name") {
  const TemporaryFolder folder;
  write_all(folder.path());
  const fs::path path = folder.path() / "data_batch_2.bin";
  const std::string name = path.string();
  const std::string good = records(2, 2);
  const std::string multiple = ", expected a multiple of 3073 (label and 3 planes of 32 x 32)";
  write_file(path, "");
  CHECK(load_error(folder.path()) == name + ": is empty, expected records of 3073 bytes");
  for (const size_t size : {size_t{1}, kRecord - 1, kRecord + 1, 2 * kRecord - 1}) {
    write_file(path, good.substr(0, size));
    CHECK(load_error(folder.path()) == name + ": size is " + str(size) + " bytes" + multiple);
  }
  write_file(path, good + "x");
  CHECK(load_error(folder.path()) == name + ": size is 6147 bytes" + multiple);
  for (const int label : {10, 128, 255}) {
    std::string bytes = good;
    bytes[kRecord] = static_cast<char>(label);
    write_file(path, bytes);
    CHECK(load_error(folder.path()) ==
          name + ": offset 3073: label of record 1 is " + str(label) + ", expected 0..9");
  }
  fs::remove(path);
  fs::create_directory(path);
  CHECK(load_error(folder.path()) == name + ": is a folder, expected a CIFAR-10 batch");
  fs::remove(path);
  const fs::path packed =
      write_gz_file(folder.path() / "data_batch_2.bin.gz", good.substr(0, 5000));
  CHECK(load_error(folder.path()) == packed.string() + ": unpacked size is 5000 bytes" + multiple);
  write_gz_file(packed, good);
  const std::string whole = read_whole_file(packed);
  write_file(packed, whole.substr(0, whole.size() / 2));
  CHECK(contains(load_error(folder.path()), packed.string() + ": gzip data is cut off at packed"));
  write_file(packed, whole);
  CHECK(load_error(folder.path()).empty());
}

TEST_CASE("cifar10: the sample has its images and labels") {
  const fs::path folder = cifar10_sample_folder();
  const ImageData train = load_cifar10(folder, Cifar10Split::train);
  CHECK(train.count == 1000);
  CHECK(histogram(train) == std::vector<int64_t>(10, 100));
  CHECK(crc(train.pixels) == 0x76f0da30U);
  CHECK(crc({train.labels.begin(), train.labels.end()}) == 0xcb647117U);
  const ImageData test = load_cifar10(folder, Cifar10Split::test);
  CHECK(test.count == 500);
  CHECK(histogram(test) == std::vector<int64_t>(10, 50));
  CHECK(crc(test.pixels) == 0xb9628709U);
  CHECK(crc({test.labels.begin(), test.labels.end()}) == 0x2c47a4dfU);
}

TEST_CASE("cifar10: the full set has its published content, mean and deviation") {
  if (!has_real_data("CIFAR-10", {"data_batch_1.bin", "cifar-10-batches-bin/data_batch_1.bin"}))
    return;
  const ImageData train = load_cifar10(real_data_folder(), Cifar10Split::train);
  CHECK(train.count == 50000);
  CHECK(histogram(train) == std::vector<int64_t>(10, 5000));
  for (size_t channel = 0; channel < 3; ++channel) {
    double sum = 0;
    double squares = 0;
    for (size_t i = channel; i < train.pixels.size(); i += 3) {
      const double value = train.pixels[i] / 255.0;
      sum += value;
      squares += value * value;
    }
    const double count = 50000.0 * 1024;
    const double mean = sum / count;
    CHECK(std::abs(mean - train.mean[channel]) < 0.5e-4);
    CHECK(std::abs(std::sqrt(squares / count - mean * mean) - train.deviation[channel]) < 0.5e-4);
  }
  const ImageData test = load_cifar10(real_data_folder(), Cifar10Split::test);
  CHECK(test.count == 10000);
  CHECK(histogram(test) == std::vector<int64_t>(10, 1000));
}
