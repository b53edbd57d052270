#include "models/recorder.h"

#include <algorithm>
#include <cmath>

namespace flyball {

void Recorder::on_steps(const std::vector<StepRecord>& records, int64_t steps_per_epoch) {
  folder_.add_steps(records, steps_per_epoch);
  progress_.on_steps(records);
  for (const StepRecord& record : records) {
    ++steps;
    skipped += record.skipped;
    rollbacks += record.action == Action::kRollback ? 1 : 0;
    rate = record.learning_rate;
    highest_rate = std::max(highest_rate, record.learning_rate);
    if (record.step % steps_per_epoch == 0) epoch_loss = epoch_steps = 0;
    if (!std::isfinite(record.loss)) continue;
    epoch_loss += record.loss;
    epoch_steps += 1;
  }
}

void Recorder::on_evaluation(const Evaluation& evaluation, int64_t step, double epoch) {
  folder_.add_evaluation(evaluation, step, epoch);
  progress_.on_evaluation(evaluation);
  validation = evaluation;
  const bool better = best_step == 0 || evaluation.accuracy > best.accuracy ||
                      (evaluation.accuracy == best.accuracy && evaluation.loss < best.loss);
  if (!better) return;
  best = evaluation;
  best_step = step;
  save_(folder_.best_file());
}

void Recorder::on_save(int64_t step) { save_(folder_.checkpoint_file(step)); }

}  // namespace flyball
