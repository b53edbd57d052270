#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace flyball {

// An array of unsigned bytes as an IDX file holds it: row-major, last size fastest.
struct IdxArray {
  std::vector<int64_t> sizes;
  std::vector<uint8_t> values;  // the product of the sizes
};

constexpr int64_t kAnySize = -1;

// Reads an IDX file, plain or gzipped: bytes 0 0, type (8: unsigned byte), rank, then one
// big-endian 32-bit size an axis, then the values and nothing after them. `expected` gives the rank
// and, axis by axis, the size the file must have (kAnySize: any but 0), so that an unsuitable file
// is refused before its values are read. Memory follows what the file holds, not what its header
// claims. Gzip's checksum is verified; as with gzip itself, bytes after its last member are
// ignored. Throws Error, one line with the file and the offset (of the unpacked bytes where it is
// gzipped).
IdxArray read_idx(const std::filesystem::path& path, const std::vector<int64_t>& expected);

}  // namespace flyball
