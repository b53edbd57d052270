// The schedules against what other implementations answer (tests/golden/make_schedules.py), and
// what holds for every schedule.

#include "schedulers/schedules.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/rule_streams.h"

namespace {

using namespace flyball;
using testing::all_schedules;
using testing::bytes_of;
using testing::NamedSchedule;
using testing::RecordedRun;
using Json = nlohmann::json;

const Json& recorded() {
  static const Json data =
      Json::parse(std::ifstream(std::string(FLYBALL_SOURCE_DIR) + "/tests/golden/schedules.json"));
  return data;
}

// The recorded rates of every step, whether they were written down one by one or by their changes.
std::vector<double> rates_of(const Json& run) {
  if (run.contains("rates")) return run["rates"].get<std::vector<double>>();
  std::vector<double> rates;
  for (const Json& change : run["changes"]) {
    rates.resize(change[0].get<size_t>(), rates.empty() ? 0 : rates.back());
    rates.push_back(change[1].get<double>());
  }
  rates.resize(run["steps"].get<size_t>(), rates.back());
  return rates;
}

// The metric or product that the step brings.
void read_signals(const Json& run, size_t step, StepSignals& signals) {
  if (run.contains("products")) signals.gradient_dot_update = run["products"][step].get<double>();
  if (!run.contains("metric")) return;
  const Json& metric = recorded()["metrics"][run["metric"].get<std::string>()];
  const double value = std::strtod(metric[step].get<std::string>().c_str(), nullptr);
  if (run["feed"] == "loss") {
    signals.loss = value;
  } else {
    signals.validations += 1;
    signals.validation_loss = signals.validation_accuracy = value;
  }
}

// What every check of a whole run needs: the rates, first to last.
template <class Next>
std::vector<double> run_of(Rule& rule, StepSignals& signals, int64_t steps, Next next) {
  std::vector<double> rates{first_rate(rule)};
  for (; signals.step < steps; ++signals.step) {
    next(signals);
    rates.push_back(update(rule, signals).rate);
  }
  return rates;
}

StepSignals run_of_400_steps() {
  StepSignals signals;
  signals.steps_per_epoch = 10;
  signals.total_steps = 400;
  return signals;
}

}  // namespace

TEST_CASE("constant: the rate never changes") {
  ConstantRule rule{0.02};
  StepSignals signals;
  signals.loss = std::numeric_limits<double>::quiet_NaN();
  CHECK(rule.first_rate() == 0.02);
  CHECK(rule.update(signals).rate == 0.02);
  CHECK(rule.update(signals).action == Action::kNone);
}

TEST_CASE("linear: falls to zero at the end of the run, constant without an end") {
  const LinearRule rule{0.5};
  StepSignals signals;
  signals.total_steps = 8;
  CHECK(rule.first_rate() == 0.5);
  for (signals.step = 0; signals.step < 12; ++signals.step) {
    CHECK(rule.update(signals).rate ==
          std::max(0.0, 0.5 * (1 - static_cast<double>(signals.step + 1) / 8)));
  }
  signals.total_steps = 0;
  CHECK(rule.update(signals).rate == 0.5);
}

TEST_CASE("schedules: give the rates that other implementations recorded") {
  std::vector<std::string> names;
  for (const Json& run : recorded()["runs"]) {
    names.push_back(run["schedule"].get<std::string>());
    INFO(names.back(), " ", run["options"].dump());
    Rule rule = make_rule(names.back(), run["rate"].get<double>(),
                          run["options"].get<std::map<std::string, std::string>>());
    StepSignals signals;
    signals.steps_per_epoch = run["steps_per_epoch"].get<int64_t>();
    signals.total_steps = run["total_steps"].get<int64_t>();
    const std::vector<double> expected = rates_of(run);
    const auto steps = static_cast<int64_t>(expected.size()) - 1;
    const std::vector<double> got = run_of(rule, signals, steps, [&](StepSignals& s) {
      read_signals(run, static_cast<size_t>(s.step), s);
    });
    for (size_t i = 0; i < expected.size(); ++i) {
      INFO("step ", i, ": ", got[i], ", expected ", expected[i]);
      // A cosine near -1 loses digits to 1 + cos: a share of the whole rate, too.
      const double near = 1e-12 * expected[i] + 1e-16 * run["rate"].get<double>();
      REQUIRE(std::abs(got[i] - expected[i]) <= near);
    }
  }
  for (const std::string& name : schedule_names()) {  // adaptive: test_rules_state.cpp
    if (name != "adaptive") CHECK(std::count(names.begin(), names.end(), name) > 0);
  }
}

