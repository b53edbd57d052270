#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "schedulers/rules/rule.h"
#include "schedulers/schedules.h"

// What learning-rate rules are tested on: signals made up by hand, and a problem small enough to
// train in a moment.
namespace flyball::testing {

// Numbers from a seed: uniform in [0, 1), and with mean 0 and variance 1 (a sum of four).
struct Random {
  uint64_t state;
  double uniform() {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<double>(state >> 40) / 16777216.0;
  }
  double normal() {
    double sum = 0;
    for (int i = 0; i < 4; ++i) sum += uniform() - 0.5;
    return sum * 1.7320508075688772;
  }
};

// A rule that is fed by hand. The cosine is 0.4 at low rates and falls above 3e-3, as on a real
// task, so the probe ends near there; after it the cosine is slightly negative.
struct Feed {
  AdaptiveRule rule;
  StepSignals signals;
  Random random;
  RateDecision decision;
  int rollbacks = 0;

  explicit Feed(const AdaptiveOptions& options, int64_t total_steps = 2000, uint64_t seed = 1)
      : rule(make_adaptive(options)), random{seed} {
    signals.total_steps = total_steps;
    signals.steps_per_epoch = 200;
    decision.rate = rule.first_rate();
  }
  double noise() { return random.normal(); }
  void step(double loss) {
    const double cosine = rule.phase == adaptive::Phase::kRun ? -0.02
                          : decision.rate < 3e-3              ? 0.4
                                                              : 0.1;
    signals.loss = loss;
    signals.gradient_norm_squared = signals.update_norm_squared = signals.step > 0 ? 1 : 0;
    signals.gradient_dot_update = signals.step > 0 ? cosine + 0.05 * noise() : 0;
    decision = rule.update(signals);
    rollbacks += decision.action == Action::kRollback ? 1 : 0;
    signals.step += 1;
  }
  double falling() {
    const double level = 0.1 + 2.2 * std::exp(-static_cast<double>(signals.step) / 300);
    return level * (1 + 0.15 * noise());
  }
  void fall(int steps) {
    for (int i = 0; i < steps; ++i) step(falling());
  }
};

// Signals of a run as an optimizer gives them: a noisy falling loss, a cosine that falls, and a
// validation after each epoch. A spike is one huge loss; bad losses are NaN and infinite, alone,
// three in a row and in a validation.
struct RecordedRun {
  bool has_spike = false, has_bad_losses = false;
  Random random{7};

  void next(StepSignals& signals) {
    const auto t = static_cast<double>(signals.step);
    const double level = 0.3 + 2 / (1 + 0.03 * t);
    signals.loss = level * (1 + 0.05 * random.normal());
    signals.correct_fraction = clipped(1 - level / 2.4 + 0.05 * random.normal(), 0, 1);
    signals.gradient_norm_squared = 1 + 0.2 * random.uniform();
    signals.update_norm_squared = 2;
    signals.gradient_dot_update = (t < 60 ? 0.9 - 0.012 * t : 0.05) + 0.02 * random.normal();
    if (has_spike && signals.step == 140) signals.loss = 200;
    if (has_bad_losses) add_bad(signals);
    if (signals.step > 0 && signals.step % signals.steps_per_epoch == 0) {
      signals.validations += 1;
      signals.validation_loss = level + 0.05 * random.normal();
      signals.validation_accuracy = 1 - level / 2.4 + 0.1 * random.normal();
      if (has_bad_losses && signals.validations == 4) {
        signals.validation_loss = signals.validation_accuracy = kNan;
      }
      if (has_bad_losses && signals.validations == 6) signals.validation_loss = -kInfinity;
    }
  }

 private:
  static constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();

  static void add_bad(StepSignals& signals) {
    const int64_t t = signals.step;
    if (t == 0 || t == 5 || t == 80 || (t >= 150 && t < 154)) signals.loss = kNan;
    if (t == 90 || t == 155) signals.loss = kInfinity;
    if (t == 95) signals.loss = -kInfinity;
    if (t == 100) signals.gradient_dot_update = kNan;
    if (t == 101) signals.gradient_norm_squared = kInfinity;
  }
};

// A rule or a state as it is saved.
template <class State>
std::vector<unsigned char> bytes_of(const State& state) {
  std::vector<unsigned char> bytes(sizeof state);
  std::memcpy(bytes.data(), &state, sizeof state);
  return bytes;
}

struct NamedSchedule {
  std::string name;
  ScheduleOptions options;

