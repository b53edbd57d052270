#include "framework/write_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/error.h"

namespace flyball {
namespace {

// 0, or what went wrong.
int sync_to_disk(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return errno;
  const int error = fsync(file) == 0 ? 0 : errno;
  close(file);
  return error;
}

int write_all(int file, std::string_view bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t written = write(file, bytes.data() + done, bytes.size() - done);
    if (written < 0 && errno != EINTR) return errno;
    if (written > 0) done += static_cast<size_t>(written);
  }
  return 0;
}

[[noreturn]] void fail(const std::filesystem::path& temporary, const std::filesystem::path& path,
                       int error) {
  unlink(temporary.c_str());
  throw Error(str(path.string(), ": cannot write: ", std::strerror(error)));
}

}  // namespace

void write_whole_file(const std::filesystem::path& path, std::string_view bytes) {
  std::string temporary = path.string() + ".XXXXXX";
  const int file = mkstemp(temporary.data());
  if (file < 0) throw Error(str(path.string(), ": cannot write: ", std::strerror(errno)));
  int error = write_all(file, bytes);
  if (fchmod(file, 0644) != 0 && error == 0) error = errno;
  if (close(file) != 0 && error == 0) error = errno;
  if (error != 0) fail(temporary, path, error);
  replace_file(temporary, path);
}

void replace_file(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  int error = sync_to_disk(temporary);
  if (error == 0 && rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) fail(temporary, path, error);
  // The name is part of the folder. Where a file system cannot sync one, its order is its own.
  sync_to_disk(path.has_parent_path() ? path.parent_path() : ".");
}

}  // namespace flyball
