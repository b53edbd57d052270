#pragma once

#include <filesystem>
#include <string_view>

namespace flyball {

// Writes to a temporary file of its own beside `path` and puts it in its place, so that readers and
// writers at the same time, and whoever comes after a power cut, see an old file or a whole new
// one. Throws Error and leaves nothing behind where that fails.
void write_whole_file(const std::filesystem::path& path, std::string_view bytes);

// The second half: waits until the disk holds the finished temporary file, then renames it to
// `path`. Throws Error, and removes the temporary file, where that fails.
void replace_file(const std::filesystem::path& temporary, const std::filesystem::path& path);

}  // namespace flyball
