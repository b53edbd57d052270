#pragma once

#include <doctest/doctest.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace flyball::testing {

inline std::filesystem::path write_file(const std::filesystem::path& path,
                                        const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  REQUIRE(file.good());
  return path;
}

inline std::filesystem::path write_gz_file(const std::filesystem::path& path,
                                           const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  REQUIRE(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())) ==
          static_cast<int>(bytes.size()));
  REQUIRE(gzclose(file) == Z_OK);
  return path;
}

inline std::string read_whole_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The folder of real data sets: $FLYBALL_DATA, else shared/data beside the source tree, else empty.
inline std::filesystem::path real_data_folder() {
  if (const char* folder = std::getenv("FLYBALL_DATA"); folder != nullptr && *folder != 0) {
    return folder;
  }
  std::filesystem::path beside =
      std::filesystem::path(FLYBALL_SOURCE_DIR) / ".." / "shared" / "data";
  std::error_code error;
  return std::filesystem::is_directory(beside, error) ? beside : std::filesystem::path();
}

// False, and says so, where none of these is in the real data's folder.
inline bool has_real_data(const std::string& set, const std::initializer_list<const char*>& paths) {
  const std::filesystem::path folder = real_data_folder();
  std::error_code error;
  for (const char* path : paths) {
    if (!folder.empty() && std::filesystem::exists(folder / path, error)) return true;
  }
  MESSAGE("skipped: " << set << " is neither in FLYBALL_DATA nor in ../shared/data");
  return false;
}

}  // namespace flyball::testing
