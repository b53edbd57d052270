#include <png.h>
#include <turbojpeg.h>

#include "datasets/image_file.h"
#include "tests/file_helpers.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

using Bytes = std::vector<uint8_t>;
namespace fs = std::filesystem;

fs::path write_png(const fs::path& path, uint32_t h, uint32_t w, const Bytes& pixels,
                   uint32_t format) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = w;
  image.height = h;
  image.format = format;
  REQUIRE(png_image_write_to_file(&image, path.c_str(), 0, pixels.data(), 0, nullptr) != 0);
  return path;
}

fs::path write_jpeg(const fs::path& path, int h, int w, const Bytes& pixels) {
  tjhandle encoder = tjInitCompress();
  unsigned char* bytes = nullptr;
  unsigned long size = 0;  // NOLINT: turbojpeg's type
  REQUIRE(tjCompress2(encoder, pixels.data(), w, 0, h, TJPF_RGB, &bytes, &size, TJSAMP_444, 100,
                      TJFLAG_ACCURATEDCT) == 0);
  write_file(path, std::string(reinterpret_cast<const char*>(bytes), size));
  tjFree(bytes);
  tjDestroy(encoder);
  return path;
}

// h x w pixels of one colour.
Bytes plain(int64_t h, int64_t w, const Bytes& colour) {
  Bytes pixels;
  for (int64_t i = 0; i < h * w; ++i) pixels.insert(pixels.end(), colour.begin(), colour.end());
  return pixels;
}

}  // namespace

TEST_CASE("image file: a PNG of the wanted size comes pixel by pixel") {
  const TemporaryFolder folder;
  Bytes colours, greys;
  for (int i = 0; i < 4 * 5 * 3; ++i) colours.push_back(static_cast<uint8_t>(4 * i));
  for (int i = 0; i < 4 * 5; ++i) greys.push_back(static_cast<uint8_t>(12 * i));
  const fs::path colour = write_png(folder.path() / "colour.png", 4, 5, colours, PNG_FORMAT_RGB);
  const fs::path grey = write_png(folder.path() / "grey.png", 4, 5, greys, PNG_FORMAT_GRAY);
  CHECK(read_image(colour, 4, 5, 3) == colours);
  CHECK(read_image(grey, 4, 5, 1) == greys);
  Bytes repeated;
  for (const uint8_t value : greys) repeated.insert(repeated.end(), 3, value);
  CHECK(read_image(grey, 4, 5, 3) == repeated);
}

TEST_CASE("image file: a larger image is averaged, a wider one is cut on both sides") {
  const TemporaryFolder folder;
  // Two by two pixels become one.
  const fs::path four = write_png(folder.path() / "four.png", 2, 4,
                                  {10, 20, 100, 200, 30, 40, 100, 200}, PNG_FORMAT_GRAY);
  CHECK(read_image(four, 1, 2, 1) == Bytes{25, 150});
  // The middle square of 2 x 4.
  CHECK(read_image(four, 2, 2, 1) == Bytes{20, 100, 40, 100});
  // Three columns on two: each takes one and a half.
  const fs::path three = write_png(folder.path() / "three.png", 3, 3,
                                   {0, 30, 60, 0, 30, 60, 0, 30, 60}, PNG_FORMAT_GRAY);
  CHECK(read_image(three, 2, 2, 1) == Bytes{10, 50, 10, 50});
  // A smaller image grows.
  const fs::path one = write_png(folder.path() / "one.png", 1, 1, {77}, PNG_FORMAT_GRAY);
  CHECK(read_image(one, 3, 3, 1) == plain(3, 3, {77}));
}

TEST_CASE("image file: what is transparent lies on black") {
  const TemporaryFolder folder;
  const fs::path path = write_png(folder.path() / "clear.png", 1, 2,
                                  {200, 100, 50, 0, 200, 100, 50, 255}, PNG_FORMAT_RGBA);
  CHECK(read_image(path, 1, 2, 3) == Bytes{0, 0, 0, 200, 100, 50});
}

TEST_CASE("image file: a JPEG of one colour keeps it, in colour and in grey") {
  const TemporaryFolder folder;
  const fs::path path =
      write_jpeg(folder.path() / "plain.jpg", 16, 16, plain(16, 16, {200, 40, 90}));
  const Bytes pixels = read_image(path, 8, 8, 3);
  for (size_t i = 0; i < pixels.size(); ++i) {
    CHECK(std::abs(pixels[i] - std::vector<int>{200, 40, 90}[i % 3]) <= 2);
  }
  const double grey = 0.299 * 200 + 0.587 * 40 + 0.114 * 90;
  for (const uint8_t value : read_image(path, 8, 8, 1)) CHECK(std::abs(value - grey) <= 2);
}

TEST_CASE("image file: what is no image is refused, with the file's name") {
  const TemporaryFolder folder;
  const auto refused = [&](const char* name, const std::string& bytes) {
    const fs::path path = write_file(folder.path() / name, bytes);
    const std::string error = error_of([&] { read_image(path, 2, 2, 3); });
    CHECK(contains(error, path.string() + ": "));
    CHECK(error.find('\n') == std::string::npos);
    return error;
  };
  CHECK(contains(refused("empty.png", ""), "neither PNG nor JPEG"));
  CHECK(contains(refused("text.png", "not an image"), "neither PNG nor JPEG"));
  const std::string png = read_whole_file(
      write_png(folder.path() / "good.png", 20, 20, plain(20, 20, {1, 2, 3}), PNG_FORMAT_RGB));
  CHECK(contains(refused("cut.png", png.substr(0, png.size() / 2)), "PNG: "));
  std::string changed = png;
  changed[png.size() / 2] ^= 0x55;
  CHECK(contains(refused("changed.png", changed), "PNG: "));
  const std::string jpeg =
      read_whole_file(write_jpeg(folder.path() / "good.jpg", 64, 64, plain(64, 64, {1, 2, 3})));
  CHECK(contains(refused("cut.jpg", jpeg.substr(0, jpeg.size() / 2)), "JPEG: "));
  CHECK(contains(refused("head.jpg", jpeg.substr(0, 4)), "is 0 x 0 pixels"));
  // 65,000 x 65,000 pixels by the header, before any memory is taken for them.
  std::string huge = jpeg;
  const size_t frame = huge.find("\xff\xc0");
  REQUIRE(frame != std::string::npos);
  huge.replace(frame + 5, 4, "\xfd\xe8\xfd\xe8");
  CHECK(contains(refused("huge.jpg", huge), "65000 x 65000 pixels, expected 1 to"));
  CHECK(contains(error_of([&] { read_image(folder.path() / "none.png", 2, 2, 3); }), "none.png"));
}
