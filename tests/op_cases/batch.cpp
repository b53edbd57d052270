#include "kernels/batch.h"

#include <cstring>

#include "tests/op_cases.h"
#include "tests/reference/batch.h"

namespace flyball::testing {
namespace {

std::vector<double> numbers_of(const std::byte* record) {
  BatchCursor cursor;
  std::memcpy(&cursor, record, sizeof cursor);
  return {static_cast<double>(cursor.epoch), static_cast<double>(cursor.index)};
}

OpCase draw_case(int64_t samples, int64_t batch_size, const BatchCursor& at, bool shuffle) {
  const int64_t n = std::min(batch_size, samples - at.index * batch_size);
  OpCase op{.operation = "batch",
            .name = str("draw ", n, " of ", samples, " epoch ", at.epoch, " batch ", at.index,
                        shuffle ? " shuffled" : "")};
  op.operands = {
      {.name = "chosen", .shape = {samples}, .values = below(1 << 20), .element = Element::i64},
      record_operand<BatchCursor>("cursor", Role::in_out, {at}, numbers_of),
      {.name = "indices", .shape = {n}, .role = Role::output, .element = Element::i64},
      {.name = "epoch", .shape = {1}, .role = Role::output, .element = Element::i32}};
  set_kernel<cpu::draw_batch, cpu::draw_batch, reference::draw_batch, cuda::draw_batch,
             cuda::draw_batch>(op, [=](auto, const Operands& operands) {
    return DrawBatch{.chosen = operands.get<int64_t>("chosen"),
                     .samples = samples,
                     .batch_size = batch_size,
                     .n = n,
                     .shuffle = shuffle,
                     .seed = 5,
                     .stream = 9,
                     .cursor = operands.get<BatchCursor>("cursor"),
                     .indices = operands.get<int64_t>("indices"),
                     .epoch = operands.get<uint32_t>("epoch")};
  });
  op.bytes = 16.0 * static_cast<double>(n);
  return op;
}

OpCase slot_case(int64_t x_bytes, int64_t label_bytes, int64_t slots, int64_t taken) {
  const auto padded = [](int64_t bytes) { return (bytes + 15) / 16 * 16; };
  OpCase op{
      .operation = "batch",
      .name = str("take ", x_bytes, " and ", label_bytes, " bytes, number ", taken, " of ", slots)};
  op.operands = {
      {.name = "x_ring",
       .shape = {slots, padded(x_bytes)},
       .values = below(256),
       .element = Element::u8},
      {.name = "label_ring",
       .shape = {slots, padded(label_bytes)},
       .values = below(256),
       .element = Element::u8},
      {.name = "x", .shape = {x_bytes}, .role = Role::output, .element = Element::u8},
      {.name = "labels", .shape = {label_bytes}, .role = Role::output, .element = Element::u8},
      {.name = "taken",
       .shape = {1},
       .role = Role::in_out,
       .values = constant(static_cast<double>(taken)),
       .element = Element::i64},
      {.name = "arrivals",
       .shape = {1},
       .role = Role::in_out,
       .values = constant(0),
       .element = Element::i32}};
  set_kernel<cpu::take_slot, cpu::take_slot, reference::take_slot, cuda::take_slot,
             cuda::take_slot>(op, [=](auto, const Operands& operands) {
    return TakeSlot{.x = {operands.get<uint8_t>("x_ring"), padded(x_bytes),
                          operands.get<uint8_t>("x"), x_bytes},
                    .labels = {operands.get<uint8_t>("label_ring"), padded(label_bytes),
                               operands.get<uint8_t>("labels"), label_bytes},
                    .slots = slots,
                    .taken = operands.get<int64_t>("taken"),
                    .arrivals = operands.get<uint32_t>("arrivals")};
  });
  op.bytes = 2.0 * static_cast<double>(x_bytes + label_bytes);
  return op;
}

}  // namespace

std::vector<OpCase> batch_cases() {
  std::vector<OpCase> cases;
  for (const bool shuffle : {false, true}) {
    cases.push_back(draw_case(1, 1, {0, 0}, shuffle));
    cases.push_back(draw_case(33, 32, {2, 1}, shuffle));
    cases.push_back(draw_case(1025, 31, {1, 7}, shuffle));
    cases.push_back(draw_case(1025, 1023, {0, 0}, shuffle));
    cases.push_back(draw_case(1025, 1023, {3, 1}, shuffle));
  }
  for (const int64_t taken : {0, 3, 4, 11}) {
    cases.push_back(slot_case(4, 4, 5, taken));
    cases.push_back(slot_case(33 * 4, 31 * 4, 4, taken));
    cases.push_back(slot_case(4099, 12, 3, taken));
    cases.push_back(slot_case(65 * 4096 + 17, 1025 * 4, 3, taken));
  }
  for (const int64_t n : {64, 512}) {
    cases.push_back(draw_case(50000, n, {1, 3}, true));
    cases.back().benchmark = true;
    cases.push_back(slot_case(n * 28 * 28 * 4, n * 4, 5, 3));
    cases.back().benchmark = true;
  }
  return cases;
}

}  // namespace flyball::testing
