#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "schedulers/rules/rule.h"
#include "tests/rule_streams.h"

namespace {

using flyball::Action;
using flyball::AdaptiveOptions;
using flyball::AdaptiveRule;
using flyball::ConstantRule;
using flyball::LinearRule;
using flyball::make_adaptive;
using flyball::StepSignals;
using flyball::adaptive::Phase;
using flyball::testing::Feed;
using flyball::testing::Random;
using flyball::testing::train;
using flyball::testing::Trained;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The checks return whether a rule behaves; each is run on the rule and on broken ones.

bool keeps_its_rate_in_noise(const AdaptiveOptions& options) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Feed feed(options, 1200, seed);
    feed.fall(1200);
    if (feed.rollbacks > 0 || feed.rule.cuts > 0 || feed.rule.rollbacks > 0) return false;
    if (feed.rule.peak < 1e-3 || feed.rule.peak > 3e-2) return false;
  }
  return true;
}

bool forgets_a_spike(const AdaptiveOptions& options) {
  for (const double height : {2.0, 30.0}) {
    Feed feed(options);
    feed.fall(600);
    const double before = feed.rule.amplitude;
    feed.step(height * feed.falling());
    feed.fall(200);
    if (feed.rule.amplitude != before || feed.rollbacks > (height > 10 ? 1 : 0)) return false;
  }
  return true;
}

// Weights blown up by one step: their loss is seen once more before they are thrown away.
bool one_explosion_is_one_rollback(const AdaptiveOptions& options) {
  Feed feed(options);
  feed.fall(600);
  const double before = feed.rule.amplitude;
  feed.step(100 * feed.falling());
  feed.step(100 * feed.falling());
  feed.fall(200);
  return feed.rollbacks == 1 && feed.rule.cuts == 0 &&
         feed.rule.amplitude == doctest::Approx(0.2 * before).scale(0);
}

bool skips_an_isolated_nan(const AdaptiveOptions& options) {
  for (const int at : {5, 15, 30, 500}) {
    Feed feed(options);
    feed.fall(at);
    feed.step(kNan);
    feed.fall(at == 500 ? 100 : 500);
    if (feed.rollbacks > 0 || feed.rule.peak < 1e-3) return false;
    if (feed.rule.amplitude < feed.rule.peak) return false;
  }
  return true;
}

bool goes_back_after_three_nans(const AdaptiveOptions& options) {
  Feed feed(options);
  feed.fall(500);
  const double before = feed.rule.amplitude;
  for (int i = 0; i < 3; ++i) feed.step(kNan);
  if (feed.decision.action != Action::kRollback) return false;
  feed.step(kNan);  // still from the weights that this step throws away
  feed.fall(100);
  return feed.rollbacks == 1 && feed.rule.amplitude == doctest::Approx(0.2 * before).scale(0);
}

bool halves_on_a_plateau(const AdaptiveOptions& options) {
  Feed falls(options, 0), stays(options, 0);
  for (int i = 0; i < 600; ++i) {
    falls.step(3 - 0.004 * i + 0.02 * falls.noise());
    stays.step(1 + 0.02 * stays.noise());
  }
  return falls.rule.window == 50 && falls.rule.cuts == 0 && stays.rule.cuts >= 3 &&
         stays.decision.rate < 0.2 * stays.rule.peak;
}

// Rises by 4% of the level a step.
bool cuts_on_a_slow_rise(const AdaptiveOptions& options) {
  Feed feed(options);
  feed.fall(100);
  for (int i = 0; i < 200; ++i) feed.step(1 + 0.02 * feed.noise());
  const double before = feed.rule.amplitude;
  for (int i = 0; i < 40; ++i) feed.step(1 + 0.04 * i + 0.02 * feed.noise());
  return feed.rollbacks == 0 && feed.rule.cuts >= 1 && feed.rule.amplitude <= 0.5 * before;
}

bool retreats_from_a_high_start(const AdaptiveOptions& options) {
  Feed feed(options);
  double loss = 1, rate = 0;
  while (feed.rule.phase != Phase::kRun && feed.signals.step < 60) {
    rate = feed.decision.rate;
    feed.step(loss *= 1.5);
  }
  return feed.rule.steps <= 30 && feed.decision.action == Action::kRollback &&
         feed.rule.peak == doctest::Approx(0.2 * rate).scale(0);
}

