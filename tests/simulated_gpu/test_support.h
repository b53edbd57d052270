#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/simulated_gpu/simulator.h"

namespace flyball::simulated_gpu {

// Device memory, with arrays in it, and launches with arguments given as values.
class TestDevice {
 public:
  explicit TestDevice(bool track = false) : memory(DeviceMemory::make(track)) {}

  template <class T>
  T* array(const std::vector<T>& values, const char* name = "array") {
    T* data = static_cast<T*>(memory->allocate(values.size() * sizeof(T), name));
    std::memcpy(data, values.data(), values.size() * sizeof(T));
    memory->mark_initialised(data, values.size() * sizeof(T));
    return data;
  }
  template <class T>
  T* array(size_t count, const char* name = "array") {
    return static_cast<T*>(memory->allocate(count * sizeof(T), name));
  }
  template <class... A>
  LaunchReport run(Module& module, const char* kernel, Dim3 grid, Dim3 block,
                   const Options& options, A... arguments) {
    void* pointers[] = {&arguments...};
    return module.launch(kernel, grid, block, 0, pointers, options, cooperative);
  }
  // The message of the Fault that a launch must throw.
  template <class... A>
  std::string fault(Module& module, const char* kernel, Dim3 grid, Dim3 block,
                    const Options& options, A... arguments) {
    try {
      run(module, kernel, grid, block, options, arguments...);
    } catch (const Fault& e) {
      return e.what();
    }
    return "no fault";
  }

  std::unique_ptr<DeviceMemory> memory;
  bool cooperative = false;
};

inline std::string read_file(const std::string& path) {
  std::ifstream file(path);
  REQUIRE_MESSAGE(file, path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}
inline std::unique_ptr<Module> load_test_module(TestDevice& device, const char* name) {
  return Module::load(read_file(std::string(SIMULATED_GPU_PTX) + "/" + name + ".ptx"),
                      *device.memory);
}
inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

constexpr const char* kPtxHeader = ".version 8.7\n.target sm_80\n.address_size 64\n";

// PTX registers of the widths of D, A, B, C, loaded from and stored to arrays by thread around the
// given instructions, which compute %d from %a, %b, %c and may use %p, %q.
template <class D, class A, class B = A, class C = A>
std::vector<D> evaluate(const std::string& instructions, std::vector<A> a, std::vector<B> b = {},
                        std::vector<C> c = {}) {
  const size_t n = a.size();
  b.resize(n);
  c.resize(n);
  const auto width = [](size_t bytes) { return ".b" + std::to_string(8 * bytes); };
  std::string ptx = kPtxHeader;
  ptx +=
      ".visible .entry k(.param .u64 pd, .param .u64 pa, .param .u64 pb, .param .u64 pc, .param "
      ".u32 pn)\n{\n";
  ptx += ".reg .pred %p, %q, %out;\n.reg .b32 %i, %n, %t;\n.reg .b64 %at, %place;\n";
  ptx += ".reg " + width(sizeof(D)) + " %d;\n.reg " + width(sizeof(A)) + " %a;\n.reg " +
         width(sizeof(B)) + " %b;\n.reg " + width(sizeof(C)) + " %c;\n";
  ptx +=
      "mov.u32 %i, %ctaid.x; mov.u32 %n, %ntid.x; mov.u32 %t, %tid.x; mad.lo.s32 %i, %i, %n, %t;\n";
  ptx += "ld.param.u32 %n, [pn]; setp.ge.u32 %out, %i, %n; @%out bra done;\n";
  const auto transfer = [&](const char* load, const char* name, size_t bytes) {
    ptx += std::string("ld.param.u64 %at, [p") + name + "]; mul.wide.u32 %place, %i, " +
           std::to_string(bytes) + "; add.s64 %at, %at, %place;\n";
    ptx += *load == 'l' ? "ld.global" + width(bytes) + " %" + name + ", [%at];\n"
                        : "st.global" + width(bytes) + " [%at], %" + name + ";\n";
  };
  transfer("load", "a", sizeof(A));
  transfer("load", "b", sizeof(B));
  transfer("load", "c", sizeof(C));
  ptx += instructions + "\n";
  transfer("store", "d", sizeof(D));
  ptx += "done: ret;\n}\n";
  TestDevice device;
  const auto module = Module::load(ptx, *device.memory);
  D* d = device.array(std::vector<D>(n));
  device.run(*module, "k", {static_cast<uint32_t>(n + 127) / 128}, {128}, {}, d, device.array(a),
             device.array(b), device.array(c), static_cast<uint32_t>(n));
  return {d, d + n};
}

// Random bits, with small numbers, extremes, and for floats special values mixed in.
template <class T>
std::vector<T> random_values(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<T> values(n);
  for (T& v : values) {
    const uint64_t bits = random();
    if constexpr (std::is_floating_point_v<T>) {
      const T special[] = {T(0),
                           -T(0),
                           T(1),
                           T(-1),
                           std::numeric_limits<T>::infinity(),
                           -std::numeric_limits<T>::infinity(),
                           std::numeric_limits<T>::quiet_NaN(),
                           std::numeric_limits<T>::max(),
                           std::numeric_limits<T>::denorm_min()};
      const double scale = std::ldexp(1.0, static_cast<int>(bits >> 8 & 63) - 32);
      v = (bits & 15) == 0
              ? special[bits / 16 % 9]
              : static_cast<T>((static_cast<double>(bits >> 11) * 0x1p-52 - 1) * scale);
    } else {
      std::memcpy(&v, &bits, sizeof v);
      const uint64_t kind = random() % 8;
      if (kind < 2) v = static_cast<T>(bits % 40);
      if (kind == 2) v = static_cast<T>(-static_cast<int64_t>(bits % 40));
      if (kind == 3) v = bits & 1 ? std::numeric_limits<T>::max() : std::numeric_limits<T>::min();
    }
  }
  return values;
}

// The same bits, or both NaN.
template <class T>
bool same(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (a != a || b != b) return a != a && b != b;
  return std::memcmp(&a, &b, sizeof a) == 0;
}

// Checks %d of `instructions` against `expected` over random operands.
template <class D, class A, class B, class C, class F>
void check_against(const std::string& instructions, F&& expected) {
  constexpr size_t n = 1003;
  constexpr uint64_t seed = 7;
  CAPTURE(instructions);
  CAPTURE(seed);
  const auto a = random_values<A>(n, seed);
  const auto b = random_values<B>(n, seed + 1);
  const auto c = random_values<C>(n, seed + 2);
  const auto d = evaluate<D, A, B, C>(instructions, a, b, c);
  size_t wrong = 0, first = n;
  for (size_t i = n; i-- > 0;)
    if (!same<D>(d[i], static_cast<D>(expected(a[i], b[i], c[i])))) {
      ++wrong;
      first = i;
    }
  if (wrong) {
    CAPTURE(+a[first]);
    CAPTURE(+b[first]);
    CAPTURE(+c[first]);
    CAPTURE(+d[first]);
    CAPTURE(+static_cast<D>(expected(a[first], b[first], c[first])));
    CHECK(wrong == 0);
  }
  CHECK(wrong == 0);
}

}  // namespace flyball::simulated_gpu
