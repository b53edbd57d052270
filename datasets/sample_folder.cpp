#include "datasets/sample_folder.h"

#include <cstdlib>

#include "kernels/error.h"

namespace flyball {

namespace fs = std::filesystem;

fs::path sample_folder(const std::string& set) {
  if (const char* samples = std::getenv("FLYBALL_SAMPLES"); samples != nullptr && *samples != 0) {
    return fs::path(samples) / set;
  }
  std::error_code error;
  fs::path source = fs::path(FLYBALL_SOURCE_DIR) / "datasets" / "samples" / set;
  if (fs::is_directory(source, error)) return source;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  fs::path installed = program.parent_path().parent_path() / "share" / "flyball" / "samples" / set;
  if (!program.empty() && fs::is_directory(installed, error)) return installed;
  throw Error(str(set, " sample: neither ", source.string(), " nor ", installed.string(),
                  " exists; set FLYBALL_SAMPLES to the folder that holds ", set, "/"));
}

}  // namespace flyball
