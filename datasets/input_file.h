#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "kernels/error.h"

struct gzFile_s;  // zlib's

namespace flyball {

// A plain or gzipped file, read from front to back. What goes wrong is thrown as Error, one line
// with the file and, from fail_at(), the offset (of the unpacked bytes where it is gzipped).
class InputFile {
 public:
  // expected: what the file should be, for messages ("an IDX file").
  InputFile(const std::filesystem::path& path, const std::string& expected);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  // Returns how many bytes there were: fewer than `bytes` only at the end of the file.
  int64_t read(uint8_t* to, int64_t bytes);
  bool gzipped() const;

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    throw Error(str(name_, ": ", parts...));
  }
  template <class... Parts>
  [[noreturn]] void fail_at(int64_t offset, const Parts&... parts) const {
    const char* where = gzipped() ? "unpacked offset " : "offset ";
    throw Error(str(name_, ": ", where, offset, ": ", parts...));
  }

 private:
  [[noreturn]] void fail_reading() const;

  std::string name_;
  gzFile_s* file_ = nullptr;
};

}  // namespace flyball
