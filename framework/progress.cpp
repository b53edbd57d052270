#include "framework/progress.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace flyball {

Progress::Progress(int64_t epochs, int64_t steps_per_epoch, int64_t samples_per_epoch, bool quiet)
    : epochs_(epochs),
      steps_per_epoch_(steps_per_epoch),
      samples_per_epoch_(samples_per_epoch),
      quiet_(quiet),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()) {}

void Progress::resume_at(int64_t steps) {
  steps_ = earlier_steps_ = steps;
  drawn_tenths_ = 10 * steps / steps_per_epoch_;
}

void Progress::on_steps(const std::vector<StepRecord>& records) {
  constexpr double kDecay = 0.98;
  for (const StepRecord& record : records) {
    const double weight = steps_++ == earlier_steps_ ? 1 : 1 - kDecay;
    if (std::isfinite(record.loss)) {
      loss_ += weight * (record.loss - loss_);
      accuracy_ += weight * (record.correct_fraction - accuracy_);
    }
    rate_ = record.learning_rate;
  }
  draw(steps_ % steps_per_epoch_ == 0);
}

void Progress::on_evaluation(const Evaluation& evaluation) {
  evaluation_seconds_ += evaluation.seconds;
  if (quiet_) return;
  std::fprintf(stderr, "  %s: loss %.4f, accuracy %.2f%% (%s samples, %.1f s)\n",
               evaluation.split.c_str(), evaluation.loss, 100 * evaluation.accuracy,
               count_text(evaluation.samples).c_str(), evaluation.seconds);
}

void Progress::draw(bool last_of_epoch) {
  if (quiet_) return;
  const auto now = Clock::now();
  if (terminal_) {
    if (!last_of_epoch && now - drawn_ < std::chrono::milliseconds(100)) return;
    drawn_ = now;
    std::fprintf(stderr, "\r%s\033[K%s", line().c_str(), last_of_epoch ? "\n" : "");
    return;
  }
  const int64_t tenths = 10 * steps_ / steps_per_epoch_;
  if (tenths == drawn_tenths_) return;
  drawn_tenths_ = tenths;
  std::fprintf(stderr, "%s\n", line().c_str());
}

std::string Progress::line() const {
  constexpr int64_t kCells = 20;
  const double seconds =
      std::chrono::duration<double>(Clock::now() - start_).count() - evaluation_seconds_;
  const int64_t epoch = (steps_ + steps_per_epoch_ - 1) / steps_per_epoch_;
  const int64_t in_epoch = steps_ - (epoch - 1) * steps_per_epoch_;
  const int64_t filled = kCells * in_epoch / steps_per_epoch_;
  std::string bar;
  for (int64_t cell = 0; cell < kCells; ++cell) bar += cell < filled ? "━" : "─";
  const auto done = static_cast<double>(steps_ - earlier_steps_);
  const double samples =
      done / static_cast<double>(steps_per_epoch_) * static_cast<double>(samples_per_epoch_);
  const double left = seconds * static_cast<double>(epochs_ * steps_per_epoch_ - steps_) / done;
  char text[256];
  std::snprintf(
      text, sizeof text,
      "epoch %lld/%lld %s %3lld%%  loss %.4f  accuracy %5.2f%%  lr %.2e  %s samples/s  %s left",
      static_cast<long long>(epoch), static_cast<long long>(epochs_), bar.c_str(),
      static_cast<long long>(100 * in_epoch / steps_per_epoch_), loss_, 100 * accuracy_, rate_,
      count_text(std::llround(samples / std::max(seconds, 1e-9))).c_str(),
      duration_text(left).c_str());
  return text;
}

std::string duration_text(double seconds) {
  const auto total = static_cast<long long>(std::llround(std::max(0.0, seconds)));
  char text[32];
  if (total >= 3600) {
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", total / 3600, total / 60 % 60,
                  total % 60);
  } else {
    std::snprintf(text, sizeof text, "%02lld:%02lld", total / 60, total % 60);
  }
  return text;
}

std::string count_text(int64_t count) {
  const std::string digits = std::to_string(count);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

}  // namespace flyball
