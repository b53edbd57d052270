#include <doctest/doctest.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "datasets/idx.h"
#include "datasets/mnist.h"
#include "kernels/error.h"

namespace {

namespace fs = std::filesystem;
using flyball::ImageData;
using flyball::kAnySize;
using flyball::MnistSplit;
using flyball::read_idx;
using flyball::str;
using Bytes = std::vector<uint8_t>;

// A folder of its own for each test case, gone afterwards.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "flyball-datasets-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

fs::path write(const fs::path& path, const Bytes& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  REQUIRE(file.good());
  return path;
}

Bytes read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

fs::path write_gz(const fs::path& path, const Bytes& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  REQUIRE(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())) ==
          static_cast<int>(bytes.size()));
  REQUIRE(gzclose(file) == Z_OK);
  return path;
}

Bytes idx_bytes(const std::vector<uint32_t>& sizes, const Bytes& values) {
  Bytes bytes{0, 0, 8, static_cast<uint8_t>(sizes.size())};
  for (const uint32_t size : sizes) {
    for (int shift = 24; shift >= 0; shift -= 8)
      bytes.push_back(static_cast<uint8_t>(size >> shift));
  }
  bytes.insert(bytes.end(), values.begin(), values.end());
  return bytes;
}

Bytes ramp(size_t count) {
  Bytes bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>(i * 37 + i / 256 * 11);
  return bytes;
}

// The message of the flyball::Error that `action` throws; it must be one line.
std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const flyball::Error& error) {
    std::string text = error.what();
    CHECK_MESSAGE(text.find('\n') == std::string::npos, text);
    return text;
  }
  return "no error";
}

// Reading `path` as [any, 2, 3] must fail with exactly "<path>: <message>".
void check_refused(const fs::path& path, const std::string& message) {
  CHECK(error_of([&] { read_idx(path, {kAnySize, 2, 3}); }) == path.string() + ": " + message);
}

void check_starts(const std::string& text, const std::string& start) {
  CHECK_MESSAGE(text.substr(0, start.size()) == start, text);
}

uint32_t crc(const Bytes& bytes) {
  return static_cast<uint32_t>(
      crc32(crc32(0, nullptr, 0), bytes.data(), static_cast<unsigned>(bytes.size())));
}

Bytes as_bytes(const std::vector<int32_t>& labels) { return {labels.begin(), labels.end()}; }

int64_t sum(const Bytes& bytes) {
  int64_t total = 0;
  for (const uint8_t byte : bytes) total += byte;
  return total;
}

std::vector<int64_t> histogram(const ImageData& data) {
  std::vector<int64_t> counts(static_cast<size_t>(data.classes));
  for (const int32_t label : data.labels) ++counts.at(static_cast<size_t>(label));
  return counts;
}

// Writes a training pair: `images` images of `side` x 28 pixels, and `labels`.
void write_mnist(const fs::path& folder, uint32_t images, uint32_t side, const Bytes& labels) {
  fs::create_directories(folder);
  write(folder / "train-images-idx3-ubyte",
        idx_bytes({images, side, 28}, ramp(size_t{images} * side * 28)));
  write(folder / "train-labels-idx1-ubyte",
        idx_bytes({static_cast<uint32_t>(labels.size())}, labels));
}

}  // namespace

TEST_CASE("idx: ranks 1, 3 and 4 are read, plain and gzipped alike") {
  const TemporaryFolder folder;
  const Bytes values = ramp(120);
  for (const std::vector<uint32_t>& sizes :
       {std::vector<uint32_t>{120}, {4, 5, 6}, {2, 3, 4, 5}, {120, 1, 1}}) {
    const std::vector<int64_t> any(sizes.size(), kAnySize);
    const Bytes bytes = idx_bytes(sizes, values);
    for (const fs::path& path :
         {write(folder / "plain", bytes), write_gz(folder / "packed", bytes)}) {
      const flyball::IdxArray array = read_idx(path, any);
      CHECK(array.sizes == std::vector<int64_t>(sizes.begin(), sizes.end()));
      CHECK(array.values == values);
    }
  }
}

