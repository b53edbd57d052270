#include "tests/simulated_gpu/test_support.h"

namespace flyball::simulated_gpu {
namespace {

TEST_CASE("loads and stores: widths, signs, vectors, offsets") {
  check_against<int32_t, int64_t, int, int>(
      "{ .local .align 8 .b8 box[8]; st.local.b64 [box], %a; ld.local.s8 %d, [box+1]; }",
      [](int64_t a, int, int) { return int32_t{static_cast<int8_t>(a >> 8)}; });
  check_against<uint32_t, int64_t, int, int>(
      "{ .local .align 8 .b8 box[8]; st.local.b64 [box], %a; ld.local.u16 %d, [box+6]; }",
      [](int64_t a, int, int) { return static_cast<uint32_t>(static_cast<uint64_t>(a) >> 48); });
  check_against<uint64_t, uint32_t, uint32_t, int>(
      "{ .local .align 16 .b8 box[16]; st.local.v2.b32 [box+8], {%a, %b}; ld.local.b64 %d, "
      "[box+8]; }",
      [](uint32_t a, uint32_t b, int) { return a | uint64_t{b} << 32; });
  check_against<uint32_t, uint32_t, uint32_t, uint32_t>(
      "{ .local .align 16 .b8 box[16]; .reg .b32 %x<4>; .reg .b64 %g; st.local.v4.b32 [box], {%a, "
      "%b, %c, %a}; mov.u64 %g, box; cvta.local.u64 %g, %g; ld.v4.u32 {%x0, _, %x2, %x3}, [%g]; "
      "sub.u32 %d, %x3, %x2; add.u32 %d, %d, %x0; }",
      [](uint32_t a, uint32_t, uint32_t c) { return a - c + a; });
  // Under a predicate, the other lanes keep what they had.
  check_against<uint32_t, uint32_t, uint32_t, int>(
      "{ .shared .align 4 .b8 part[512]; .reg .b32 %s; mov.u32 %s, part; mad.lo.u32 %s, %t, 4, %s; "
      "st.shared.u32 [%s], %b; mov.u32 %d, 5; and.b32 %a, %a, 1; setp.eq.u32 %p, %a, 1; @%p "
      "ld.shared.u32 %d, [%s]; }",
      [](uint32_t a, uint32_t b, int) { return a & 1 ? b : 5; });
}

TEST_CASE("atomics: every operation, and what it returns") {
  const auto one = [](const char* op, auto old, auto b, auto expected) {
    using T = decltype(old);
    CAPTURE(op);
    std::string ptx = kPtxHeader;
    const std::string width = ".b" + std::to_string(8 * sizeof(T));
    ptx += ".visible .entry k(.param .u64 p) {\n.reg " + width +
           " %a, %b, %c; .reg .b64 %p;\nld.param.u64 %p, [p]; ld.global" + width + " %b, [%p+" +
           std::to_string(sizeof(T)) + "]; mov" + width + " %c, 77;\n";
    ptx += std::string(op) + "; st.global" + width + " [%p+" + std::to_string(2 * sizeof(T)) +
           "], %a; ret; }\n";
    TestDevice device;
    const auto module = Module::load(ptx, *device.memory);
    T* data = device.array(std::vector<T>{old, b, T()});
    device.run(*module, "k", {1}, {1}, {}, data);
    CHECK(data[0] == static_cast<T>(expected));
    CHECK(data[2] == old);
  };
  one("atom.global.add.u32 %a, [%p], %b", 5u, 7u, 12u);
  one("atom.global.add.f32 %a, [%p], %b", 1.5f, 2.0f, 3.5f);
  one("atom.global.add.f64 %a, [%p], %b", 1.5, 2.0, 3.5);
  one("atom.global.min.s32 %a, [%p], %b", 5, -7, -7);
  one("atom.global.max.u32 %a, [%p], %b", 5u, ~0u, ~0u);
  one("atom.global.exch.b64 %a, [%p], %b", uint64_t{5}, uint64_t{9}, 9);
  one("atom.global.cas.b32 %a, [%p], %b, %c", 5u, 5u, 77u);
  one("atom.global.cas.b32 %a, [%p], %b, %c", 5u, 6u, 5u);
  one("atom.global.inc.u32 %a, [%p], %b", 5u, 5u, 0u);
  one("atom.global.dec.u32 %a, [%p], %b", 0u, 9u, 9u);
  one("atom.global.xor.b32 %a, [%p], %b", 5u, 1u, 4u);
  one("atom.add.release.gpu.u64 %a, [%p], %b", uint64_t{1} << 40, uint64_t{2},
      (uint64_t{1} << 40) + 2);
}

TEST_CASE("barriers: reductions, and named barriers between a producer and a consumer") {
  std::string ptx = kPtxHeader;
  ptx += R"(.visible .entry k(.param .u64 p) {
.shared .align 4 .b8 box[4]; .reg .b32 %t, %c, %v; .reg .pred %o, %all, %w; .reg .b64 %p;
ld.param.u64 %p, [p]; mov.u32 %t, %tid.x; mad.wide.u32 %p, %t, 4, %p;
setp.lt.u32 %o, %t, 40; barrier.red.popc.sync.u32 %c, 0, %o; bar.red.and.pred %all, 0, %o; @%all add.u32 %c, %c, 1000;
bar.red.or.pred %all, 0, %o; @%all add.u32 %c, %c, 100;
setp.ge.u32 %w, %t, 32; @%w bra consumer;
st.shared.u32 [box], 7; bar.arrive 1, 64; bra over;
consumer: bar.sync 1, 64; ld.shared.u32 %v, [box]; add.u32 %c, %c, %v;
over: st.global.u32 [%p], %c; ret; })";
  for (const WarpOrder order :
       {WarpOrder::kForward, WarpOrder::kReverse, WarpOrder::kRandom, WarpOrder::kOneAhead}) {
    TestDevice device;
    const auto module = Module::load(ptx, *device.memory);
    uint32_t* y = device.array(std::vector<uint32_t>(64));
    Options options{.warp_order = order};
    options.race_check = false;
    device.run(*module, "k", {1}, {64}, options, y);
    CHECK(y[0] == 140);
    CHECK(y[63] == 147);
  }
}

TEST_CASE("what is not covered stops with the line and the kernel's name") {
  TestDevice device;
  std::string ptx = kPtxHeader;
  ptx +=
      ".visible .entry odd_one() {\n.reg .b32 %r;\nmov.u32 %r, 1;\nwgmma.fence.sync.aligned;\nret; "
      "}\n";
  const auto module = Module::load(ptx, *device.memory);
  const std::string message = device.fault(*module, "odd_one", {1}, {32}, {});
  CHECK(contains(message, "odd_one"));
  CHECK(contains(message, "PTX line 7"));
  CHECK(contains(message, "wgmma.fence.sync.aligned"));
  CHECK_THROWS_AS(Module::load(std::string(kPtxHeader) + ".visible .entry k() { add.s32 %r1, 1, }",
                               *device.memory),
                  Fault);
  CHECK(module->find_kernel("no_such_kernel") == nullptr);
}

}  // namespace
}  // namespace flyball::simulated_gpu
