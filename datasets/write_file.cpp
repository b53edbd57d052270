#include "datasets/write_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/error.h"

namespace flyball {

void write_whole_file(const std::filesystem::path& path, std::string_view bytes) {
  std::string temporary = path.string() + ".XXXXXX";
  const int file = mkstemp(temporary.data());
  if (file < 0) throw Error(str(path.string(), ": cannot write: ", std::strerror(errno)));
  size_t done = 0;
  ssize_t written = 0;
  while (done < bytes.size() && written >= 0) {
    written = write(file, bytes.data() + done, bytes.size() - done);
    if (written < 0 && errno == EINTR) written = 0;
    if (written > 0) done += static_cast<size_t>(written);
  }
  int error = written < 0 ? errno : 0;
  if (fchmod(file, 0644) != 0 && error == 0) error = errno;
  if (close(file) != 0 && error == 0) error = errno;
  if (error == 0 && rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return;
  unlink(temporary.c_str());
  throw Error(str(path.string(), ": cannot write: ", std::strerror(error)));
}

}  // namespace flyball
