#pragma once

#include <filesystem>
#include <string_view>

namespace flyball {

// Writes to a temporary file of its own beside `path` and renames it, so that readers and writers
// at the same time see an old file or a whole new one. Throws Error and leaves nothing behind where
// that fails.
void write_whole_file(const std::filesystem::path& path, std::string_view bytes);

}  // namespace flyball