TEST_CASE("schedules: no loss and no sum makes a rate infinite, negative or NaN") {
  for (const NamedSchedule& schedule : all_schedules()) {
    INFO(schedule.title());
    Rule rule = make_rule(schedule.name, 0.02, schedule.options);
    StepSignals signals = run_of_400_steps();
    RecordedRun run{.has_spike = true, .has_bad_losses = true};
    for (const double rate : run_of(rule, signals, 400, [&](StepSignals& s) { run.next(s); })) {
      REQUIRE(rate >= 0);
      REQUIRE(rate <= 1);
    }
  }
}

TEST_CASE("schedules: after losses that are not finite every rule goes on") {
  for (const NamedSchedule& schedule : all_schedules()) {
    if (schedule.name == "constant") continue;
    INFO(schedule.title());
    Rule rule = make_rule(schedule.name, 0.02, schedule.options);
    StepSignals signals = run_of_400_steps();
    RecordedRun run{.has_bad_losses = true};
    const double before = run_of(rule, signals, 160, [&](StepSignals& s) { run.next(s); }).back();
    run.has_bad_losses = false;
    const std::vector<double> after = run_of(rule, signals, 400, [&](StepSignals& s) {
      run.next(s);
      s.validation_loss = 1;  // no better any more
      s.validation_accuracy = 0;
    });
    CHECK(after.back() != before);
  }
}

TEST_CASE("schedules: saved bytes continue with the same rates") {
  for (const NamedSchedule& schedule : all_schedules()) {
    INFO(schedule.title());
    Rule rule = make_rule(schedule.name, 0.02, schedule.options);
    StepSignals signals = run_of_400_steps();
    RecordedRun run{.has_spike = true};
    run_of(rule, signals, 153, [&](StepSignals& s) { run.next(s); });
    const std::vector<unsigned char> saved = bytes_of(rule);
    Rule restored;
    std::memcpy(static_cast<void*>(&restored), saved.data(), sizeof restored);
    StepSignals other_signals = signals;
    RecordedRun other_run = run;
    const auto on = run_of(rule, signals, 400, [&](StepSignals& s) { run.next(s); });
    const auto resumed =
        run_of(restored, other_signals, 400, [&](StepSignals& s) { other_run.next(s); });
    CHECK(on == resumed);
    CHECK(bytes_of(rule) == bytes_of(restored));
    CHECK(bytes_of(rule).size() == sizeof(Rule));
  }
}

TEST_CASE("schedules: bytes that a rule does not use are zero") {
  for (const int garbage : {0x11, 0x22}) {
    alignas(Rule) unsigned char place[sizeof(Rule)];
    std::memset(place, garbage, sizeof place);
    const Rule* rule = new (place) Rule(ConstantRule{0.5});
    const std::vector<unsigned char> bytes = bytes_of(*rule);
    CHECK(std::count(bytes.begin(), bytes.end(), garbage) == 0);
  }
}

TEST_CASE("schedules: beyond the end the last rate stays") {
  for (const std::string name : {"linear", "cosine", "one-cycle"}) {
    Rule rule = make_rule(name, 0.02);
    StepSignals signals = run_of_400_steps();
    const std::vector<double> rates = run_of(rule, signals, 500, [](StepSignals&) {});
    INFO(name);
    CHECK(rates[400] <= 0.02 * 4.1e-6);
    for (size_t i = 400; i < rates.size(); ++i) CHECK(rates[i] == rates[400]);
  }
}

TEST_CASE("schedules: without a known length those that need one are constant") {
  for (const std::string name : {"linear", "cosine", "one-cycle"}) {
    Rule rule = make_rule(name, 0.02);
    StepSignals signals;
    const std::vector<double> rates = run_of(rule, signals, 100, [](StepSignals&) {});
    INFO(name);
    for (size_t i = 1; i < rates.size(); ++i) CHECK(rates[i] == 0.02);
  }
}

TEST_CASE("schedules: one validation is one value, however many steps follow it") {
  Rule rule = make_rule("plateau", 0.02, {{"patience", "2"}});
  StepSignals signals;
  signals.steps_per_epoch = 5;
  const std::vector<double> rates = run_of(rule, signals, 26, [](StepSignals& s) {
    if (s.step % 5 == 0) s.validations += 1;
    s.validation_loss = 1;
  });
  // The first value is the best; the fourth is the third that is no better.
  for (size_t i = 0; i < rates.size(); ++i) CHECK(rates[i] == (i <= 15 ? 0.02 : 0.02 * 0.1));
}

