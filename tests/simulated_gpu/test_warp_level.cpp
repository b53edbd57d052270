#include <bit>
#include <numeric>

#include "tests/simulated_gpu/test_support.h"

namespace flyball::simulated_gpu {
namespace {

// One warp: %d (32 bits) from %a, %b and %lane.
std::vector<uint32_t> warp_result(const std::string& body, std::vector<uint32_t> a,
                                  std::vector<uint32_t> b = std::vector<uint32_t>(32)) {
  return evaluate<uint32_t, uint32_t, uint32_t>(
      "{ .reg .b32 %lane; mov.u32 %lane, %laneid; " + body + " }", std::move(a), std::move(b));
}
std::vector<uint32_t> numbers() {
  std::vector<uint32_t> a(32);
  for (uint32_t i = 0; i < 32; ++i) a[i] = i * i * 7 + 3;
  return a;
}

TEST_CASE("warp operations: shuffles reach the lane the ISA names, with segments and bounds") {
  const auto a = numbers();
  for (const int width : {32, 16, 8}) {
    const std::string segment = std::to_string((32 - width) << 8 | 31),
                      up = std::to_string((32 - width) << 8);
    for (const uint32_t distance : {0u, 1u, 5u, 17u}) {
      const std::string n = std::to_string(distance);
      CAPTURE(width);
      CAPTURE(distance);
      const auto down = warp_result("shfl.sync.down.b32 %d|%p, %a, " + n + ", " + segment +
                                        ", -1; @!%p add.u32 %d, %d, 1000000;",
                                    a);
      const auto above = warp_result(
          "shfl.sync.up.b32 %d|%p, %a, " + n + ", " + up + ", -1; @!%p add.u32 %d, %d, 1000000;",
          a);
      const auto across =
          warp_result("shfl.sync.bfly.b32 %d, %a, " + n + ", " + segment + ", -1;", a);
      const auto named =
          warp_result("shfl.sync.idx.b32 %d, %a, " + n + ", " + segment + ", -1;", a);
      for (uint32_t l = 0; l < 32; ++l) {
        const auto w = static_cast<uint32_t>(width), base = l / w * w;
        CHECK(down[l] == (l % w + distance < w ? a[l + distance] : a[l] + 1000000));
        CHECK(above[l] == (l % w >= distance ? a[l - distance] : a[l] + 1000000));
        CHECK(across[l] == ((l ^ distance) < base + w ? a[l ^ distance] : a[l]));
        CHECK(named[l] == a[base | (distance % w)]);
      }
    }
  }
}

TEST_CASE("warp operations: vote, match, redux") {
  const auto a = numbers();
  uint32_t odd = 0;
  for (uint32_t l = 0; l < 32; ++l) odd |= (a[l] & 1) << l;
  for (const uint32_t v :
       warp_result("and.b32 %b, %a, 1; setp.eq.u32 %p, %b, 1; vote.sync.ballot.b32 %d, %p, -1;", a))
    CHECK(v == odd);
  for (const uint32_t v :
       warp_result("setp.gt.u32 %p, %a, 5000; vote.sync.any.pred %q, %p, -1; vote.sync.all.pred "
                   "%p, !%p, -1; selp.u32 %d, 1, 0, %q; @%p add.u32 %d, %d, 2;",
                   a))
    CHECK(v == 1);
  const uint32_t sum = std::accumulate(a.begin(), a.end(), 0u);
  for (const uint32_t v : warp_result("redux.sync.add.u32 %d, %a, -1;", a)) CHECK(v == sum);
  for (const uint32_t v : warp_result("redux.sync.max.s32 %d, %a, -1;", a)) CHECK(v == a[31]);
  const auto same = warp_result("rem.u32 %b, %a, 5; match.any.sync.b32 %d, %b, -1;", a);
  for (uint32_t l = 0; l < 32; ++l) {
    uint32_t expected = 0;
    for (uint32_t other = 0; other < 32; ++other)
      expected |= uint32_t{a[other] % 5 == a[l] % 5} << other;
    CHECK(same[l] == expected);
  }
  // Within a branch, a part of the warp; then all again.
  const auto part = warp_result(
      "mov.u32 %d, 0; setp.lt.u32 %p, %lane, 8; @!%p bra $over; redux.sync.add.u32 %d, %lane, 255; "
      "$over: add.u32 %b, %d, 0; redux.sync.add.u32 %d, %b, -1;",
      a);
  CHECK(part[20] == 8 * 28);
}

// Fragments by the formulas of the PTX ISA (groupID = lane >> 2, threadID_in_group = lane % 4),
// written out for each shape.
struct Shape {
  const char* name;
  const char* type;  // of a and b
  int k, per;        // elements in a register
};

double decode_element(const Shape& s, uint32_t bits) {
  if (s.per == 1) return std::bit_cast<float>(bits);
  return s.type == std::string("f16")
             ? static_cast<double>(std::bit_cast<_Float16>(static_cast<uint16_t>(bits)))
             : static_cast<double>(std::bit_cast<float>(bits << 16));
}
uint32_t encode_element(const Shape& s, int v) {  // small integers are exact in every format
  if (s.per == 1) return std::bit_cast<uint32_t>(static_cast<float>(v));
  return s.type == std::string("f16") ? std::bit_cast<uint16_t>(static_cast<_Float16>(v))
                                      : std::bit_cast<uint32_t>(static_cast<float>(v)) >> 16;
}

TEST_CASE("mma.sync: every shape multiplies the matrices its fragments describe") {
  for (const Shape& s : {Shape{"m16n8k8", "f16", 8, 2}, Shape{"m16n8k16", "f16", 16, 2},
                         Shape{"m16n8k8", "bf16", 8, 2}, Shape{"m16n8k16", "bf16", 16, 2},
                         Shape{"m16n8k4", "tf32", 4, 1}, Shape{"m16n8k8", "tf32", 8, 1}}) {
    CAPTURE(s.name);
    CAPTURE(s.type);
    const int b_count = s.k / (4 * s.per), a_count = 2 * b_count;
    std::mt19937 random(5);
    int a[16][16], b[16][8], c[16][8];
    for (auto& row : a)
      for (int& v : row) v = static_cast<int>(random() % 17) - 8;
    for (auto& row : b)
      for (int& v : row) v = static_cast<int>(random() % 17) - 8;
    for (auto& row : c)
      for (int& v : row) v = static_cast<int>(random() % 17) - 8;
    std::vector<uint32_t> fragments(32 * 16);
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane >> 2, place = lane % 4;
      uint32_t* f = &fragments[static_cast<size_t>(lane) * 16];
      for (int i = 0; i < a_count * s.per; ++i) {  // a_i of the ISA
        int row, column;
        if (s.per == 1) {
          row = i % 2 == 0 ? group : group + 8;
          column = i < 2 ? place : place + 4;
        } else {
          row = (i / 2) % 2 == 0 ? group : group + 8;
          column = place * 2 + (i & 1) + (i >= 4 ? 8 : 0);
        }
        f[i / s.per] |= encode_element(s, a[row][column]) << (16 * (i % s.per));
      }
      for (int i = 0; i < b_count * s.per; ++i) {
        const int row = s.per == 1 ? place + 4 * i : place * 2 + (i & 1) + (i >= 2 ? 8 : 0);
        f[4 + i / s.per] |= encode_element(s, b[row][group]) << (16 * (i % s.per));
      }
      for (int i = 0; i < 4; ++i)
        f[8 + i] = std::bit_cast<uint32_t>(
            static_cast<float>(c[i < 2 ? group : group + 8][place * 2 + (i & 1)]));
    }
    std::string ptx = kPtxHeader;
    ptx +=
        ".visible .entry k(.param .u64 p) {\n.reg .b32 %f<16>; .reg .b64 %a; .reg .b32 "
        "%t;\nld.param.u64 %a, [p]; mov.u32 %t, %tid.x; mad.wide.u32 %a, %t, 64, %a;\n";
    for (int i = 0; i < 16; i += 4)
      ptx += "ld.global.v4.b32 {%f" + std::to_string(i) + ",%f" + std::to_string(i + 1) + ",%f" +
             std::to_string(i + 2) + ",%f" + std::to_string(i + 3) + "}, [%a+" +
             std::to_string(4 * i) + "];\n";
    const auto list = [](int first, int n) {
      std::string text = "{";
      for (int i = 0; i < n; ++i) text += (i ? ", %f" : "%f") + std::to_string(first + i);
      return text + "}";
    };
    ptx += std::string("mma.sync.aligned.") + s.name + ".row.col.f32." + s.type + "." + s.type +
           ".f32 " + list(8, 4) + ", " + list(0, a_count) + ", " + list(4, b_count) + ", " +
           list(8, 4) + ";\n";
    ptx += "st.global.v4.b32 [%a+32], " + list(8, 4) + "; ret; }\n";
    TestDevice device;
    const auto module = Module::load(ptx, *device.memory);
    uint32_t* data = device.array(fragments);
    device.run(*module, "k", {1}, {32}, {}, data);
    int wrong = 0;
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i) {
        const int row = (lane >> 2) + (i < 2 ? 0 : 8), column = lane % 4 * 2 + (i & 1);
        int expected = c[row][column];
        for (int k = 0; k < s.k; ++k) expected += a[row][k] * b[k][column];
        wrong += std::bit_cast<float>(data[lane * 16 + 8 + i]) != static_cast<float>(expected);
      }
    CHECK(wrong == 0);
    CHECK(decode_element(s, encode_element(s, -3)) == -3);
  }
}

