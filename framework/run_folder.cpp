#include "framework/run_folder.h"

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <system_error>

#include "framework/write_file.h"

namespace flyball {
namespace fs = std::filesystem;
namespace {

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void add_event(EventFile& events, const StepRecord& record, double wall) {
  events.add(wall, record.step,
             std::array{Scalar{"train_loss", record.loss},
                        Scalar{"train_accuracy", record.correct_fraction},
                        Scalar{"learning_rate", record.learning_rate}});
}

void add_event(EventFile& events, const Evaluation& evaluation, int64_t step, double wall) {
  const std::string loss = evaluation.split + "_loss", accuracy = evaluation.split + "_accuracy";
  events.add(wall, step,
             std::array{Scalar{loss, evaluation.loss}, Scalar{accuracy, evaluation.accuracy}});
}

}  // namespace

RunFolder::RunFolder(fs::path folder, bool overwrite) : folder_(std::move(folder)) {
  std::error_code failure;
  if (fs::exists(folder_ / "config.json", failure) && !overwrite) {
    throw Error(str("--out: ", folder_.string(),
                    " already holds a run; choose another folder or pass --overwrite"));
  }
  fs::create_directories(folder_, failure);
  if (failure)
    throw Error(str("--out: cannot create folder ", folder_.string(), ": ", failure.message()));
  open_metrics(std::ios::trunc);
  // What an earlier run left says nothing about this one.
  for (const char* name : {"summary.json", "model.safetensors", "best.safetensors", "checkpoints"})
    fs::remove_all(folder_ / name, failure);
}

RunFolder::RunFolder(fs::path folder, const RunHistory& history) : folder_(std::move(folder)) {
  open_metrics(std::ios::app);
  const double wall = wall_seconds();
  for (size_t i = 0; i < history.records.size(); ++i) {
    add_event(*events_, history.records[i],
              wall - (history.step_seconds.back() - history.step_seconds[i]));
  }
  for (const auto& [evaluation, step] : history.evaluations)
    add_event(*events_, evaluation, step, wall);
  if (!history.step_seconds.empty()) clock_.resume_at(history.step_seconds.back());
}

void RunFolder::open_metrics(std::ios::openmode mode) {
  metrics_.open(metrics_file(), mode);
  if (!metrics_) throw Error(str("--out: cannot write into folder ", folder_.string()));
  events_ = std::make_unique<EventFile>(folder_ / EventFile::kName);
}

void RunFolder::discard() {
  metrics_.close();
  events_->close();
  std::error_code ignored;
  for (const char* name :
       {"config.json", "metrics.jsonl", EventFile::kName, "vocabulary.txt", "checkpoints"})
    fs::remove_all(folder_ / name, ignored);
  fs::remove(folder_, ignored);
}

void RunFolder::add_steps(const std::vector<StepRecord>& records, int64_t steps_per_epoch) {
  const double now = clock_.now(), wall = wall_seconds();
  const std::vector<double> ends = clock_.step_ends(records.size(), now);
  for (size_t i = 0; i < records.size(); ++i) {
    const StepRecord& record = records[i];
    nlohmann::ordered_json line{
        {"step", record.step},
        {"epoch", static_cast<double>(record.step + 1) / static_cast<double>(steps_per_epoch)},
        {"train_loss", record.loss},
        {"train_accuracy", record.correct_fraction},
        {"learning_rate", record.learning_rate},
        {"seconds", ends[i]}};
    if (record.skipped != 0) line["skipped"] = true;
    if (record.action == Action::kRollback) line["action"] = "rollback";
    if (record.action == Action::kSnapshot) line["action"] = "snapshot";
    metrics_ << line.dump() << '\n';
    add_event(*events_, record, wall - (ends.back() - ends[i]));
  }
  check_metrics();
}

void RunFolder::add_evaluation(const Evaluation& evaluation, int64_t step, double epoch) {
  const nlohmann::ordered_json line{
      {"step", step},
      {"epoch", epoch},
      {"seconds", clock_.last()},
      {"split", evaluation.split},
      {"eval_loss", evaluation.loss},
      {"eval_accuracy", evaluation.accuracy},
      {"eval_runtime", evaluation.seconds},
      {"eval_samples_per_second", static_cast<double>(evaluation.samples) / evaluation.seconds},
      {"eval_steps_per_second", static_cast<double>(evaluation.steps) / evaluation.seconds}};
  metrics_ << line.dump() << '\n';
  clock_.exclude(evaluation.seconds);
  add_event(*events_, evaluation, step, wall_seconds());
  check_metrics();
}

void RunFolder::check_metrics() {
  metrics_.flush();
  if (!metrics_) throw Error(str((folder_ / "metrics.jsonl").string(), ": cannot write"));
  events_->flush();
}

void RunFolder::write(const std::string& name, const std::string& text) const {
  write_whole_file(folder_ / name, text + '\n');
}

}  // namespace flyball