TEST_CASE("schedules: no validation that is not finite becomes the best one") {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const std::string mode : {"min", "max"}) {
    const double better = mode == "min" ? -1 : 1;
    // NaN, 1, infinitely good, and twice better than what was finite before it.
    const std::vector<double> values = {std::numeric_limits<double>::quiet_NaN(), better,
                                        better * kInfinity, 1.5 * better, 2 * better};
    Rule rule = make_rule("plateau", 1, {{"mode", mode}, {"patience", "0"}, {"factor", "0.5"}});
    StepSignals signals;
    const std::vector<double> rates = run_of(rule, signals, 5, [&](StepSignals& s) {
      s.validations += 1;
      s.validation_loss = s.validation_accuracy = values[static_cast<size_t>(s.step)];
    });
    INFO(mode);
    CHECK(rates == std::vector<double>{1, 0.5, 0.5, 0.25, 0.25, 0.25});
  }
}

TEST_CASE("hypergradient: a loss or a product that is not finite changes nothing") {
  Rule rule = make_rule("hypergradient", 0.5, {{"beta", "0.001"}});
  StepSignals signals;
  signals.gradient_dot_update = 2;
  CHECK(update(rule, signals).rate == 0.5 + 0.001 * 2);
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity(), 1e31}) {
    signals.loss = bad;
    CHECK(update(rule, signals).rate == 0.5 + 0.001 * 2);
    signals.loss = 1;
    signals.gradient_dot_update = bad;
    CHECK(update(rule, signals).rate == 0.5 + 0.001 * 2);
    signals.gradient_dot_update = 0;
  }
}

TEST_CASE("schedules: a rule starts when the warm-up ends, and sees the run without it") {
  for (const NamedSchedule& schedule : all_schedules()) {
    if (schedule.options.count("warmup") > 0) continue;
    ScheduleOptions options = schedule.options;
    options.insert({{"warmup", "25"}, {"warmup_start", "0.2"}});
    Rule plain = make_rule(schedule.name, 0.02, schedule.options);
    Rule warmed = make_rule(schedule.name, 0.02, options);
    StepSignals signals = run_of_400_steps(), later = run_of_400_steps();
    later.total_steps += 25;
    RecordedRun run, same;
    const auto expected = run_of(plain, signals, 400, [&](StepSignals& s) { run.next(s); });
    const auto got = run_of(warmed, later, 425, [&](StepSignals& s) {
      if (s.step < 25) return;
      s.step -= 25;  // the same signals, 25 steps later
      same.next(s);
      s.step += 25;
    });
    INFO(schedule.title());
    for (size_t t = 0; t < 25; ++t) {
      const double share = 0.2 + 0.8 * static_cast<double>(t) / 25;
      CHECK(got[t] == doctest::Approx(expected[0] * share).epsilon(1e-13));
    }
    CHECK(std::vector<double>(got.begin() + 25, got.end()) == expected);
  }
}

TEST_CASE("rules' arithmetic: cosine, powers of two and whole powers are as exact as stated") {
  double worst_cosine = 0, worst_power = 0, worst_whole = 0;
  for (int i = 0; i <= 20000; ++i) {
    const double x = i / 20000.0;
    const long double exact = std::cos(3.14159265358979323846264L * static_cast<long double>(x));
    worst_cosine = std::max(worst_cosine, std::abs(static_cast<double>(cosine_of_pi(x) - exact)));
    const double y = -40 + 80 * x;
    const long double power = std::exp2(static_cast<long double>(y));
    worst_power =
        std::max(worst_power, std::abs(static_cast<double>((power_of_two(y) - power) / power)));
  }
  for (int n = 0; n < 60; ++n) {
    const double exact = static_cast<double>(std::pow(0.9L, static_cast<long double>(n)));
    worst_whole = std::max(worst_whole, std::abs(integer_power(0.9L, n) / exact - 1));
  }
  CHECK(worst_cosine < 3e-16);
  CHECK(worst_power < 1e-15);
  CHECK(worst_whole < 1e-14);
  CHECK(cosine_of_pi(0) == 1);
  CHECK(cosine_of_pi(0.5) == 0);
  CHECK(cosine_of_pi(1) == -1);
  CHECK(power_of_two(-3) == 0.125);
  CHECK(power_of_two(-2000) == 0);
}
