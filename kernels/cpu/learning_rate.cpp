#include "kernels/learning_rate.h"

#include "kernels/cpu/arena_chunks.h"

// Compiled with -ffp-contract=off: the rules give the same bits on every device.
namespace flyball::cpu {

template <class T>
void learning_rate(const StepFeedback<T>& f) {
  StepSignals& signals = *f.signals;
  signals.loss = static_cast<double>(*f.loss);
  signals.correct_fraction = static_cast<double>(*f.correct) / static_cast<double>(f.rows);
  if (f.partial_sums != nullptr) {
    const bool counts = course_of(f) == StepCourse::update;
    set_sums(signals, counts ? total_of(f.partial_sums, f.chunks) : GradientSums{});
  }
  finish_step(*f.state, signals, f.log, f.log_capacity);
}

template void learning_rate(const StepFeedback<float>&);
template void learning_rate(const StepFeedback<double>&);

}  // namespace flyball::cpu
