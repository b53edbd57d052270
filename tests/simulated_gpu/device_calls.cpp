#include <cstdio>

#include "tests/simulated_gpu/memory_access.h"

// printf and assert on the device.
namespace flyball::simulated_gpu {
namespace {

template <class T>
T parameter(const Warp& w, const Instruction& in, int lane, uint32_t which) {
  const auto& program = w.block->launch.program;
  T v;
  std::memcpy(
      &v,
      w.local + static_cast<size_t>(lane) * program.local_bytes + program.extras[in.extra + which],
      sizeof v);
  return v;
}

// A string in memory the kernel may read.
std::string text_at(Warp& w, const Instruction& in, int lane, uint64_t address) {
  std::string text;
  for (;; ++address) {
    Instruction read = in;
    read.space = Space::generic;
    const Allocation* found = w.block->launch.memory.find(address);
    if (!found) check_generic(w, read, lane, address, 1);
    const char c = *reinterpret_cast<const char*>(address);
    if (!c) return text;
    text += c;
  }
}

// vprintf(format, arguments): the arguments lie one after the other, each at a multiple of its
// size.
void print(Warp& w, const Instruction& in, uint32_t mask) {
  for_active(mask, [&](int lane) {
    const std::string format = text_at(w, in, lane, parameter<uint64_t>(w, in, lane, 0));
    uint64_t at = parameter<uint64_t>(w, in, lane, 1);
    std::string out;
    const auto next = [&]<class T>(T, size_t size) {
      at = (at + size - 1) / size * size;
      Instruction read = in;
      read.space = Space::generic;
      check_generic(w, read, lane, at, static_cast<uint32_t>(size));
      T v;
      std::memcpy(&v, reinterpret_cast<const void*>(at), sizeof v);
      at += size;
      return v;
    };
    for (size_t i = 0; i < format.size(); ++i) {
      if (format[i] != '%') {
        out += format[i];
        continue;
      }
      std::string spec = "%";
      int longs = 0;
      while (++i < format.size() &&
             std::string_view("-+ #0123456789.*hlzjt").find(format[i]) != std::string_view::npos) {
        if (format[i] == 'l' || format[i] == 'z' || format[i] == 'j' || format[i] == 't')
          ++longs;
        else if (format[i] == '*')
          spec += std::to_string(next(int32_t{}, 4));
        else if (format[i] != 'h')
          spec += format[i];
      }
      const char kind = i < format.size() ? format[i] : '%';
      char text[400] = "";
      const auto put = [&](const std::string& with, auto v) {
        std::snprintf(text, sizeof text, with.c_str(), v);
      };
      switch (kind) {
        case '%':
          text[0] = '%';
          text[1] = 0;
          break;
        case 'd':
        case 'i':
          put(spec + "lld", longs ? static_cast<long long>(next(int64_t{}, 8))
                                  : static_cast<long long>(next(int32_t{}, 4)));
          break;
        case 'u':
        case 'x':
        case 'X':
        case 'o':
          put(spec + "ll" + kind, longs ? static_cast<unsigned long long>(next(uint64_t{}, 8))
                                        : static_cast<unsigned long long>(next(uint32_t{}, 4)));
          break;
        case 'c':
          put(spec + "c", static_cast<int>(next(int32_t{}, 4)));
          break;
        case 'p':
          put(spec + "p", reinterpret_cast<void*>(next(uint64_t{}, 8)));
          break;
        case 's':
          out += text_at(w, in, lane, next(uint64_t{}, 8));
          break;
        case 'e':
        case 'E':
        case 'f':
        case 'F':
        case 'g':
        case 'G':
        case 'a':
        case 'A':
          put(spec + kind, next(double{}, 8));
          break;
        default:
          w.fault(in, lane, std::string("printf: '%") + kind + "' is not covered");
      }
      out += text;
    }
    std::fputs(out.c_str(), stdout);
  });
}

// __assertfail(message, file, line, function, character size)
void assertion_failed(Warp& w, const Instruction& in, uint32_t mask) {
  const int lane = std::countr_zero(mask);
  w.fault(in, lane,
          text_at(w, in, lane, parameter<uint64_t>(w, in, lane, 1)) + ":" +
              std::to_string(parameter<uint32_t>(w, in, lane, 2)) +
              ": assertion failed: " + text_at(w, in, lane, parameter<uint64_t>(w, in, lane, 0)));
}

}  // namespace

Handler printf_handler() { return print; }
Handler assert_handler() { return assertion_failed; }

}  // namespace flyball::simulated_gpu