TEST_CASE("idx: a payload of several blocks arrives whole") {
  const TemporaryFolder folder;
  const Bytes values = ramp(3 * (1U << 20U) + 17);
  const Bytes bytes = idx_bytes({static_cast<uint32_t>(values.size())}, values);
  CHECK(read_idx(write(folder / "plain", bytes), {kAnySize}).values == values);
  CHECK(read_idx(write_gz(folder / "packed", bytes), {kAnySize}).values == values);
}

TEST_CASE("idx: a file cut at any byte is refused with the offset") {
  const TemporaryFolder folder;
  const Bytes bytes = idx_bytes({4, 2, 3}, ramp(24));
  for (size_t length = 0; length < bytes.size(); ++length) {
    CAPTURE(length);
    const Bytes part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
    std::string message = "is empty, expected an IDX header of 16 bytes";
    std::string place;
    if (length > 0 && length < 16) {
      message = str("offset ", length, ": the header ends here, expected 16 bytes");
    } else if (length >= 16) {
      message = str("offset ", length, ": the payload ends after ", length - 16,
                    " bytes, expected 24 (4 x 2 x 3)");
    }
    if (length > 0) place = "unpacked ";
    check_refused(write(folder / "plain", part), message);
    check_refused(write_gz(folder / "packed", part), place + message);
  }
}

TEST_CASE("idx: wrong headers are refused with the offset of the field") {
  const TemporaryFolder folder;
  const Bytes good = idx_bytes({4, 2, 3}, ramp(24));
  const auto with = [&](size_t offset, uint8_t value) {
    Bytes bytes = good;
    bytes[offset] = value;
    return write(folder / "file", bytes);
  };
  check_refused(with(0, 1), "offset 0: magic number is 0x01000803, expected 0x00000803");
  check_refused(with(1, 9), "offset 0: magic number is 0x00090803, expected 0x00000803");
  check_refused(with(2, 13), "offset 2: type is 0x0d, expected 0x08 (unsigned byte)");
  check_refused(with(3, 1), "offset 3: rank is 1, expected 3");
  check_refused(with(7, 0), "offset 4: size of axis 0 is 0, expected at least 1");
  check_refused(with(15, 0), "offset 12: size of axis 2 is 0, expected at least 1");
  check_refused(with(11, 5), "offset 8: size of axis 1 is 5, expected 2");
  check_refused(with(8, 1), "offset 8: size of axis 1 is 16777218, expected 2");
}

TEST_CASE("idx: bytes after the payload are refused") {
  const TemporaryFolder folder;
  Bytes bytes = idx_bytes({4, 2, 3}, ramp(24));
  bytes.push_back(0);
  const std::string message =
      "offset 40: bytes follow the payload, expected the end of 24 bytes (4 x 2 x 3)";
  check_refused(write(folder / "plain", bytes), message);
  check_refused(write_gz(folder / "packed", bytes), "unpacked " + message);
}

TEST_CASE("idx: a header that claims absurd sizes costs no memory") {
  const TemporaryFolder folder;
  const Bytes huge = idx_bytes({1U << 31U, 28, 28}, ramp(100));
  for (const fs::path& path : {write(folder / "plain", huge), write_gz(folder / "packed", huge)}) {
    const std::string text = error_of([&] { read_idx(path, {kAnySize, 28, 28}); });
    CHECK(text.find("offset 116: the payload ends after 100 bytes, expected 1683627180032 "
                    "(2147483648 x 28 x 28)") != std::string::npos);
  }
  const uint32_t most = 0xFFFFFFFFU;
  const fs::path overflow = write(folder / "overflow", idx_bytes({most, most, most}, ramp(100)));
  CHECK(error_of([&] {
          read_idx(overflow, {kAnySize, kAnySize, kAnySize});
        }) == overflow.string() +
                  ": offset 4: sizes are 4294967295 x 4294967295 x 4294967295, more "
                  "bytes than any file holds");
}

TEST_CASE("idx: gzip data cut at any byte is refused") {
  const TemporaryFolder folder;
  const Bytes bytes = idx_bytes({4, 2, 3}, ramp(24));
  const Bytes packed = read(write_gz(folder / "whole", bytes));
  const fs::path path = folder / "part";
  for (size_t length = 2; length < packed.size(); ++length) {
    CAPTURE(length);
    write(path, Bytes(packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(length)));
    check_refused(path,
                  str("gzip data is cut off at packed offset ", length, ", expected more bytes"));
  }
}