bool grows_on_evidence(const AdaptiveOptions& options) {
  Feed feed(options);
  feed.fall(100);
  const double before = feed.rule.amplitude;
  for (int i = 0; i < 300; ++i) {
    feed.signals.loss = feed.falling();
    feed.signals.gradient_dot_update = 0.1 + 0.05 * feed.noise();
    feed.decision = feed.rule.update(feed.signals);
    feed.signals.step += 1;
  }
  return feed.rule.growths >= 3 && feed.rule.amplitude > 1.9 * before;
}

// The cosine is slightly negative, so only the fall of the loss speaks for growth. The target of a
// run of 400 steps is sqrt(2500 / 400) = 2.5 times the peak.
bool grows_on_a_fall(const AdaptiveOptions& options) {
  double falling = 0, steady = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Feed falls(options, 400, seed), stays(options, 400, seed);
    for (int i = 0; i < 300; ++i) {
      falls.step(2 * std::exp(-i / 150.0) * (1 + 0.05 * falls.noise()));
      stays.step(1 + 0.02 * stays.noise());
    }
    if (falls.rule.amplitude > 2.5000001 * falls.rule.peak) return false;
    falling += falls.rule.growths / 20.0;
    steady += stays.rule.growths / 20.0;
  }
  return falling > 2 && steady < 0.5;
}

bool starts_lower_in_a_long_run(const AdaptiveOptions& options) {
  for (const auto& [total, share] : {std::pair{2500, 1.0}, {10000, 0.5}, {250000, 0.1}}) {
    Feed feed(options, total);
    while (feed.rule.phase != Phase::kRun) feed.fall(1);
    if (std::abs(feed.rule.amplitude / feed.rule.peak - share) > 1e-12) return false;
  }
  return true;
}

// Twenty losses at 1.8 times the level, too few to roll back: coming down is not a fall.
bool grows_not_after_a_rise(const AdaptiveOptions& options) {
  Feed feed(options);
  for (int i = 0; i < 300; ++i) feed.step(1 + 0.02 * feed.noise());
  const double before = feed.rule.amplitude;
  for (int i = 0; i < 20; ++i) feed.step(1.8 + 0.02 * feed.noise());
  for (int i = 0; i < 200; ++i) feed.step(1 + 0.02 * feed.noise());
  return feed.rule.cuts > 0 && feed.rule.amplitude <= 0.5 * before;
}

// Any signals at all: the rate stays in [0, max_rate].
bool stays_in_range(const AdaptiveOptions& options) {
  Random random{5};
  const std::array<double, 9> odd = {0, -3, kNan, kInfinity, -kInfinity, 1e300, -1e300, 1e29, 1};
  const std::array<int64_t, 6> lengths = {0, 1, 2, 30, 200, 1000};
  for (size_t run = 0; run < 120; ++run) {
    AdaptiveRule rule = make_adaptive(options);
    StepSignals signals;
    signals.total_steps = lengths[run % lengths.size()];
    const double share = 0.3 * random.uniform();
    const auto pick = [&](double usual) {
      return random.uniform() < share ? odd[static_cast<size_t>(random.uniform() * 9)] : usual;
    };
    for (int i = 0; i < 300; ++i) {
      signals.loss = pick(1 + 0.1 * random.normal());
      signals.gradient_norm_squared = pick(random.uniform());
      signals.update_norm_squared = pick(random.uniform());
      signals.gradient_dot_update = pick(random.normal());
      const double rate = rule.update(signals).rate;
      if (!(rate >= 0 && rate <= 0.3)) return false;
      signals.step += 1;
    }
  }
  return true;
}

template <class Change>
AdaptiveOptions changed(Change change) {
  AdaptiveOptions options;
  change(options);
  return options;
}

// What a sweep of constant rates and of linear decays finds from a distance to the solution.
struct Sweep {
  double distance, constant_loss = kInfinity, linear_loss = kInfinity, linear_rate = 0;
  explicit Sweep(double start) : distance(start) {
    for (const double rate : {5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2}) {
      constant_loss = std::min(constant_loss, train(ConstantRule{rate}, distance).loss);
      const double loss = train(LinearRule{rate}, distance).loss;
      if (loss < linear_loss) linear_rate = rate;
      linear_loss = std::min(linear_loss, loss);
    }
  }
};

