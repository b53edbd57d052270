#pragma once

#include <memory>

#include "framework/batch_source.h"

namespace flyball {

// Batches of a set's chosen samples, epoch after epoch without end; which kind of samples, its
// subclasses say. A batch's memory is reused: on the CPU it is valid until the second next() after
// it, whatever seek() does between; on other devices until the next one, in the stream's order.
class DataLoader {
 public:
  virtual ~DataLoader() = default;

  virtual int64_t samples() const = 0;  // an epoch
  virtual int64_t batches_per_epoch() const = 0;

  Batch next();  // prepare() and load(); rethrows what the background thread met
  // The halves of next(), for steps that are captured into a graph: the host's, each time, and the
  // device's, which a replay repeats and which loads the batch that is its turn.
  Batch prepare() { return source().prepare(); }
  void load(const Batch& batch) { source().load(batch); }

  void seek(int64_t epoch, int64_t index);  // the batch that next() returns next: exact resume
  // Batches that waited for their memory because the device was that far behind.
  int64_t full_waits() const;

 protected:
  virtual BatchSource& source() const = 0;
  // Throws Error where no epoch has such a batch.
  virtual void check(const BatchPosition& position) const = 0;
};

// The source of batches that are made on the host: there, or through a ring to the stream's device.
std::unique_ptr<BatchSource> make_host_source(const Stream& stream,
                                              std::unique_ptr<const BatchMaker> maker,
                                              int prefetch);

}  // namespace flyball
