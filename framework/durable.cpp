#include "framework/durable.h"

#include <fcntl.h>
#include <unistd.h>

#include "kernels/error.h"

namespace flyball {

bool sync_to_disk(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool done = fsync(file) == 0;
  close(file);
  return done;
}

void replace_file(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  std::error_code failure;
  const bool written = sync_to_disk(temporary);
  if (written) std::filesystem::rename(temporary, path, failure);
  if (!written || failure) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw Error(str(path.string(), ": cannot write"));
  }
  // The name is part of the folder. Some file systems cannot sync one; then its order is theirs.
  sync_to_disk(path.has_parent_path() ? path.parent_path() : ".");
}

}  // namespace flyball
