#include "datasets/idx.h"

#include <algorithm>
#include <limits>
#include <string>

#include "datasets/input_file.h"

namespace flyball {
namespace {

constexpr int64_t kBlockBytes = int64_t{1} << 20;
constexpr int64_t kReserveBytes = int64_t{1} << 26;  // trusted without proof: holds all of MNIST
constexpr int kUnsignedByte = 8;

std::string hex(const uint8_t* bytes, int count) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "0x";
  for (int i = 0; i < count; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

std::string joined(const std::vector<int64_t>& sizes) {
  std::string text;
  for (const int64_t size : sizes) text += (text.empty() ? "" : " x ") + std::to_string(size);
  return text;
}

std::vector<int64_t> read_sizes(InputFile& file, const std::vector<int64_t>& expected) {
  const auto rank = static_cast<int64_t>(expected.size());
  const int64_t header_bytes = 4 + 4 * rank;
  uint8_t magic[4];
  const int64_t magic_bytes = file.read(magic, 4);
  if (magic_bytes == 0) file.fail("is empty, expected an IDX header of ", header_bytes, " bytes");
  if (magic_bytes < 4) {
    file.fail_at(magic_bytes, "the header ends here, expected ", header_bytes, " bytes");
  }
  if (magic[0] != 0 || magic[1] != 0) {
    const uint8_t wanted[4] = {0, 0, kUnsignedByte, static_cast<uint8_t>(rank)};
    file.fail_at(0, "magic number is ", hex(magic, 4), ", expected ", hex(wanted, 4));
  }
  if (magic[2] != kUnsignedByte) {
    file.fail_at(2, "type is ", hex(magic + 2, 1), ", expected 0x08 (unsigned byte)");
  }
  if (magic[3] != rank) file.fail_at(3, "rank is ", int{magic[3]}, ", expected ", rank);

  std::vector<int64_t> sizes;
  for (int64_t axis = 0; axis < rank; ++axis) {
    const int64_t offset = 4 + 4 * axis;
    uint8_t bytes[4];
    const int64_t got = file.read(bytes, 4);
    if (got < 4) {
      file.fail_at(offset + got, "the header ends here, expected ", header_bytes, " bytes");
    }
    const int64_t size = (int64_t{bytes[0]} << 24) | (int64_t{bytes[1]} << 16) |
                         (int64_t{bytes[2]} << 8) | int64_t{bytes[3]};
    if (size == 0) file.fail_at(offset, "size of axis ", axis, " is 0, expected at least 1");
    if (expected[axis] != kAnySize && size != expected[axis]) {
      file.fail_at(offset, "size of axis ", axis, " is ", size, ", expected ", expected[axis]);
    }
    sizes.push_back(size);
  }
  return sizes;
}

}  // namespace

IdxArray read_idx(const std::filesystem::path& path, const std::vector<int64_t>& expected) {
  InputFile file(path, "an IDX file");
  IdxArray array;
  array.sizes = read_sizes(file, expected);
  const auto header_bytes = static_cast<int64_t>(4 + 4 * expected.size());
  int64_t payload_bytes = 1;
  for (const int64_t size : array.sizes) {
    if (payload_bytes > (std::numeric_limits<int64_t>::max() - header_bytes) / size) {
      file.fail_at(4, "sizes are ", joined(array.sizes), ", more bytes than any file holds");
    }
    payload_bytes *= size;
  }

  array.values.reserve(static_cast<size_t>(std::min(payload_bytes, kReserveBytes)));
  for (int64_t done = 0; done < payload_bytes;) {
    const int64_t block = std::min(kBlockBytes, payload_bytes - done);
    array.values.resize(static_cast<size_t>(done + block));
    const int64_t got = file.read(array.values.data() + done, block);
    done += got;
    if (got < block) {
      file.fail_at(header_bytes + done, "the payload ends after ", done, " bytes, expected ",
                   payload_bytes, " (", joined(array.sizes), ")");
    }
  }
  uint8_t trailing = 0;  // this read also makes zlib check the checksum at the end of gzip data
  if (file.read(&trailing, 1) != 0) {
    file.fail_at(header_bytes + payload_bytes, "bytes follow the payload, expected the end of ",
                 payload_bytes, " bytes (", joined(array.sizes), ")");
  }
  return array;
}

}  // namespace flyball