TEST_CASE("idx: any flipped byte in gzip data is refused or harmless") {
  const TemporaryFolder folder;
  const Bytes bytes = idx_bytes({4, 2, 3}, ramp(24));
  const Bytes packed = read(write_gz(folder / "whole", bytes));
  const fs::path path = folder / "flipped";
  int harmless = 0;
  for (size_t i = 0; i < packed.size(); ++i) {
    CAPTURE(i);
    Bytes damaged = packed;
    damaged[i] ^= 0x10U;
    write(path, damaged);
    Bytes values;
    const std::string text = error_of([&] { values = read_idx(path, {kAnySize, 2, 3}).values; });
    if (text == "no error") {  // gzip's time stamp and system, or the bits that pad its data
      ++harmless;
      CHECK(values == ramp(24));
    } else {
      check_starts(text, path.string() + ": ");
    }
    if (i + 8 >= packed.size()) {  // checksum and length at the end
      check_starts(text, path.string() + ": gzip data is corrupt before packed offset ");
    }
  }
  CHECK(harmless <= 8);
}

TEST_CASE("idx: what is no readable file is refused with its name") {
  const TemporaryFolder folder;
  check_refused(folder / "missing", "no such file");
  check_refused(folder.path(), "is a folder, expected an IDX file");
  check_refused("/dev/null", "is not a regular file");
  const fs::path locked = write(folder / "locked", idx_bytes({4, 2, 3}, ramp(24)));
  fs::permissions(locked, fs::perms::none);
  if (access(locked.c_str(), R_OK) != 0) {  // the superuser may read everything
    check_refused(locked, "cannot be opened: Permission denied");
  }
  const fs::path loop = folder / "loop";
  fs::create_symlink(loop, loop);
  check_refused(loop, "cannot be read: Too many levels of symbolic links");
  if (fs::exists("/proc/self/mem")) {  // opens, but its first byte cannot be read
    check_refused("/proc/self/mem", "cannot be read: Input/output error");
  }
}

TEST_CASE("mnist: the sample has its images and labels") {
  const fs::path folder = flyball::mnist_sample_folder();
  const ImageData train = flyball::load_mnist(folder, MnistSplit::train);
  CHECK(train.name == "mnist train");
  CHECK(train.count == 4000);
  CHECK((train.h == 28 && train.w == 28 && train.c == 1 && train.classes == 10));
  CHECK(train.pixels.size() == 4000 * 28 * 28);
  CHECK(histogram(train) == std::vector<int64_t>(10, 400));
  CHECK(sum(train.pixels) == 105560641);
  CHECK(crc(train.pixels) == 0x01be6c13U);
  CHECK(crc(as_bytes(train.labels)) == 0xcaa61d24U);
  CHECK(train.mean == std::vector<float>{0.1307F});
  CHECK(train.deviation == std::vector<float>{0.3081F});

  const ImageData test = flyball::load_mnist(folder, MnistSplit::test);
  CHECK(test.name == "mnist test");
  CHECK(test.count == 1000);
  CHECK(histogram(test) == std::vector<int64_t>(10, 100));
  CHECK(sum(test.pixels) == 26862695);
  CHECK(crc(test.pixels) == 0x07a90900U);
  CHECK(crc(as_bytes(test.labels)) == 0x8ee50747U);
}

TEST_CASE("mnist: plain and gzipped files agree in every known folder layout and spelling") {
  const fs::path sample = flyball::mnist_sample_folder();
  const ImageData expected = flyball::load_mnist(sample, MnistSplit::test);
  const Bytes images = idx_bytes(
      {1000, 28, 28}, read_idx(sample / "t10k-images-idx3-ubyte.gz", {1000, 28, 28}).values);
  const Bytes labels =
      idx_bytes({1000}, read_idx(sample / "t10k-labels-idx1-ubyte.gz", {1000}).values);
  for (const char* layout : {".", "mnist", "MNIST/raw"}) {
    for (const char* separator : {"-", "."}) {
      const TemporaryFolder folder;
      fs::create_directories(folder / layout);
      write(folder / str(layout, "/t10k-images", separator, "idx3-ubyte"), images);
      write(folder / str(layout, "/t10k-labels", separator, "idx1-ubyte"), labels);
      const ImageData data = flyball::load_mnist(folder.path(), MnistSplit::test);
      CHECK(data.pixels == expected.pixels);
      CHECK(data.labels == expected.labels);
    }
  }
}

