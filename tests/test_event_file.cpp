#include "framework/event_file.h"

#include <array>
#include <bit>
#include <limits>

#include "framework/training_clock.h"
#include "tests/file_helpers.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;
namespace fs = std::filesystem;

namespace {

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

uint64_t little_endian(const std::string& text, size_t at, size_t count) {
  uint64_t word = 0;
  for (size_t i = 0; i < count; ++i)
    word |= uint64_t{static_cast<uint8_t>(text.at(at + i))} << (8 * i);
  return word;
}

// The mask taken off again.
uint32_t unmasked(uint32_t masked) { return std::rotl(masked - 0xa282ead8U, 15); }

// The payloads of the records of a file; checks their lengths and checksums.
std::vector<std::string> records_of(const std::string& file) {
  std::vector<std::string> records;
  size_t at = 0;
  while (at < file.size()) {
    const size_t length = little_endian(file, at, 8);
    REQUIRE(at + 16 + length <= file.size());
    CHECK(unmasked(static_cast<uint32_t>(little_endian(file, at + 8, 4))) ==
          crc32c(file.substr(at, 8)));
    records.push_back(file.substr(at + 12, length));
    CHECK(unmasked(static_cast<uint32_t>(little_endian(file, at + 12 + length, 4))) ==
          crc32c(records.back()));
    at += 16 + length;
  }
  return records;
}

std::string text_of(std::initializer_list<int> bytes) {
  std::string text;
  for (const int byte : bytes) text += static_cast<char>(byte);
  return text;
}

}  // namespace

TEST_CASE("event file: CRC-32C of the examples in RFC 3720, appendix B.4") {
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) {
    rising += static_cast<char>(i);
    falling += static_cast<char>(31 - i);
  }
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aa);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43);
  CHECK(crc32c(rising) == 0x46dd794e);
  CHECK(crc32c(falling) == 0x113fdb5c);
  CHECK(crc32c("123456789") == 0xe3069283);
  CHECK(crc32c("") == 0);
  CHECK(masked_crc32c("") == 0xa282ead8);
  CHECK(unmasked(masked_crc32c("123456789")) == 0xe3069283);
}

TEST_CASE("event file: framed records, the version first, then scalars, byte for byte") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / EventFile::kName;
  EventFile events(path);
  events.add(1.5, 300, std::array{Scalar{"a", 1.0}, Scalar{"bc", -0.5}});
  CHECK(records_of(bytes_of(path)).size() == 1);  // buffered
  events.flush();
  const std::vector<std::string> records = records_of(bytes_of(path));
  REQUIRE(records.size() == 2);
  CHECK(records[0].substr(9) == text_of({0x10, 0x00, 0x1a, 13}) + "brain.Event:2");
  CHECK(records[1] ==
        text_of({0x09, 0,    0,    0, 0,   0,    0,    0xf8, 0x3f,                 // wall_time 1.5
                 0x10, 0xac, 0x02,                                                 // step 300
                 0x2a, 21,                                                         // summary
                 0x0a, 8,    0x0a, 1, 'a', 0x15, 0,    0,    0x80, 0x3f,           // a: 1
                 0x0a, 9,    0x0a, 2, 'b', 'c',  0x15, 0,    0,    0,    0xbf}));  // bc: -0.5
}

TEST_CASE("event file: figures that are no numbers, and large steps, are kept") {
  const TemporaryFolder folder;
  EventFile events(folder.path() / "tfevents");
  events.add(0, int64_t{1} << 40,
             std::array{Scalar{"x", std::numeric_limits<double>::quiet_NaN()}});
  events.flush();
  const std::vector<std::string> records = records_of(bytes_of(folder.path() / "tfevents"));
  REQUIRE(records.size() == 2);
  CHECK(records[1].substr(9, 7) == text_of({0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20}));
  const auto bits = static_cast<uint32_t>(little_endian(records[1], records[1].size() - 4, 4));
  CHECK(std::isnan(std::bit_cast<float>(bits)));
}

TEST_CASE("event file: an unwritable place and a full disk are reported") {
  const TemporaryFolder folder;
  CHECK(error_of([&] { EventFile(folder.path() / "none" / "tfevents"); }) ==
        (folder.path() / "none" / "tfevents").string() + ": cannot write");
  if (fs::exists("/dev/full"))
    CHECK(error_of([&] { EventFile("/dev/full"); }) == "/dev/full: cannot write");
}

TEST_CASE("training clock: steps of a block are spread evenly, evaluations are left out") {
  TrainingClock clock;
  CHECK(clock.step_ends(4, 2.0) == std::vector<double>{0.5, 1.0, 1.5, 2.0});
  CHECK(clock.step_ends(0, 5.0).empty());
  CHECK(clock.last() == 2.0);
  clock.exclude(3.0);
  CHECK(clock.step_ends(2, 6.0) == std::vector<double>{2.5, 3.0});  // 1 s of training in 4 s
  CHECK(clock.last() == 3.0);
}
