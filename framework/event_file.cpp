#include "framework/event_file.h"

#include <array>
#include <bit>
#include <chrono>

#include "kernels/error.h"

namespace flyball {
namespace {

constexpr uint32_t kReflectedPolynomial = 0x82f63b78;

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kReflectedPolynomial : 0);
    }
    table[byte] = crc;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kCrcTable = make_crc_table();

template <class Word>
void append_little_endian(std::string& text, Word word) {
  for (size_t i = 0; i < sizeof word; ++i) text += static_cast<char>(word >> (8 * i));
}

// Protocol buffers: a field is its key, number * 8 + wire type, then the value. Wire types: varint
// (7 bits a byte, the lowest first, a set top bit says that more follow), fixed 8 bytes,
// length-delimited, fixed 4 bytes.
enum class Wire : uint8_t { varint = 0, fixed64 = 1, delimited = 2, fixed32 = 5 };

void append_varint(std::string& text, uint64_t value) {
  for (; value >= 0x80; value >>= 7) text += static_cast<char>(value | 0x80);
  text += static_cast<char>(value);
}

void append_key(std::string& text, uint32_t field, Wire wire) {
  append_varint(text, field << 3 | static_cast<uint32_t>(wire));
}

void append_bytes(std::string& text, uint32_t field, std::string_view bytes) {
  append_key(text, field, Wire::delimited);
  append_varint(text, bytes.size());
  text += bytes;
}

// message Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary =
// 5; }
std::string event_with(double wall_time, int64_t step) {
  std::string event;
  append_key(event, 1, Wire::fixed64);
  append_little_endian(event, std::bit_cast<uint64_t>(wall_time));
  append_key(event, 2, Wire::varint);
  append_varint(event, static_cast<uint64_t>(step));
  return event;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~uint32_t{0};
  for (const char c : bytes) crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8; }

EventFile::EventFile(std::filesystem::path path)
    : path_(std::move(path)), out_(path_, std::ios::binary | std::ios::trunc) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  std::string event = event_with(now.count(), 0);
  append_bytes(event, 3, "brain.Event:2");  // the file's first record names the format's version
  add_record(event);
  flush();
}

// message Summary { repeated Value value = 1; }
// message Value { string tag = 1; float simple_value = 2; }
void EventFile::add(double wall_time, int64_t step, std::span<const Scalar> scalars) {
  std::string summary, value;
  for (const Scalar& scalar : scalars) {
    value.clear();
    append_bytes(value, 1, scalar.tag);
    append_key(value, 2, Wire::fixed32);
    append_little_endian(value, std::bit_cast<uint32_t>(static_cast<float>(scalar.value)));
    append_bytes(summary, 1, value);
  }
  std::string event = event_with(wall_time, step);
  append_bytes(event, 5, summary);
  add_record(event);
}

void EventFile::flush() {
  out_.flush();
  if (!out_) throw Error(str(path_.string(), ": cannot write"));
}

void EventFile::add_record(std::string_view bytes) {
  std::string record;
  append_little_endian(record, static_cast<uint64_t>(bytes.size()));
  append_little_endian(record, masked_crc32c(record));
  record += bytes;
  append_little_endian(record, masked_crc32c(bytes));
  out_.write(record.data(), static_cast<std::streamsize>(record.size()));
}

}  // namespace flyball
