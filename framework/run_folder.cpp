#include "framework/run_folder.h"

#include <nlohmann/json.hpp>
#include <system_error>

#include "framework/durable.h"

namespace flyball {
namespace fs = std::filesystem;

RunFolder::RunFolder(fs::path folder, bool overwrite) : folder_(std::move(folder)) {
  std::error_code failure;
  if (fs::exists(folder_ / "config.json", failure) && !overwrite) {
    throw Error(str("--out: ", folder_.string(),
                    " already holds a run; choose another folder or pass --overwrite"));
  }
  fs::create_directories(folder_, failure);
  if (failure)
    throw Error(str("--out: cannot create folder ", folder_.string(), ": ", failure.message()));
  metrics_.open(folder_ / "metrics.jsonl", std::ios::trunc);
  if (!metrics_) throw Error(str("--out: cannot write into folder ", folder_.string()));
  // What an earlier run left says nothing about this one.
  for (const char* name : {"summary.json", "model.safetensors", "best.safetensors", "checkpoints"})
    fs::remove_all(folder_ / name, failure);
}

fs::path RunFolder::checkpoint_file(int64_t step) const {
  const fs::path folder = folder_ / "checkpoints";
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw Error(str(folder.string(), ": cannot create: ", failure.message()));
  return folder / str("step-", step, ".safetensors");
}

void RunFolder::discard() {
  metrics_.close();
  std::error_code ignored;
  for (const char* name : {"config.json", "metrics.jsonl", "vocabulary.txt"})
    fs::remove(folder_ / name, ignored);
  fs::remove(folder_, ignored);
}

void RunFolder::add_steps(const std::vector<StepRecord>& records, int64_t steps_per_epoch) {
  for (const StepRecord& record : records) {
    nlohmann::ordered_json line{
        {"step", record.step},
        {"epoch", static_cast<double>(record.step + 1) / static_cast<double>(steps_per_epoch)},
        {"train_loss", record.loss},
        {"train_accuracy", record.correct_fraction},
        {"learning_rate", record.learning_rate}};
    if (record.skipped != 0) line["skipped"] = true;
    if (record.action == Action::kRollback) line["action"] = "rollback";
    if (record.action == Action::kSnapshot) line["action"] = "snapshot";
    metrics_ << line.dump() << '\n';
  }
  check_metrics();
}

void RunFolder::add_evaluation(const Evaluation& evaluation, int64_t step, double epoch) {
  const nlohmann::ordered_json line{
      {"step", step},
      {"epoch", epoch},
      {"split", evaluation.split},
      {"eval_loss", evaluation.loss},
      {"eval_accuracy", evaluation.accuracy},
      {"eval_runtime", evaluation.seconds},
      {"eval_samples_per_second", static_cast<double>(evaluation.samples) / evaluation.seconds},
      {"eval_steps_per_second", static_cast<double>(evaluation.steps) / evaluation.seconds}};
  metrics_ << line.dump() << '\n';
  check_metrics();
}

void RunFolder::check_metrics() {
  metrics_.flush();
  if (!metrics_) throw Error(str((folder_ / "metrics.jsonl").string(), ": cannot write"));
}

void RunFolder::write(const std::string& name, const std::string& text) const {
  const fs::path temporary = folder_ / (name + ".part");
  std::ofstream out(temporary, std::ios::trunc);
  out << text << '\n';
  out.close();
  if (out) return replace_file(temporary, folder_ / name);
  std::error_code ignored;
  fs::remove(temporary, ignored);
  throw Error(str((folder_ / name).string(), ": cannot write"));
}

}  // namespace flyball