TEST_CASE("mnist: missing folders and files are named, with the way to get them") {
  const TemporaryFolder folder;
  const auto load = [](const fs::path& path) {
    return error_of([&] { flyball::load_mnist(path, MnistSplit::train); });
  };
  const std::string root = folder.path().string();
  CHECK(load(folder / "none") == "mnist: folder " + root +
                                     "/none does not exist; `datasets/fetch mnist " + root +
                                     "/none` downloads MNIST");
  CHECK(load(write(folder / "file", {1})) == "mnist: " + root + "/file is not a folder");
  CHECK(load(folder.path()) ==
        "mnist: no files train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz] in " + root +
            ", its mnist/ or its MNIST/raw/; `datasets/fetch mnist " + root + "` downloads MNIST");
  write_mnist(folder / "mnist", 2, 28, {1, 2});
  CHECK(flyball::load_mnist(folder.path(), MnistSplit::train).count == 2);
  fs::remove(folder / "mnist/train-labels-idx1-ubyte");
  check_starts(load(folder.path()),
               "mnist: " + root + "/mnist has no file train-labels-idx1-ubyte[.gz]; ");
}

TEST_CASE("mnist: contradictions between and inside the files are refused") {
  const TemporaryFolder folder;
  const auto load = [&] {
    return error_of([&] { flyball::load_mnist(folder.path(), MnistSplit::train); });
  };
  const std::string images = (folder / "train-images-idx3-ubyte").string();
  const std::string labels = (folder / "train-labels-idx1-ubyte").string();
  write_mnist(folder.path(), 3, 28, {0, 9});
  CHECK(load() == labels + ": holds 2 labels, expected 3 (the images of " + images + ")");
  write_mnist(folder.path(), 3, 28, {0, 9, 10});
  CHECK(load() == labels + ": label 2 is 10, expected 0..9");
  write_mnist(folder.path(), 3, 27, {0, 9, 1});
  CHECK(load() == images + ": offset 8: size of axis 1 is 27, expected 28");
  write_mnist(folder.path(), 3, 28, {0, 9, 1});
  CHECK(load() == "no error");
}

TEST_CASE("mnist: FLYBALL_SAMPLES moves the sample") {
  const char* before = std::getenv("FLYBALL_SAMPLES");
  const std::string saved = before != nullptr ? before : "";
  setenv("FLYBALL_SAMPLES", "/somewhere/else", 1);
  CHECK(flyball::mnist_sample_folder() == fs::path("/somewhere/else/mnist"));
  if (before != nullptr) {
    setenv("FLYBALL_SAMPLES", saved.c_str(), 1);
  } else {
    unsetenv("FLYBALL_SAMPLES");
  }
  CHECK(fs::is_directory(flyball::mnist_sample_folder()));
}

TEST_CASE("mnist: the full set of FLYBALL_DATA has its published content") {
  const char* folder = std::getenv("FLYBALL_DATA");
  if (folder == nullptr || *folder == 0) {
    MESSAGE("skipped: FLYBALL_DATA is not set to a folder that holds MNIST");
    return;
  }
  const ImageData train = flyball::load_mnist(folder, MnistSplit::train);
  CHECK(train.count == 60000);
  CHECK(sum(train.pixels) == 1567298545);
  CHECK(crc(train.pixels) == 0xf3639b56U);
  CHECK(crc(as_bytes(train.labels)) == 0xba07e8efU);
  const ImageData test = flyball::load_mnist(folder, MnistSplit::test);
  CHECK(test.count == 10000);
  CHECK(sum(test.pixels) == 264923200);
  CHECK(crc(test.pixels) == 0xe4ca5f57U);
  CHECK(crc(as_bytes(test.labels)) == 0xee8604d9U);
}
