#pragma once

namespace flyball {

// From its making until its end, SIGINT and SIGTERM ask the program to finish its step; a second
// one ends it at once, as usual. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  static bool received();
};

}  // namespace flyball
