// The adaptive rule's state as bytes, and a replay of what its first prototype answered.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "schedulers/rules/rule.h"
#include "tests/rule_streams.h"

using flyball::Action;
using flyball::AdaptiveOptions;
using flyball::AdaptiveRule;
using flyball::make_adaptive;
using flyball::RateDecision;
using flyball::Rule;
using flyball::StepSignals;
using flyball::testing::Feed;

TEST_CASE("adaptive: saved bytes continue with the same rates") {
  for (const int at : {20, 601, 900}) {
    Feed feed({});
    feed.fall(600);
    feed.step(100);
    feed.fall(at - 599 > 0 ? at - 599 : 0);
    std::array<unsigned char, sizeof(Rule)> bytes{};
    const Rule saved(feed.rule);
    std::memcpy(bytes.data(), &saved, sizeof saved);
    Rule restored;
    std::memcpy(static_cast<void*>(&restored), bytes.data(), sizeof restored);
    Feed other = feed;
    other.rule = restored.adaptive;
    for (int i = 0; i < 300; ++i) {
      feed.fall(1);
      other.fall(1);
      REQUIRE(feed.decision.rate == other.decision.rate);
      REQUIRE(feed.decision.action == other.decision.action);
    }
  }
}

TEST_CASE("adaptive: configured like the prototype, repeats its recorded rates") {
  AdaptiveOptions options;
  options.ramp_delay = 1;
  options.rollback_lag = 0;
  options.bad_losses_in_probe = 1;
  options.reference_steps = 0;
  const std::filesystem::path folder = std::filesystem::path(__FILE__).parent_path() / "golden";
  for (const std::string name : {"healthy", "spike", "nan", "nan_in_probe", "horizon_free"}) {
    INFO(name);
    std::ifstream file(folder / ("controller_" + name + ".txt"));
    double hint = 0;
    int64_t total = 0;
    int horizon_free = 0;
    file >> hint >> total >> options.window >> horizon_free;
    options.start = std::clamp(0.01 * hint, 1e-6, 1e-4);
    AdaptiveRule rule = make_adaptive(options);
    StepSignals signals;
    signals.total_steps = horizon_free ? 0 : total;
    bool rolled_back = false;
    std::string loss;
    for (double rate = 0; signals.step < total; ++signals.step) {
      int action = 0;
      file >> loss >> signals.gradient_dot_update >> signals.gradient_norm_squared >>
          signals.update_norm_squared >> rate >> action;
      REQUIRE(file.good());
      signals.loss = std::strtod(loss.c_str(), nullptr);
      const RateDecision decision = rule.update(signals);
      REQUIRE(std::abs(decision.rate - rate) <= 1e-12 * rate);
      REQUIRE((decision.action == Action::kRollback) == (action == 1));
      // By choice the snapshot that follows a rollback comes later than the prototype's.
      rolled_back = rolled_back || action == 1;
      if (!rolled_back) REQUIRE((decision.action == Action::kSnapshot) == (action == 2));
    }
  }
}