// The peak is within a factor of 4 of the best linear decay's rate; the loss is below half of the
// best constant rate's and below twice the best linear decay's.
bool comes_close(const Sweep& sweep, const AdaptiveOptions& options) {
  const Trained trained = train(make_adaptive(options), sweep.distance);
  return trained.peak < 4 * sweep.linear_rate && trained.peak > sweep.linear_rate / 4 &&
         trained.loss < 0.5 * sweep.constant_loss && trained.loss < 2 * sweep.linear_loss;
}

}  // namespace

TEST_CASE("adaptive: noise around a falling loss neither cuts nor rolls back") {
  CHECK(keeps_its_rate_in_noise({}));
  CHECK_FALSE(keeps_its_rate_in_noise(changed([](auto& o) { o.guard_slack = 0.02; })));
  CHECK_FALSE(keeps_its_rate_in_noise(changed([](auto& o) { o.curvature_share = -10; })));
}

TEST_CASE("adaptive: a spike leaves no lasting cut") {
  CHECK(forgets_a_spike({}));
  CHECK_FALSE(forgets_a_spike(changed([](auto& o) { o.rollback_lag = 0; })));
  CHECK_FALSE(forgets_a_spike(changed([](auto& o) { o.guard_slack = 0.1; })));
}

TEST_CASE("adaptive: one explosion is one rollback with a fifth of the rate") {
  CHECK(one_explosion_is_one_rollback({}));
  CHECK_FALSE(one_explosion_is_one_rollback(changed([](auto& o) { o.guard_slack = 1e30; })));
  CHECK_FALSE(one_explosion_is_one_rollback(changed([](auto& o) { o.rollback_lag = 0; })));
  CHECK_FALSE(one_explosion_is_one_rollback(changed([](auto& o) { o.retreat = 1; })));
}

TEST_CASE("adaptive: an isolated loss that is not finite changes nothing") {
  CHECK(skips_an_isolated_nan({}));
  CHECK_FALSE(skips_an_isolated_nan(changed([](auto& o) { o.bad_losses = 1; })));
  CHECK_FALSE(skips_an_isolated_nan(changed([](auto& o) { o.bad_losses_in_probe = 1; })));
}

TEST_CASE("adaptive: three in a row go back once with a fifth of the rate") {
  CHECK(goes_back_after_three_nans({}));
  CHECK_FALSE(goes_back_after_three_nans(changed([](auto& o) { o.bad_losses = 1000; })));
  CHECK_FALSE(goes_back_after_three_nans(changed([](auto& o) { o.retreat = 1; })));
}

TEST_CASE("adaptive: without a horizon the rate halves on a plateau only") {
  CHECK(halves_on_a_plateau({}));
  CHECK_FALSE(halves_on_a_plateau(changed([](auto& o) { o.cut = 1; })));
}

TEST_CASE("adaptive: a slow rise of the loss cuts the rate") {
  CHECK(cuts_on_a_slow_rise({}));
  CHECK_FALSE(cuts_on_a_slow_rise(changed([](auto& o) { o.guard_slack = 1e30; })));
  CHECK_FALSE(cuts_on_a_slow_rise(changed([](auto& o) { o.cut = 1; })));
}

TEST_CASE("adaptive: a start that is too high ends the probe with a rollback") {
  CHECK(retreats_from_a_high_start({}));
  CHECK_FALSE(retreats_from_a_high_start(changed([](auto& o) { o.retreat = 1; })));
}

TEST_CASE("adaptive: grows while the cosine is significantly positive") {
  CHECK(grows_on_evidence({}));
  CHECK_FALSE(grows_on_evidence(changed([](auto& o) { o.growth = 1; })));
  CHECK_FALSE(grows_on_evidence(changed([](auto& o) { o.growth_until = 0; })));
}

TEST_CASE("adaptive: in short runs, grows while the loss falls significantly, up to its target") {
  CHECK(grows_on_a_fall({}));
  CHECK_FALSE(grows_on_a_fall(changed([](auto& o) { o.fall_limit = 1; })));
  CHECK_FALSE(grows_on_a_fall(changed([](auto& o) { o.grows = 0; })));
  CHECK_FALSE(grows_on_a_fall(changed([](auto& o) { o.reference_steps = 0; })));
  CHECK_FALSE(grows_on_a_fall(changed([](auto& o) { o.reference_steps = 3600; })));
}

TEST_CASE("adaptive: the longer the run, the lower it starts") {
  CHECK(starts_lower_in_a_long_run({}));
  CHECK_FALSE(starts_lower_in_a_long_run(changed([](auto& o) { o.reference_steps = 0; })));
}

