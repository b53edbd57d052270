#include "models/recorder.h"

#include <algorithm>
#include <cmath>

namespace flyball {

void Recorder::on_steps(const std::vector<StepRecord>& records, int64_t steps_per_epoch) {
  folder_.add_steps(records, steps_per_epoch);
  progress_.on_steps(records);
  remember(records, steps_per_epoch);
}

void Recorder::on_evaluation(const Evaluation& evaluation, int64_t step, double epoch) {
  folder_.add_evaluation(evaluation, step, epoch);
  progress_.on_evaluation(evaluation);
  if (remember(evaluation, step)) save_weights_(folder_.best_file());
}

void Recorder::recall(const RunHistory& history, int64_t steps_per_epoch) {
  remember(history.records, steps_per_epoch);
  for (const auto& [evaluation, step] : history.evaluations) remember(evaluation, step);
  progress_.resume_at(steps);
}

void Recorder::remember(const std::vector<StepRecord>& records, int64_t steps_per_epoch) {
  for (const StepRecord& record : records) {
    ++steps;
    skipped += record.skipped;
    rollbacks += record.action == Action::kRollback ? 1 : 0;
    highest_rate = std::max(highest_rate, record.learning_rate);
    if (record.step % steps_per_epoch == 0) epoch_loss = epoch_steps = 0;
    if (!std::isfinite(record.loss)) continue;
    epoch_loss += record.loss;
    epoch_steps += 1;
  }
}

bool Recorder::remember(const Evaluation& evaluation, int64_t step) {
  validation = evaluation;
  const bool better = best_step == 0 || evaluation.accuracy > best.accuracy ||
                      (evaluation.accuracy == best.accuracy && evaluation.loss < best.loss);
  if (!better) return false;
  best = evaluation;
  best_step = step;
  return true;
}

}  // namespace flyball
