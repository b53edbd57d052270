// The options of the schedules: what is refused, what is listed, and what the ablations do.

#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "tests/rule_streams.h"

namespace {

using namespace flyball;
using testing::RecordedRun;

std::string error_of(const std::string& name, double rate, const ScheduleOptions& options) {
  try {
    make_rule(name, rate, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string option_error(const std::string& name, const ScheduleOptions& options) {
  return error_of(name, 0.02, options);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct Ran {
  double highest = 0, last = 0;
  AdaptiveRule rule;
};

// The adaptive rule over a recorded run of 400 steps in which c stays significantly positive.
Ran run_adaptive(const ScheduleOptions& options, const RecordedRun& recorded) {
  Rule rule = make_rule("adaptive", 1e-3, options);
  RecordedRun run = recorded;
  StepSignals signals;
  signals.steps_per_epoch = 100;
  signals.total_steps = 400;
  Ran ran;
  for (; signals.step < 400; ++signals.step) {
    run.next(signals);
    ran.last = update(rule, signals).rate;
    ran.highest = larger(ran.highest, ran.last);
  }
  ran.rule = rule.adaptive;
  return ran;
}

}  // namespace

TEST_CASE("options: an unknown schedule or key lists the valid ones") {
  CHECK(
      error_of("cosin", 1e-3, {}) ==
      "schedule 'cosin' is unknown, expected one of: constant, linear, step, exponential, cosine, "
      "one-cycle, plateau, greedy, hypergradient, adaptive");
  CHECK(option_error("cosine", {{"minimum", "0"}}) ==
        "schedule 'cosine': option 'minimum' is unknown, expected one of: min_lr, warmup, "
        "warmup_start");
  CHECK(option_error("constant", {{"factor", "0.5"}}) ==
        "schedule 'constant': option 'factor' is unknown, expected one of: warmup, warmup_start");
}

TEST_CASE("options: a bad value names key, value and range") {
  CHECK(option_error("step", {{"factor", "1.5"}}) ==
        "schedule 'step': factor is '1.5', expected a number, 0 < value < 1");
  for (const std::string open_end : {"0", "1"}) {
    CHECK(
        contains(option_error("step", {{"factor", open_end}}), "expected a number, 0 < value < 1"));
  }
  CHECK(option_error("step", {{"every", "2.5"}}) ==
        "schedule 'step': every is '2.5', expected a whole number, 1 <= value <= 1e+06");
  CHECK(option_error("plateau", {{"mode", "best"}}) ==
        "schedule 'plateau': mode is 'best', expected one of: min, max");
  CHECK(option_error("greedy", {{"window", "51"}}) ==
        "schedule 'greedy': window is '51', expected a whole number, 1 <= value <= 50");
  CHECK(option_error("one-cycle", {{"div_factor", "0"}}) ==
        "schedule 'one-cycle': div_factor is '0', expected a number, at least 1");
  CHECK(option_error("cosine", {{"warmup", "1.5"}}) ==
        "schedule 'cosine': warmup is '1.5', expected a whole number of steps, or a share of them, "
        "0 < value < 1");
  for (const std::string text :
       {"", "x", "1x", "nan", "inf", "0x1", "1e999", "-1", "1-2", " 1", "1 "}) {
    INFO("'", text, "'");
    CHECK(contains(option_error("hypergradient", {{"beta", text}}), "beta is"));
    CHECK(contains(option_error("exponential", {{"steps", text}}), "steps is"));
    CHECK(contains(option_error("linear", {{"warmup", text}}), "warmup is"));
  }
  for (const double rate : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(),
                            std::numeric_limits<double>::infinity()}) {
    CHECK(contains(error_of("cosine", rate, {}), "expected a positive number"));
  }
}

TEST_CASE("options: contradictions are refused") {
  const std::vector<std::pair<std::string, ScheduleOptions>> contradictions = {
      {"plateau", {{"window", "5"}}},
      {"plateau", {{"window", "5"}, {"source", "validation"}}},
      {"plateau", {{"min_lr", "0.5"}}},
      {"cosine", {{"min_lr", "0.5"}}},
      {"greedy", {{"min_lr", "0.5"}, {"max_lr", "0.1"}}},
      {"hypergradient", {{"min_lr", "0.5"}}},
      {"hypergradient", {{"max_lr", "0.01"}}},
      {"adaptive", {{"growth", "off"}, {"growth_factor", "2"}}},
      {"adaptive", {{"growth", "off"}, {"fall_limit", "2"}}},
      {"adaptive", {{"horizon_free", "on"}, {"reference_steps", "2"}}},
      {"adaptive", {{"guards", "off"}, {"guard_slack", "2"}}},
      {"linear", {{"warmup_start", "0.1"}}}};
  for (const auto& contradiction : contradictions) {
    const std::string error = option_error(contradiction.first, contradiction.second);
    const bool refused = contains(error, str("schedule '", contradiction.first, "': "));
    CHECK_MESSAGE(refused, contradiction.first << ": " << error);
  }
  CHECK(option_error("plateau", {{"window", "5"}, {"source", "training"}}).empty());
  CHECK(option_error("linear", {{"warmup", "5"}, {"warmup_start", "0.1"}}).empty());
}

TEST_CASE("options: texts are split at the first '=', and no key may come twice") {
  const ScheduleOptions options = parse_schedule_options({"factor=0.5", "every=3", "odd=a=b"});
  CHECK(options == ScheduleOptions{{"factor", "0.5"}, {"every", "3"}, {"odd", "a=b"}});
  for (const std::string text : {"factor", "=0.5", ""}) {
    INFO("'", text, "'");
    CHECK_THROWS_WITH(parse_schedule_options({text}),
                      str("schedule option '", text, "', expected key=value").c_str());
  }
  CHECK_THROWS_WITH(parse_schedule_options({"every=3", "every=3"}),
                    "schedule option 'every=3': every is given twice, expected once");
}

TEST_CASE("options: the help names every schedule and every option with a default that is valid") {
  const std::string help = schedule_help();
  for (const std::string& name : schedule_names()) {
    INFO(name);
    CHECK(contains(str("\n", help), str("\n", name, ": ")));
    const std::string unknown = option_error(name, {{"?", ""}});
    std::string keys = unknown.substr(unknown.find("one of: ") + 8);
    for (size_t comma = 0; comma != std::string::npos;) {
      comma = keys.find(", ");
      const std::string key = keys.substr(0, comma);
      keys = comma == std::string::npos ? "" : keys.substr(comma + 2);
      INFO(key);
      const size_t at =
          help.find(str("  ", key, "="), key.find("warmup") == 0 ? 0 : help.find(name));
      REQUIRE(at != std::string::npos);
      const size_t value = at + key.size() + 3;
      const std::string fallback = help.substr(value, help.find(' ', value) - value);
      ScheduleOptions options{{key, fallback}};
      if (key == "warmup_start") options["warmup"] = "1";
      if (name == "plateau" && key == "window") options["source"] = "training";
      CHECK(option_error(name, options) == "");
    }
  }
}

TEST_CASE("adaptive: it asks for no rate, and starts where it is told") {
  const auto first = [](double rate, const ScheduleOptions& options) {
    return own_first_rate(make_rule("adaptive", rate, options));
  };
  CHECK(first(1e-5, {}) == first(10, {}));
  CHECK(first(1e-3, {{"start", "1e-6"}}) == 1e-6);
  CHECK(first(1e-3, {{"max_rate", "1e-5"}}) == 1e-5);
}

TEST_CASE("adaptive: without feedback after the probe it is a linear decay") {
  const RecordedRun disturbed{.has_spike = true, .has_bad_losses = true};
  const Ran full = run_adaptive({}, disturbed);
  const Ran plain = run_adaptive({{"growth", "off"}, {"guards", "off"}}, disturbed);
  CHECK(full.rule.growths > 0);
  CHECK(full.rule.rollbacks > 0);
  CHECK(plain.rule.growths == 0);
  CHECK(plain.rule.rollbacks == 0);
  CHECK(plain.rule.cuts == 0);
  CHECK(plain.rule.amplitude == plain.rule.peak);
  CHECK(plain.highest <= plain.rule.peak);
  CHECK(plain.rule.peak == full.rule.peak);
  CHECK(run_adaptive({{"growth", "off"}}, disturbed).rule.growths == 0);
  CHECK(run_adaptive({{"growth", "off"}}, disturbed).rule.rollbacks > 0);
  CHECK(run_adaptive({{"guards", "off"}}, disturbed).rule.rollbacks == 0);
  CHECK(run_adaptive({{"guards", "off"}}, disturbed).rule.growths > 0);
}

TEST_CASE("adaptive: horizon-free it does not anneal, though the length is known") {
  const Ran free = run_adaptive({{"horizon_free", "on"}}, {});
  CHECK(free.rule.horizon == 0);
  CHECK(free.rule.window == 25);
  CHECK(free.last == free.rule.amplitude);
  CHECK(run_adaptive({}, {}).last < 1e-2 * run_adaptive({}, {}).rule.amplitude);
}

TEST_CASE("adaptive: with an accuracy weight, falling accuracy at an even loss cuts the rate") {
  const auto cuts = [](const char* weight) {
    Rule rule = make_rule("adaptive", 1e-3, {{"accuracy_weight", weight}});
    StepSignals signals;
    signals.total_steps = 1000;
    testing::Random random{3};
    for (; signals.step < 600; ++signals.step) {
      const double fall = signals.step > 400 ? 0.02 * static_cast<double>(signals.step - 400) : 0;
      signals.loss = 1 + 0.02 * random.normal();
      signals.correct_fraction = clipped(0.9 - fall, 0, 1);
      signals.gradient_norm_squared = signals.update_norm_squared = 1;
      signals.gradient_dot_update =
          signals.step < 60 ? 0.9 - 0.012 * static_cast<double>(signals.step) : 0;
      update(rule, signals);
    }
    return rule.adaptive.cuts + rule.adaptive.rollbacks;
  };
  CHECK(cuts("0") == 0);
  CHECK(cuts("3") > 0);
}