TEST_CASE(
    "ldmatrix: lane l holds row l / 4, columns 2 (l % 4) and the next; .trans the transposed; "
    "stmatrix is its inverse") {
  for (const bool transposed : {false, true}) {
    const std::string trans = transposed ? ".trans" : "";
    std::string ptx = kPtxHeader;
    ptx +=
        ".visible .entry k(.param .u64 px, .param .u64 py, .param .u64 pz) {\n.shared .align 16 "
        ".b8 tile[512]; .shared .align 16 .b8 back[512];\n"
        ".reg .b32 %f<16>; .reg .b64 %a; .reg .b32 %t, %s, %r;\nld.param.u64 %a, [px]; mov.u32 %t, "
        "%tid.x; mad.wide.u32 %a, %t, 16, %a;\n"
        "ld.global.v4.b32 {%f0, %f1, %f2, %f3}, [%a]; mov.u32 %s, tile; mad.lo.u32 %s, %t, 16, %s; "
        "st.shared.v4.b32 [%s], {%f0, %f1, %f2, %f3}; bar.sync 0;\n"
        "ldmatrix.sync.aligned.m8n8.x4" +
        trans +
        ".shared.b16 {%f4, %f5, %f6, %f7}, [%s];\n"
        "ld.param.u64 %a, [py]; mad.wide.u32 %a, %t, 16, %a; st.global.v4.b32 [%a], {%f4, %f5, "
        "%f6, %f7};\n"
        "mov.u32 %r, back; mad.lo.u32 %r, %t, 16, %r; stmatrix.sync.aligned.m8n8.x4" +
        trans +
        ".shared.b16 [%r], {%f4, %f5, %f6, %f7}; bar.sync 0;\n"
        "ld.shared.v4.b32 {%f8, %f9, %f10, %f11}, [%r]; ld.param.u64 %a, [pz]; mad.wide.u32 %a, "
        "%t, 16, %a; st.global.v4.b32 [%a], {%f8, %f9, %f10, %f11}; ret; }\n";
    TestDevice device;
    const auto module = Module::load(ptx, *device.memory);
    std::vector<uint16_t> x(256);
    std::iota(x.begin(), x.end(), uint16_t{0});
    uint16_t *y = device.array<uint16_t>(256), *z = device.array<uint16_t>(256);
    device.run(*module, "k", {1}, {32}, {}, device.array(x), y, z);
    int wrong = 0;
    for (int lane = 0; lane < 32; ++lane)
      for (int matrix = 0; matrix < 4; ++matrix)
        for (int e = 0; e < 2; ++e) {
          const int row = lane / 4, column = lane % 4 * 2 + e;
          wrong += y[lane * 8 + matrix * 2 + e] !=
                   matrix * 64 + (transposed ? column * 8 + row : row * 8 + column);
        }
    CHECK(wrong == 0);
    CHECK(std::equal(x.begin(), x.end(), z));
  }
}

}  // namespace
}  // namespace flyball::simulated_gpu
