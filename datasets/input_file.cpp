#include "datasets/input_file.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace flyball {
namespace {

constexpr int64_t kBlockBytes = int64_t{1} << 20;

}  // namespace

InputFile::InputFile(const std::filesystem::path& path, const std::string& expected)
    : name_(path.string()) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) fail("no such file");
  if (std::filesystem::is_directory(status)) fail("is a folder, expected ", expected);
  if (error) fail("cannot be read: ", error.message());
  if (!std::filesystem::is_regular_file(status)) fail("is not a regular file");
  errno = 0;
  file_ = gzopen(path.c_str(), "rb");
  if (file_ == nullptr) fail("cannot be opened: ", std::strerror(errno != 0 ? errno : ENOMEM));
  gzbuffer(file_, 1U << 17);
}

InputFile::~InputFile() {
  if (file_ != nullptr) gzclose_r(file_);
}

int64_t InputFile::read(uint8_t* to, int64_t bytes) {
  int64_t done = 0;
  while (done < bytes) {
    const int64_t wanted = std::min(bytes - done, kBlockBytes);
    const int got = gzread(file_, to + done, static_cast<unsigned>(wanted));
    int code = Z_OK;
    gzerror(file_, &code);
    if (got < wanted && code != Z_OK) fail_reading();
    done += got;
    if (got < wanted) break;
  }
  return done;
}

bool InputFile::gzipped() const { return gzdirect(file_) == 0; }

void InputFile::fail_reading() const {
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

}  // namespace flyball