TEST_CASE("adaptive: coming down from a rise of the loss is no reason to grow") {
  CHECK(grows_not_after_a_rise({}));
  CHECK_FALSE(grows_not_after_a_rise(changed([](auto& o) { o.guard_slack = 1e30; })));
}

TEST_CASE("adaptive: the rate is never negative and never above its limit") {
  CHECK(stays_in_range({}));
  CHECK_FALSE(stays_in_range(changed([](auto& o) {
    o.max_rate = 10;
    o.start = 1;
  })));
  CHECK_FALSE(stays_in_range(changed([](auto& o) { o.retreat = -0.2; })));
}

TEST_CASE("adaptive: losses of zero and negative losses raise and anneal the rate") {
  for (const double offset : {0.0, -5.0, -0.5}) {
    Feed feed({}, 400);
    for (int i = 0; i < 400; ++i) feed.step(offset == 0 ? 0 : offset + feed.falling());
    INFO(offset);
    CHECK(feed.rollbacks == 0);
    CHECK(feed.rule.peak > 1e-3);
    CHECK(feed.decision.rate < 0.01 * feed.rule.peak);
  }
}

TEST_CASE("adaptive: without gradient or update the cosine counts as zero") {
  AdaptiveRule rule = make_adaptive();
  StepSignals signals;
  signals.total_steps = 100;
  signals.gradient_dot_update = 1;
  for (; signals.step < 100; ++signals.step) {
    signals.loss = 1;
    signals.gradient_norm_squared = signals.step % 2 == 0 ? 1 : 0;
    signals.update_norm_squared = signals.step % 2 == 0 ? 0 : 1;
    CHECK(rule.update(signals).rate <= 0.3);
  }
  CHECK(rule.growths == 0);
}

TEST_CASE("adaptive: waits for the first finite loss") {
  Feed feed({}, 500);
  for (int i = 0; i < 7; ++i) feed.step(i % 2 == 0 ? double{kNan} : double{kInfinity});
  CHECK(feed.decision.rate == feed.rule.first_rate());
  CHECK(feed.decision.action == Action::kNone);
  feed.step(2.5);
  CHECK(feed.rule.first_loss == 2.5);
  CHECK(feed.rule.horizon == 493);
  CHECK(feed.decision.action == Action::kSnapshot);
  feed.step(kNan);  // a skipped step keeps no snapshot, so it is due again
  CHECK(feed.decision.action == Action::kNone);
  feed.step(2.4);
  CHECK(feed.decision.action == Action::kSnapshot);
}

TEST_CASE("adaptive: the horizon is fixed at the first loss, and rates after it are zero") {
  Feed feed({}, 100);
  feed.fall(10);
  feed.signals.total_steps = 1000;
  feed.fall(100);
  CHECK(feed.rule.horizon == 100);
  CHECK(feed.decision.rate == 0);
}

TEST_CASE("adaptive: short runs rise and anneal too") {
  for (const int total : {1, 2, 5, 20, 60, 100, 240}) {
    for (const double start : {1e-5, 1e-4}) {
      AdaptiveRule rule = make_adaptive(changed([=](auto& o) { o.start = start; }));
      StepSignals signals;
      signals.total_steps = total;
      double highest = 0, last = rule.first_rate();
      for (; signals.step < total; ++signals.step) {
        highest = std::max(highest, last);
        signals.loss = 2;
        const double rate = rule.update(signals).rate;
        if (signals.step + 1 < total) last = rate;
      }
      INFO(total, " steps from ", start);
      if (total >= 5) CHECK(highest >= 9e-4);
      if (total >= 5) CHECK(last <= 0.7 * highest);
      if (total >= 60) CHECK(last <= 0.1 * highest);
    }
  }
}

TEST_CASE("adaptive: comes close to the best rate of noisy least squares") {
  for (const double distance : {0.1, 0.2}) {
    const Sweep sweep(distance);
    CHECK(comes_close(sweep, {}));
    CHECK(comes_close(sweep, changed([](auto& o) { o.start = 1e-5; })));
    CHECK_FALSE(comes_close(sweep, changed([](auto& o) { o.curvature_share = -10; })));
    CHECK_FALSE(comes_close(sweep, changed([](auto& o) { o.overshoot = 0.05; })));
  }
}
