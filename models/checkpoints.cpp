#include "models/checkpoints.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace flyball {

namespace fs = std::filesystem;

void Checkpoints::save(int64_t step, const TrainingState& state, const Stream& stream) const {
  std::error_code failure;
  fs::create_directories(folder_, failure);
  if (failure) throw Error(str(folder_.string(), ": cannot create: ", failure.message()));
  save_checkpoint(file_of(step), state, {{"step", str(step)}}, stream);
  // What a program that was killed while it saved has left.
  for (const auto& entry : fs::directory_iterator(folder_, failure)) {
    if (entry.path().extension() == ".part") fs::remove(entry.path(), failure);
  }
  if (keep_ == 0) return;
  std::vector<int64_t> all = steps();
  for (size_t i = 0; i + static_cast<size_t>(keep_) < all.size(); ++i)
    fs::remove(file_of(all[i]), failure);
}

int64_t Checkpoints::load_newest(const TrainingState& state, const Stream& stream) const {
  std::vector<int64_t> all = steps();
  std::string damage;
  for (auto step = all.rbegin(); step != all.rend(); ++step) {
    try {
      const Metadata metadata = load_checkpoint(file_of(*step), state, stream);
      const auto found = metadata.find("step");
      if (found == metadata.end() || found->second != str(*step)) {
        throw Error(str(file_of(*step).string(), ": is of step ",
                        found == metadata.end() ? "?" : found->second, ", expected ", *step));
      }
      return *step;
    } catch (const Error& error) {
      damage = error.what();
      std::fprintf(stderr, "note: %s; going back to the checkpoint before\n", error.what());
    }
  }
  throw Error(damage.empty() ? str(folder_.string(), ": holds no checkpoint to resume from")
                             : str(folder_.string(), ": holds no whole checkpoint"));
}

void Checkpoints::remove_all() const {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

std::vector<int64_t> Checkpoints::steps() const {
  std::vector<int64_t> steps;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(folder_, failure)) {
    const std::string name = entry.path().filename().string();
    int64_t step = -1;
    if (name.starts_with("step-")) {
      std::from_chars(name.data() + 5, name.data() + name.size(), step);
    }
    if (step >= 0 && file_of(step).filename() == name) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

fs::path Checkpoints::file_of(int64_t step) const {
  return folder_ / str("step-", step, ".safetensors");
}

}  // namespace flyball
