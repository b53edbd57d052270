#include "datasets/idx.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string>

#include "kernels/error.h"

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

// A plain or gzipped file, read from front to back.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path) : name_(path.string()) {
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(path, error);
    if (status.type() == std::filesystem::file_type::not_found) fail("no such file");
    if (std::filesystem::is_directory(status)) fail("is a folder, expected an IDX file");
    if (error) fail("cannot be read: ", error.message());
    if (!std::filesystem::is_regular_file(status)) fail("is not a regular file");
    errno = 0;
    file_ = gzopen(path.c_str(), "rb");
    if (file_ == nullptr) fail("cannot be opened: ", std::strerror(errno != 0 ? errno : ENOMEM));
    gzbuffer(file_, 1U << 17);
  }
  ~InputFile() {
    if (file_ != nullptr) gzclose_r(file_);
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  // Returns how many bytes there were: fewer than `bytes` only at the end of the file.
  int64_t read(uint8_t* to, int64_t bytes) {
    int64_t done = 0;
    while (done < bytes) {
      const int64_t wanted = std::min(bytes - done, kBlockBytes);
      const int got = gzread(file_, to + done, static_cast<unsigned>(wanted));
      if (got < wanted && gzip_error() != Z_OK) fail_reading();
      done += got;
      if (got < wanted) break;
    }
    return done;
  }

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    throw Error(str(name_, ": ", parts...));
  }
  template <class... Parts>
  [[noreturn]] void fail_at(int64_t offset, const Parts&... parts) const {
    const char* where = gzdirect(file_) != 0 ? "offset " : "unpacked offset ";
    throw Error(str(name_, ": ", where, offset, ": ", parts...));
  }

 private:
  int gzip_error() const {
    int code = Z_OK;
    gzerror(file_, &code);
    return code;
  }

  [[noreturn]] void fail_reading() const {
    const int system_error = errno;
    int code = Z_OK;
    std::string text = gzerror(file_, &code);
    const int64_t packed = gzoffset(file_);
    if (code == Z_ERRNO) fail("cannot be read: ", std::strerror(system_error));
    if (code == Z_BUF_ERROR) {
      fail("gzip data is cut off at packed offset ", packed, ", expected more bytes");
    }
    if (text.rfind(name_ + ": ", 0) == 0) text.erase(0, name_.size() + 2);
    fail("gzip data is corrupt before packed offset ", packed, ": ", text);
  }

  std::string name_;
  gzFile file_ = nullptr;
};

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
  InputFile file(path);
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
