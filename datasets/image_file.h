#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace flyball {

// One PNG or JPEG file as u8 [h, w, c]: c = 1 grey, c = 3 red, green, blue; transparent pixels are
// on black. What is wider or higher than h : w is cut on both sides alike, then every pixel is the
// mean of the source's area under it. Throws Error naming the file: it cannot be opened, is neither
// PNG nor JPEG, is damaged, or has more than 2^26 pixels.
std::vector<uint8_t> read_image(const std::filesystem::path& path, int64_t h, int64_t w, int64_t c);

}  // namespace flyball
