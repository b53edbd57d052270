#include "models/stop_signals.h"

#include <csignal>

namespace flyball {
namespace {

volatile std::sig_atomic_t stop_received = 0;

void on_stop_signal(int signal) {
  stop_received = 1;
  std::signal(signal, SIG_DFL);
}

}  // namespace

StopSignals::StopSignals() {
  stop_received = 0;
  std::signal(SIGINT, on_stop_signal);
  std::signal(SIGTERM, on_stop_signal);
}

StopSignals::~StopSignals() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

bool StopSignals::received() { return stop_received != 0; }

}  // namespace flyball
