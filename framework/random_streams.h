#pragma once

#include <cstdint>

namespace flyball::random_streams {

// Users of one seed, kept apart: the last word of Philox's counter. Dropout layers count up from 0.
inline constexpr uint32_t kInit = 0xF0000000;
inline constexpr uint32_t kShuffle = 0xF0000001;
inline constexpr uint32_t kSplit = 0xF0000002;
inline constexpr uint32_t kBatchShuffle = 0xF0000003;
inline constexpr uint32_t kBuckets = 0xF1000000;  // and up, one a bucket

}  // namespace flyball::random_streams
