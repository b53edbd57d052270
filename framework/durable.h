#pragma once

#include <filesystem>

namespace flyball {

// Renames a finished temporary file to `path`, and returns when the disk holds both the bytes and
// the name: after a power cut `path` is the old file or the whole new one. Throws Error, and
// removes the temporary file, where that fails.
void replace_file(const std::filesystem::path& temporary, const std::filesystem::path& path);

// Waits until the disk holds what was written to the file. False where it cannot.
bool sync_to_disk(const std::filesystem::path& path);

}  // namespace flyball