  std::string title() const {
    std::string text = name;
    for (const auto& [key, value] : options) text.append(" ").append(key).append("=").append(value);
    return text;
  }
};

// Every schedule with its defaults, and again with options that lead through its other paths.
inline std::vector<NamedSchedule> all_schedules() {
  std::vector<NamedSchedule> all;
  for (const std::string& name : schedule_names()) all.push_back({name, {}});
  const std::vector<NamedSchedule> more = {
      {"constant", {{"warmup", "30"}}},
      {"step", {{"every", "2"}, {"factor", "0.7"}}},
      {"step", {{"as_epochs", "50"}}},
      {"exponential", {{"steps", "50"}, {"decay", "0.7"}, {"staircase", "on"}}},
      {"exponential", {{"as_epochs", "5000"}}},
      {"cosine", {{"min_lr", "1e-4"}, {"warmup", "0.1"}}},
      {"one-cycle", {{"pct_start", "0.1"}, {"div_factor", "7"}}},
      {"plateau", {{"mode", "max"}, {"patience", "1"}, {"cooldown", "1"}, {"threshold", "0.01"}}},
      {"plateau", {{"source", "training"}, {"window", "7"}, {"patience", "1"}}},
      {"plateau", {{"source", "training"}, {"patience", "0"}, {"threshold_mode", "abs"}}},
      {"greedy", {{"window", "3"}, {"patience", "2"}, {"hold", "2"}, {"cooldown", "1"}}},
      {"greedy", {{"window", "1"}, {"patience", "1"}, {"factor", "0.5"}, {"reset_start", "2"}}},
      {"hypergradient", {{"beta", "0.003"}}},
      {"adaptive", {{"horizon_free", "on"}, {"accuracy_weight", "0.5"}}},
      {"adaptive", {{"growth", "off"}, {"guards", "off"}, {"warmup", "20"}}}};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

// Least squares in mini-batches, trained by Adam: loss = mean over 8 samples of 1/2 (<x, w> -
// noise)^2, where x = independent parts + 1.5 times a common one, so one direction is far stiffer
// than the rest.
struct LeastSquares {
  static constexpr int kSize = 64, kBatch = 8;
  static constexpr double kCommon = 1.5, kNoise = 0.3;
  std::array<double, kSize> w{}, m{}, v{}, g{}, snapshot{};
  double beta1_power = 1, beta2_power = 1;

  double update(int i) const {
    if (beta1_power == 1) return 0;
    return m[i] / (1 - beta1_power) / (std::sqrt(v[i] / (1 - beta2_power)) + 1e-8);
  }
  double excess_loss() const {
    double squares = 0, sum = 0;
    for (const double x : w) {
      squares += x * x;
      sum += x;
    }
    return 0.5 * (squares + kCommon * kCommon * sum * sum);
  }
  void read_batch(StepSignals& signals, Random& random) {
    signals.loss = signals.gradient_dot_update = signals.gradient_norm_squared =
        signals.update_norm_squared = 0;
    g.fill(0);
    for (int sample = 0; sample < kBatch; ++sample) {
      std::array<double, kSize> x;
      const double common = kCommon * random.normal();
      double error = kNoise * random.normal();
      for (int i = 0; i < kSize; ++i) {
        x[i] = random.normal() + common;
        error += x[i] * w[i];
      }
      signals.loss += 0.5 * error * error / kBatch;
      for (int i = 0; i < kSize; ++i) g[i] += error * x[i] / kBatch;
    }
    for (int i = 0; i < kSize; ++i) {
      const double u = update(i);
      signals.gradient_dot_update += g[i] * u;
      signals.gradient_norm_squared += g[i] * g[i];
      signals.update_norm_squared += u * u;
    }
  }
  void step(const RateDecision& decision) {
    if (decision.action == Action::kSnapshot) snapshot = w;
    if (decision.action == Action::kRollback) {
      w = snapshot;
      m.fill(0);
      v.fill(0);
      beta1_power = beta2_power = 1;
      return;
    }
    beta1_power *= 0.9;
    beta2_power *= 0.999;
    for (int i = 0; i < kSize; ++i) {
      m[i] = 0.9 * m[i] + 0.1 * g[i];
      v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
      w[i] -= decision.rate * update(i);
    }
  }
};

struct Trained {
  double loss = 0, peak = 0;
};

// Excess loss over the last tenth of the run, and the peak of an adaptive rule; means of three
// seeds.
inline Trained train(const Rule& start, double distance, int steps = 1000) {
  Trained trained;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Rule rule = start;
    Random random{seed};
    LeastSquares problem;
    for (double& w : problem.w) w = distance * random.normal();
    StepSignals signals;
    signals.total_steps = steps;
    RateDecision decision{first_rate(rule), Action::kNone};
    for (; signals.step < steps; ++signals.step) {
      problem.read_batch(signals, random);
      problem.step(decision);
      decision = update(rule, signals);
      if (signals.step >= steps - steps / 10) {
        const int64_t tenth = steps / 10;
        trained.loss += problem.excess_loss() / static_cast<double>(3 * tenth);
      }
    }
    if (rule.kind == RuleKind::kAdaptive) trained.peak += rule.adaptive.peak / 3;
  }
  return trained;
}

}  // namespace flyball::testing
