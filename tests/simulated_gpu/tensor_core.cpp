#include "tests/simulated_gpu/float_formats.h"
#include "tests/simulated_gpu/memory_access.h"

// ldmatrix, stmatrix and mma.sync m16n8k{4,8,16}. Lane l: group g = l / 4, place q = l % 4 in the
// group.
namespace flyball::simulated_gpu {
namespace {

void need_whole_warp(Warp& w, const Instruction& in, uint32_t mask) {
  if (mask == ~0u) return;
  char text[100];
  std::snprintf(text, sizeof text, "lanes are missing at a matrix operation: only %08x are here",
                mask);
  w.fault(in, std::countr_zero(mask), text);
}

// 8x8 matrices of 16 bits. Lane 8 i + r gives the address of row r of matrix i; lane l holds
// elements (g, 2q) and (g, 2q + 1), or with .trans (2q, g) and (2q + 1, g). flags: bit 7 .trans,
// low bits the number of matrices.
template <bool loads>
void matrices(Warp& w, const Instruction& in, uint32_t mask) {
  need_whole_warp(w, in, mask);
  const int n = in.flags & 7;
  const bool transposed = in.flags & 0x80;
  Instruction address = in;
  address.flags = static_cast<uint8_t>(in.width);
  alignas(64) uint64_t at[32];
  const uint32_t used = n == 4 ? ~0u : (1u << 8 * n) - 1;  // lanes whose address counts
  resolve(w, address, used, 16, at);
  observe(w, in, used, 16, loads ? Access::read : Access::write, at);
  const uint32_t* rows = &w.block->launch.program.extras[in.extra];
  for (int i = 0; i < n; ++i) {
    uint32_t* fragment = w.row<uint32_t>(rows[i]);
    for (int l = 0; l < 32; ++l)
      for (int e = 0; e < 2; ++e) {
        const int row = transposed ? l % 4 * 2 + e : l / 4,
                  column = transposed ? l / 4 : l % 4 * 2 + e;
        auto* element = reinterpret_cast<uint8_t*>(at[8 * i + row]) + 2 * column;
        uint16_t v;
        if (loads) {
          std::memcpy(&v, element, 2);
          fragment[l] = e ? (fragment[l] & 0xFFFF) | uint32_t{v} << 16 : v;
        } else {
          v = static_cast<uint16_t>(fragment[l] >> 16 * e);
          std::memcpy(element, &v, 2);
        }
      }
  }
}

typedef float EightFloats __attribute__((vector_size(32), may_alias));  // a row of b or of the sums

float tf32(uint32_t bits) {
  return std::bit_cast<float>(bits & ~0x1FFFu);
}  // the unit reads 19 bits

// d[16][8] = a[16][k] b[k][8] + c[16][8]. Registers, with p elements of 32 / p bits each (p = 2 for
// 16-bit types, 1 for tf32):
//   a_i holds (g + 8 (i % 2), p q + e + 4 p (i / 2)), b_i holds (p q + e + 4 p i, g), c and d hold
//   (g + 8 (i / 2), 2 q + i % 2)
// in fp32, or in f16 two to a register. extras: rows of d, a, b, c.
template <class Format, int k, bool half_sum>
void multiply(Warp& w, const Instruction& in, uint32_t mask) {
  need_whole_warp(w, in, mask);
  constexpr bool whole = std::is_void_v<Format>;  // tf32
  constexpr int p = whole ? 1 : 2, b_count = k / (4 * p), a_count = 2 * b_count,
                sum_count = half_sum ? 2 : 4;
  const uint32_t* rows = &w.block->launch.program.extras[in.extra];
  const auto element = [](uint32_t bits, int e) {
    if constexpr (whole)
      return tf32(bits);
    else
      return Format::load(static_cast<uint16_t>(bits >> 16 * e));
  };
  alignas(64) float a[16][k], b[k][8], sum[16][8];
  for (int i = 0; i < a_count; ++i) {
    const uint32_t* row = w.row<uint32_t>(rows[sum_count + i]);
    for (int l = 0; l < 32; ++l)
      for (int e = 0; e < p; ++e)
        a[l / 4 + 8 * (i % 2)][p * (l % 4) + e + 4 * p * (i / 2)] = element(row[l], e);
  }
  for (int i = 0; i < b_count; ++i) {
    const uint32_t* row = w.row<uint32_t>(rows[sum_count + a_count + i]);
    for (int l = 0; l < 32; ++l)
      for (int e = 0; e < p; ++e) b[p * (l % 4) + e + 4 * p * i][l / 4] = element(row[l], e);
  }
  for (int i = 0; i < 4; ++i) {
    const uint32_t* row =
        w.row<uint32_t>(rows[sum_count + a_count + b_count + (half_sum ? i / 2 : i)]);
    for (int l = 0; l < 32; ++l)
      sum[l / 4 + 8 * (i / 2)][2 * (l % 4) + i % 2] =
          half_sum ? half_to_float(static_cast<uint16_t>(row[l] >> 16 * (i % 2)))
                   : std::bit_cast<float>(row[l]);
  }
  auto* sums = reinterpret_cast<EightFloats*>(sum);
  const auto* columns = reinterpret_cast<const EightFloats*>(b);
  for (int first = 0; first < 16;
       first += 8) {  // eight rows at a time: their sums do not wait for each other
    EightFloats part[8];
    for (int i = 0; i < 8; ++i) part[i] = sums[first + i];
    for (int j = 0; j < k; ++j)
      for (int i = 0; i < 8; ++i) part[i] += a[first + i][j] * columns[j];
    for (int i = 0; i < 8; ++i) sums[first + i] = part[i];
  }
  for (int i = 0; i < sum_count; ++i) {
    uint32_t* row = w.row<uint32_t>(rows[i]);
    for (int l = 0; l < 32; ++l) {
      if constexpr (half_sum) {
        const float* pair = &sum[l / 4 + 8 * i][2 * (l % 4)];
        row[l] = float_to_half(pair[0]) | uint32_t{float_to_half(pair[1])} << 16;
      } else {
        row[l] = std::bit_cast<uint32_t>(sum[l / 4 + 8 * (i / 2)][2 * (l % 4) + i % 2]);
      }
    }
  }
}

bool decode_matrices(Decoder& d) {
  const auto parts = d.statement().parts();
  const bool loads = parts[0] == "ldmatrix";
  if (!loads && parts[0] != "stmatrix") return false;
  if (parts.size() < 6 || parts[1] != "sync" || parts[2] != "aligned" || parts.back() != "b16")
    return false;
  int n = 0;
  bool transposed = false, known_space = false;
  for (size_t i = 3; i + 1 < parts.size(); ++i) {
    if (parts[i] == "x1")
      n = 1;
    else if (parts[i] == "x2")
      n = 2;
    else if (parts[i] == "x4")
      n = 4;
    else if (parts[i] == "trans")
      transposed = true;
    else if (parts[i] == "shared" || parts[i] == "shared::cta")
      known_space = true;
    else if (parts[i] != "m8n8")
      return false;
  }
  if (!n || !known_space) return false;
  Draft& draft = d.add(loads ? matrices<true> : matrices<false>, Control::masked);
  draft.separate = true;
  draft.in.slot = 1;
  draft.in.space = Space::shared;
  const Operand& fragment = d.operand(loads ? 0 : 1);
  const std::vector<Operand> list =
      fragment.kind == Operand::Kind::vector ? fragment.list : std::vector<Operand>{fragment};
  if (list.size() != static_cast<size_t>(n)) d.fail("the vector has another number of elements");
  for (const Operand& o : list) {
    if (loads)
      d.destination(Field::extra, o, 4);
    else
      d.source(Field::extra, o, 4);
  }
  d.address(Field::a, d.operand(loads ? 1 : 0));
  d.in().width = d.in().flags;  // the width of the address
  d.in().flags = static_cast<uint8_t>(n | (transposed ? 0x80 : 0));
  return true;
}

}  // namespace

bool decode_tensor_core(Decoder& d) {
  if (decode_matrices(d)) return true;
  static const std::unordered_map<std::string_view, std::pair<Handler, int>> products = {
      {"m16n8k8.row.col.f32.f16.f16.f32", {multiply<Half, 8, false>, 8}},
      {"m16n8k16.row.col.f32.f16.f16.f32", {multiply<Half, 16, false>, 16}},
      {"m16n8k8.row.col.f16.f16.f16.f16", {multiply<Half, 8, true>, 8}},
      {"m16n8k16.row.col.f16.f16.f16.f16", {multiply<Half, 16, true>, 16}},
      {"m16n8k8.row.col.f32.bf16.bf16.f32", {multiply<Bfloat, 8, false>, 8}},
      {"m16n8k16.row.col.f32.bf16.bf16.f32", {multiply<Bfloat, 16, false>, 16}},
      {"m16n8k4.row.col.f32.tf32.tf32.f32", {multiply<void, 4, false>, 4}},
      {"m16n8k8.row.col.f32.tf32.tf32.f32", {multiply<void, 8, false>, 8}},
  };
  constexpr std::string_view prefix = "mma.sync.aligned.";
  const std::string_view op = d.statement().opcode;
  if (!op.starts_with(prefix)) return false;
  const auto found = products.find(op.substr(prefix.size()));
  if (found == products.end()) return false;
  const auto [handler, k] = found->second;
  const bool tf32 = op.find("tf32") != std::string_view::npos, half_sum = op.ends_with("f16");
  const size_t sums = half_sum ? 2 : 4, b = static_cast<size_t>(k) / (tf32 ? 4 : 8),
               sizes[] = {sums, 2 * b, b, sums};
  Draft& draft = d.add(handler, Control::masked);
  draft.separate = true;
  for (size_t i = 0; i < 4; ++i) {
    const Operand& o = d.operand(i);
    const std::vector<Operand> list =
        o.kind == Operand::Kind::vector ? o.list : std::vector<Operand>{o};
    if (list.size() != sizes[i])
      d.fail("a fragment has " + std::to_string(list.size()) + " registers, expected " +
             std::to_string(sizes[i]));
    for (const Operand& element : list) {
      if (i == 0)
        d.destination(Field::extra, element, 4);
      else
        d.source(Field::extra, element, 4);
    }
  }
  return true;
}

}  // namespace flyball::simulated_gpu
