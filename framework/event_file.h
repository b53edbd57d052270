#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

namespace flyball {

struct Scalar {
  std::string_view tag;
  double value;  // stored as f32
};

// A TensorBoard event file: scalars by step and wall time, readable while it grows.
// Records are framed as TensorFlow's TFRecord (tensorflow/core/lib/io/record_writer.h): length as
// u64, its masked CRC-32C, the bytes, their masked CRC-32C, all little-endian. Each record is a
// protocol buffer `Event` (tensorboard/compat/proto/event.proto), encoded by hand: a handful of
// fields do not need the library.
class EventFile {
 public:
  // Any file of a folder whose name contains "tfevents" is read by TensorBoard.
  static constexpr const char* kName = "events.out.tfevents.0.flyball";

  // Creates or empties the file. Throws Error where that fails.
  explicit EventFile(std::filesystem::path path);

  // `wall_time`: seconds since 1970. Buffered until flush().
  void add(double wall_time, int64_t step, std::span<const Scalar> scalars);
  void flush();  // throws Error where the file cannot be written
  void close() { out_.close(); }

 private:
  void add_record(std::string_view bytes);

  std::filesystem::path path_;
  std::ofstream out_;
};

// CRC-32C (Castagnoli, polynomial 0x1EDC6F41, reflected; RFC 3720, appendix B.4) of bytes.
uint32_t crc32c(std::string_view bytes);

// TFRecord's mask: ((crc >> 15) | (crc << 17)) + 0xa282ead8, so that the checksum of data that hold
// checksums is not degenerate.
uint32_t masked_crc32c(std::string_view bytes);

}  // namespace flyball
