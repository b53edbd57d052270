#include "datasets/image_file.h"

#include <png.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>

#include "datasets/input_file.h"
#include "kernels/error.h"

namespace flyball {
namespace {

constexpr int64_t kLargestPixels = int64_t{1} << 26;
constexpr int64_t kLargestFile = int64_t{1} << 28;

struct Picture {
  int64_t h = 0, w = 0, c = 0;
  std::vector<uint8_t> pixels;  // [h, w, c]
};

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw Error(str(path.string(), ": ", what));
}

Picture sized(const std::filesystem::path& path, int64_t h, int64_t w, int64_t c) {
  if (h < 1 || w < 1 || h > kLargestPixels / w) {
    fail(path, str("is ", w, " x ", h, " pixels, expected 1 to ", kLargestPixels, " in all"));
  }
  return {h, w, c, std::vector<uint8_t>(static_cast<size_t>(h * w * c))};
}

std::vector<uint8_t> read_file(const std::filesystem::path& path) {
  InputFile file(path, "an image");
  std::vector<uint8_t> bytes;
  constexpr int64_t kPiece = 1 << 16;
  for (int64_t got = kPiece; got == kPiece;) {
    const size_t end = bytes.size();
    if (static_cast<int64_t>(end) > kLargestFile) {
      fail(path, str("is longer than ", kLargestFile, " bytes, expected an image"));
    }
    bytes.resize(end + kPiece);
    got = file.read(bytes.data() + end, kPiece);
    bytes.resize(end + static_cast<size_t>(got));
  }
  return bytes;
}

Picture decode_png(const std::filesystem::path& path, const std::vector<uint8_t>& bytes,
                   int64_t c) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  const std::unique_ptr<png_image, void (*)(png_image*)> freed(&image, png_image_free);
  if (png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) == 0) {
    fail(path, str("PNG: ", image.message));
  }
  image.format = c == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  Picture picture = sized(path, image.height, image.width, c);
  const png_color black{};
  if (png_image_finish_read(&image, &black, picture.pixels.data(), 0, nullptr) == 0) {
    fail(path, str("PNG: ", image.message));
  }
  return picture;
}

Picture decode_jpeg(const std::filesystem::path& path, const std::vector<uint8_t>& bytes,
                    int64_t c) {
  const std::unique_ptr<void, int (*)(tjhandle)> decoder(tjInitDecompress(), tjDestroy);
  if (decoder == nullptr) fail(path, "JPEG: no decoder");
  int w = 0, h = 0, subsampling = 0, colours = 0;
  const auto size = static_cast<unsigned long>(bytes.size());  // NOLINT: turbojpeg's type
  if (tjDecompressHeader3(decoder.get(), bytes.data(), size, &w, &h, &subsampling, &colours) != 0) {
    fail(path, str("JPEG: ", tjGetErrorStr2(decoder.get())));
  }
  Picture picture = sized(path, h, w, c);
  if (tjDecompress2(decoder.get(), bytes.data(), size, picture.pixels.data(), w, 0, h,
                    c == 1 ? TJPF_GRAY : TJPF_RGB,
                    TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING) != 0) {
    fail(path, str("JPEG: ", tjGetErrorStr2(decoder.get())));
  }
  return picture;
}

// The pixels that an interval [begin, end) of an axis covers, each with its share.
template <class Use>
void for_covered(double begin, double end, int64_t size, const Use& use) {
  const auto last = std::min(size, static_cast<int64_t>(std::ceil(end)));
  for (auto i = static_cast<int64_t>(begin); i < last; ++i) {
    const auto low = std::max(begin, static_cast<double>(i));
    const auto high = std::min(end, static_cast<double>(i + 1));
    if (high > low) use(i, high - low);
  }
}

std::vector<uint8_t> resized(const Picture& from, int64_t h, int64_t w) {
  const double step = std::min(static_cast<double>(from.h) / static_cast<double>(h),
                               static_cast<double>(from.w) / static_cast<double>(w));
  const double top = (static_cast<double>(from.h) - step * static_cast<double>(h)) / 2;
  const double left = (static_cast<double>(from.w) - step * static_cast<double>(w)) / 2;
  std::vector<uint8_t> pixels;
  std::vector<double> sums(static_cast<size_t>(from.c));
  for (int64_t y = 0; y < h; ++y) {
    for (int64_t x = 0; x < w; ++x) {
      std::fill(sums.begin(), sums.end(), 0.0);
      double area = 0;
      const double y0 = top + step * static_cast<double>(y);
      const double x0 = left + step * static_cast<double>(x);
      for_covered(y0, y0 + step, from.h, [&](int64_t row, double height) {
        for_covered(x0, x0 + step, from.w, [&](int64_t column, double width) {
          const double share = height * width;
          area += share;
          const uint8_t* pixel = from.pixels.data() + (row * from.w + column) * from.c;
          for (size_t k = 0; k < sums.size(); ++k) sums[k] += share * pixel[k];
        });
      });
      for (const double sum : sums) {
        pixels.push_back(static_cast<uint8_t>(std::lround(std::clamp(sum / area, 0.0, 255.0))));
      }
    }
  }
  return pixels;
}

}  // namespace

std::vector<uint8_t> read_image(const std::filesystem::path& path, int64_t h, int64_t w,
                                int64_t c) {
  const std::vector<uint8_t> bytes = read_file(path);
  constexpr uint8_t kPng[] = {0x89, 'P', 'N', 'G'}, kJpeg[] = {0xff, 0xd8, 0xff};
  const auto starts = [&](const auto& magic) {
    return bytes.size() >= sizeof magic && std::memcmp(bytes.data(), magic, sizeof magic) == 0;
  };
  if (starts(kPng)) return resized(decode_png(path, bytes, c), h, w);
  if (starts(kJpeg)) return resized(decode_jpeg(path, bytes, c), h, w);
  fail(path, "is neither PNG nor JPEG");
}

}  // namespace flyball
