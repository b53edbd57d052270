#include <algorithm>
#include <queue>

#include "tests/simulated_gpu/decoder.h"

namespace flyball::simulated_gpu {
namespace {

struct BasicBlock {
  int begin = 0, end = 0;
  std::vector<int> successors;  // blocks; the exit is not listed
  bool exits = false;
};

bool ends_block(const Draft& d) {
  switch (d.in.control) {
    case Control::branch:
    case Control::branch_table:
    case Control::ret:
    case Control::exit:
      return true;
    default:
      return false;
  }
}

std::vector<BasicBlock> basic_blocks(const std::vector<Draft>& drafts, int first, int end) {
  std::vector<char> leads(static_cast<size_t>(end - first + 1), 0);
  leads[0] = 1;
  for (int i = first; i < end; ++i) {
    const Draft& d = drafts[static_cast<size_t>(i)];
    for (const int target : d.targets) leads[static_cast<size_t>(target - first)] = 1;
    if (ends_block(d)) leads[static_cast<size_t>(i + 1 - first)] = 1;
  }
  std::vector<BasicBlock> blocks;
  std::vector<int> block_of(static_cast<size_t>(end - first));
  for (int i = first; i < end; ++i) {
    if (leads[static_cast<size_t>(i - first)]) blocks.push_back({i, i, {}, false});
    blocks.back().end = i + 1;
    block_of[static_cast<size_t>(i - first)] = static_cast<int>(blocks.size()) - 1;
  }
  for (BasicBlock& block : blocks) {
    const Draft& last = drafts[static_cast<size_t>(block.end - 1)];
    const bool leaves = last.in.control == Control::ret || last.in.control == Control::exit;
    for (const int target : last.targets)
      block.successors.push_back(block_of[static_cast<size_t>(target - first)]);
    if (leaves) block.exits = true;
    if ((!ends_block(last) || last.in.guard != kAlways) && block.end < end)
      block.successors.push_back(block_of[static_cast<size_t>(block.end - first)]);
  }
  return blocks;
}

// Immediate post-dominators (Cooper, Harvey, Kennedy 2001); index n is the exit, -1 where the exit
// is not reached.
std::vector<int> post_dominators(const std::vector<BasicBlock>& blocks) {
  const int n = static_cast<int>(blocks.size());
  std::vector<std::vector<int>> predecessors(static_cast<size_t>(n) + 1);
  for (int b = 0; b < n; ++b) {
    for (const int s : blocks[static_cast<size_t>(b)].successors)
      predecessors[static_cast<size_t>(s)].push_back(b);
    if (blocks[static_cast<size_t>(b)].exits) predecessors[static_cast<size_t>(n)].push_back(b);
  }
  // Post-order of the reversed graph, from the exit.
  std::vector<int> order, number(static_cast<size_t>(n) + 1, -1);
  std::vector<std::pair<int, size_t>> stack{{n, 0}};
  std::vector<char> seen(static_cast<size_t>(n) + 1, 0);
  seen[static_cast<size_t>(n)] = 1;
  while (!stack.empty()) {
    const int b = stack.back().first;
    const auto& next = predecessors[static_cast<size_t>(b)];
    if (stack.back().second < next.size()) {
      const int p = next[stack.back().second++];
      if (seen[static_cast<size_t>(p)]) continue;
      seen[static_cast<size_t>(p)] = 1;
      stack.push_back({p, 0});
    } else {
      number[static_cast<size_t>(b)] = static_cast<int>(order.size());
      order.push_back(b);
      stack.pop_back();
    }
  }
  std::vector<int> parent(static_cast<size_t>(n) + 1, -1);
  parent[static_cast<size_t>(n)] = n;
  const auto meet = [&](int a, int b) {
    while (a != b) {
      while (number[static_cast<size_t>(a)] < number[static_cast<size_t>(b)])
        a = parent[static_cast<size_t>(a)];
      while (number[static_cast<size_t>(b)] < number[static_cast<size_t>(a)])
        b = parent[static_cast<size_t>(b)];
    }
    return a;
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (auto at = order.rbegin(); at != order.rend(); ++at) {
      const int b = *at;
      if (b == n) continue;
      const BasicBlock& block = blocks[static_cast<size_t>(b)];
      int best = block.exits ? n : -1;
      for (const int s : block.successors)
        if (parent[static_cast<size_t>(s)] >= 0) best = best < 0 ? s : meet(best, s);
      if (best != parent[static_cast<size_t>(b)]) {
        parent[static_cast<size_t>(b)] = best;
        changed = true;
      }
    }
  }
  return parent;
}

using Bits = std::vector<uint64_t>;

}  // namespace

void find_reconvergence(std::vector<Draft>& drafts, int first, int end) {
  const auto blocks = basic_blocks(drafts, first, end);
  const auto parent = post_dominators(blocks);
  for (size_t b = 0; b < blocks.size(); ++b) {
    Draft& last = drafts[static_cast<size_t>(blocks[b].end - 1)];
    if (last.in.control != Control::branch && last.in.control != Control::branch_table) continue;
    const int join = parent[b];
    last.in.reconverge = join < 0 || join == static_cast<int>(blocks.size())
                             ? kNone
                             : static_cast<uint32_t>(blocks[static_cast<size_t>(join)].begin);
  }
}

uint32_t assign_rows(const std::vector<Draft>& drafts, int first, int end, std::vector<Row>& rows,
                     int first_row, int end_row, uint32_t offset) {
  const auto blocks = basic_blocks(drafts, first, end);
  const size_t count = static_cast<size_t>(end_row - first_row), words = (count + 63) / 64;
  const auto is_register = [&](const Draft::Use& u) {
    return u.row >= first_row && u.row < end_row;
  };
  // Live registers at the start of each block.
  std::vector<Bits> in(blocks.size(), Bits(words)), out = in, uses = in, defines = in;
  const auto set = [&](Bits& bits, int row) {
    bits[static_cast<size_t>(row - first_row) / 64] |= uint64_t{1} << (row - first_row) % 64;
  };
  const auto get = [&](const Bits& bits, int row) {
    return bits[static_cast<size_t>(row - first_row) / 64] >> (row - first_row) % 64 & 1;
  };
  for (size_t b = 0; b < blocks.size(); ++b)
    for (int i = blocks[b].begin; i < blocks[b].end; ++i) {
      const Draft& d = drafts[static_cast<size_t>(i)];
      for (const auto& u : d.uses)
        if (is_register(u) && !u.defines && !get(defines[b], u.row)) set(uses[b], u.row);
      for (const auto& u :
           d.uses)  // a guarded definition leaves the old value where the guard is false
        if (is_register(u) && u.defines) {
          if (d.in.guard == kAlways)
            set(defines[b], u.row);
          else if (!get(defines[b], u.row))
            set(uses[b], u.row);
        }
    }
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t b = blocks.size(); b-- > 0;)
      for (size_t w = 0; w < words; ++w) {
        uint64_t live = 0;
        for (const int s : blocks[b].successors) live |= in[static_cast<size_t>(s)][w];
        out[b][w] = live;
        live = uses[b][w] | (live & ~defines[b][w]);
        if (live != in[b][w]) {
          in[b][w] = live;
          changed = true;
        }
      }
  }
  // One interval a register, in half steps: sources are read at 2i, destinations written at 2i + 1.
  struct Interval {
    int begin = 1 << 30, end = -1, row = 0;
    void include(int at) {
      begin = std::min(begin, at);
      end = std::max(end, at);
    }
  };
  std::vector<Interval> intervals(count);
  for (size_t b = 0; b < blocks.size(); ++b) {
    for (size_t r = 0; r < count; ++r) {
      const int row = first_row + static_cast<int>(r);
      if (get(in[b], row)) intervals[r].include(2 * blocks[b].begin);
      if (get(out[b], row)) intervals[r].include(2 * blocks[b].end);
    }
    for (int i = blocks[b].begin; i < blocks[b].end; ++i) {
      const Draft& d = drafts[static_cast<size_t>(i)];
      for (const auto& u : d.uses)
        if (is_register(u))
          intervals[static_cast<size_t>(u.row - first_row)].include(2 * i +
                                                                    (u.defines || d.separate));
    }
  }
  for (size_t r = 0; r < count; ++r) intervals[r].row = first_row + static_cast<int>(r);
  std::sort(intervals.begin(), intervals.end(),
            [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
  using Ending = std::pair<int, uint32_t>;  // end of an interval, its offset
  std::priority_queue<Ending, std::vector<Ending>, std::greater<>> active[9];
  std::vector<uint32_t> free_rows[9];
  for (const Interval& interval : intervals) {
    if (interval.end < 0) continue;
    Row& row = rows[static_cast<size_t>(interval.row)];
    auto& running = active[row.width];
    auto& spare = free_rows[row.width];
    while (!running.empty() && running.top().first < interval.begin) {
      spare.push_back(running.top().second);
      running.pop();
    }
    if (spare.empty()) {
      row.offset = offset;
      offset += 32u * row.width;
    } else {
      row.offset = spare.back();
      spare.pop_back();
    }
    running.push({interval.end, row.offset});
  }
  return offset;
}

}  // namespace flyball::simulated_gpu
