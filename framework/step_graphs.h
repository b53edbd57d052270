#pragma once

#include <functional>
#include <list>
#include <memory>

#include "framework/batch_order.h"
#include "framework/graph.h"
#include "framework/optimizer.h"

namespace flyball {

// The captured training steps of one trainer, a graph for each batch memory and shape. The first
// step of a shape is enqueued as it is, which loads kernels and fills caches; the second is
// captured; all from then on are replays. At most kLimit graphs are kept, the least recently used
// goes first. They share one pool of memory: on one stream only one of them runs at a time.
class StepGraphs {
 public:
  static constexpr size_t kLimit = 32;

  explicit StepGraphs(const Stream& stream) : stream_(stream), pool_(stream) {}

  // Runs the step on `batch` in one of the three ways; `enqueue` gives the tensors of its result.
  StepResult run(const Batch& batch, const std::function<StepResult()>& enqueue);

  size_t size() const { return steps_.size(); }
  int64_t captures() const { return captures_; }
  int64_t replays() const { return replays_; }

 private:
  struct Step {
    const void* memory;  // of the batch
    Shape shape;
    StepResult result;
    std::unique_ptr<Graph> graph;  // null: only warmed up so far
  };

  const Stream& stream_;
  MemoryPool pool_;        // outlives the graphs and their results
  std::list<Step> steps_;  // the most recently used first
  int64_t captures_ = 0, replays_ = 0;
};

}  // namespace flyball
