#include "schedulers/schedules.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "kernels/error.h"
#include "schedulers/option_table.h"
#include "schedulers/rules/arithmetic.h"

namespace flyball {
namespace {

using Words = std::vector<std::string>;

Words off_on() { return {"off", "on"}; }
constexpr OptionRange kFactor{0, 1, true, true};
constexpr OptionRange kEpochs{1, 1e6};

// What --schedule NAME needs: a rule without its type.
struct Schedule {
  std::string name, line;
  Words keys, help;
  std::function<Rule(double rate, const ScheduleOptions& options, const std::string& where)> make;
};

bool has(const ScheduleOptions& options, const std::string& key) { return options.count(key) > 0; }

void refuse(bool contradictory, const std::string& where, const std::string& reason) {
  if (contradictory) throw Error(where + reason);
}

template <class T>
void set_all(T& target, const std::vector<Option<T>>& table, const ScheduleOptions& options,
             const std::string& where) {
  for (const Option<T>& option : table) {
    const auto given = options.find(option.key);
    if (given != options.end()) set_option(target, option, given->second, where);
  }
}

// `finish(settings, rate, options, where)` checks what the table cannot and returns the rule.
template <class T, class Finish>
Schedule schedule(const std::string& name, const std::string& line,
                  const std::vector<Option<T>>& table, Finish finish) {
  Schedule made{.name = name, .line = line, .keys = {}, .help = {}, .make = {}};
  for (const Option<T>& option : table) {
    made.keys.push_back(option.key);
    made.help.push_back(describe(option));
  }
  made.make = [table, finish](double rate, const ScheduleOptions& options,
                              const std::string& where) {
    T settings;
    set_all(settings, table, options, where);
    return Rule(finish(settings, rate, options, where));
  };
  return made;
}

// For rules that only need their rate.
constexpr auto kSetRate = [](auto rule, double rate, const ScheduleOptions&, const std::string&) {
  rule.rate = rate;
  return rule;
};

Schedule constant() {
  return schedule<ConstantRule>("constant", "the rate never changes", {}, kSetRate);
}

Schedule linear() {
  return schedule<LinearRule>("linear", "falls to 0 at the end of the run", {}, kSetRate);
}

template <class R>
Option<R> as_epochs_option() {
  return {"as_epochs", &R::as_epochs, OptionRange{0, 1e6},
          "decays over the whole run as over so many epochs; 0: as many as there are"};
}

Schedule step_decay() {
  using R = StepDecayRule;
  return schedule<R>("step", "multiplied by a factor every few epochs",
                     {{"factor", &R::factor, kFactor, "the factor"},
                      {"every", &R::every, kEpochs, "epochs between two decays"},
                      as_epochs_option<R>()},
                     kSetRate);
}

Schedule exponential() {
  using R = ExponentialRule;
  return schedule<R>("exponential", "decays by the same share every step",
                     {{"decay", &R::decay, kFactor, "factor over `steps` steps"},
                      {"steps", &R::steps, kAtLeastOne, "steps that take the factor"},
                      {"staircase", &R::staircase, off_on(), "decays once in `steps` steps"},
                      as_epochs_option<R>()},
                     [](R rule, double rate, const ScheduleOptions&, const std::string&) {
                       rule.rate = rate;
                       rule.log2_decay = std::log2(rule.decay);
                       return rule;
                     });
}

// A lowest rate that is above the first one would be a rise.
template <class R>
R with_rate_above_min(R rule, double rate, const std::string& where) {
  refuse(rule.min_lr > rate, where,
         str("min_lr is ", rule.min_lr, ", expected at most the rate ", rate));
  rule.rate = rate;
  return rule;
}

Schedule cosine() {
  using R = CosineRule;
  return schedule<R>("cosine", "half a cosine, to min_lr at the end of the run",
                     {{"min_lr", &R::min_lr, kNotNegative, "rate at the end"}},
                     [](R rule, double rate, const ScheduleOptions&, const std::string& where) {
                       return with_rate_above_min(rule, rate, where);
                     });
}

Schedule one_cycle() {
  using R = OneCycleRule;
  return schedule<R>(
      "one-cycle", "rises to the rate, then falls far below the start, along half cosines",
      {{"pct_start", &R::pct_start, kShare, "share of the run that rises"},
       {"div_factor", &R::div_factor, {OptionRange{1, HUGE_VAL, false, true}}, "rate / first rate"},
       {"final_div_factor",
        &R::final_div_factor,
        {OptionRange{1, HUGE_VAL, false, true}},
        "first rate / last rate"}},
      [](R rule, double rate, const ScheduleOptions&, const std::string&) {
        rule.max_lr = rate;
        return rule;
      });
}

Schedule plateau() {
  using R = PlateauRule;
  return schedule<R>(
      "plateau", "cut where the metric has stopped getting better (PyTorch's ReduceLROnPlateau)",
      {{"mode", &R::seeks_highest, Words{"min", "max"}, "min: the loss falls, max: accuracy rises"},
       {"factor", &R::factor, kFactor, "factor of a cut"},
       {"patience", &R::patience, kCount, "values without a new best that are endured"},
       {"threshold", &R::threshold, kNotNegative, "by how much a new best has to be better"},
       {"threshold_mode", &R::relative, Words{"abs", "rel"}, "absolute, or a share of the best"},
       {"cooldown", &R::cooldown, kCount, "values after a cut that do not count"},
       {"min_lr", &R::min_lr, kNotNegative, "lowest rate"},
       {"eps", &R::eps, kNotNegative, "smallest cut that is made"},
       {"source", &R::watches_training, Words{"validation", "training"}, "whose metric"},
       {"window", &R::window, kCount, "steps whose mean is a training value; 0: an epoch"}},
      [](R rule, double rate, const ScheduleOptions& options, const std::string& where) {
        refuse(has(options, "window") && rule.watches_training == 0, where,
               "window is for source=training, and source is validation");
        return with_rate_above_min(rule, rate, where);
      });
}

Schedule greedy() {
  using R = GreedyRule;
  return schedule<R>(
      "greedy", "raised while the mean loss sets new bests, cut where it does not (GreedyLR)",
      {{"factor", &R::factor, kFactor, "factor of a cut, divisor of a rise"},
       {"patience", &R::patience, kCount, "steps in a row that are waited"},
       {"threshold", &R::threshold, kNotNegative, "by how much a new best has to be better"},
       {"threshold_mode", &R::relative, Words{"abs", "rel"}, "absolute, or a share of the best"},
       {"window", &R::window, OptionRange{1, R::kLargestWindow}, "losses in the mean"},
       {"cooldown", &R::cooldown, kCount, "steps after a cut that do not count"},
       {"hold", &R::hold, kCount, "steps after a rise that do not count"},
       {"min_lr", &R::min_lr, kNotNegative, "lowest rate"},
       {"max_lr", &R::max_lr, kPositive, "highest rate"},
       {"eps", &R::eps, kNotNegative, "smallest change that is made"},
       {"reset_start", &R::reset_start, kAtLeastOne, "cuts at min_lr until all starts again"}},
      [](R rule, double rate, const ScheduleOptions&, const std::string& where) {
        refuse(rule.min_lr > rule.max_lr, where,
               str("min_lr is ", rule.min_lr, ", expected at most max_lr ", rule.max_lr));
        rule.rate = rule.start = rate;
        return rule;
      });
}

Schedule hypergradient() {
  using R = HypergradientRule;
  return schedule<R>("hypergradient", "the rate descends its own gradient (Baydin et al. 2018)",
                     {{"beta", &R::beta, kNotNegative, "rate of the rate"},
                      {"min_lr", &R::min_lr, kNotNegative, "lowest rate"},
                      {"max_lr", &R::max_lr, kPositive, "highest rate"}},
                     [](R rule, double rate, const ScheduleOptions&, const std::string& where) {
                       refuse(!(rule.min_lr <= rate && rate <= rule.max_lr), where,
                              str("the rate is ", rate, ", expected min_lr ", rule.min_lr,
                                  " to max_lr ", rule.max_lr));
                       rule.rate = rate;
                       return rule;
                     });
}

Schedule adaptive() {
  using R = AdaptiveOptions;
  constexpr OptionRange kAtLeastOneFactor{1, HUGE_VAL, false, true};
  return schedule<R>(
      "adaptive", "finds its rate while training, whatever --lr is",
      {{"horizon_free", &R::horizon_free, off_on(), "as if the run's length were unknown"},
       {"growth", &R::grows, off_on(), "rises above the probe's peak on evidence"},
       {"guards", &R::guarded, off_on(), "cuts and goes back where the loss rises or explodes"},
       {"accuracy_weight", &R::accuracy_weight, OptionRange{0, 1e6},
        "watches loss + this * share of wrong answers"},
       {"growth_factor", &R::growth, kAtLeastOneFactor, "of one growth"},
       {"growth_limit", &R::growth_limit, kAtLeastOneFactor, "most multiples of the peak"},
       {"fall_limit", &R::fall_limit, kAtLeastOneFactor,
        "the same where the loss falls, in short runs"},
       {"reference_steps", &R::reference_steps, OptionRange{0, 1e9},
        "run length whose amplitude is the peak"},
       {"growth_until", &R::growth_until, OptionRange{0, 1}, "share of the run that may grow"},
       {"cut", &R::cut, OptionRange{0, 1, true, false}, "factor on a rise or a plateau"},
       {"guard_slack", &R::guard_slack, kPositive, "multiplies the rise that is allowed"},
       {"overshoot", &R::overshoot, kPositive, "peak / rate at the end of the probe"},
       {"curvature_share", &R::curvature_share, kShare, "share of the cosine that ends the probe"},
       {"probe_limit", &R::probe_limit, kAtLeastOne, "most steps of the probe"},
       {"start", &R::start, OptionRange{0, 1, true, false}, "first rate, too low to harm"},
       {"window", &R::window, kCount, "steps of evidence; 0: from the run's length"},
       {"max_rate", &R::max_rate, OptionRange{0, 1, true, false}, "highest rate"}},
      [](const R& settings, double, const ScheduleOptions& options, const std::string& where) {
        for (const char* key : {"growth_factor", "growth_limit", "fall_limit", "growth_until"}) {
          refuse(settings.grows == 0 && has(options, key), where,
                 str(key, " is for growth=on, and growth is off"));
        }
        for (const char* key : {"fall_limit", "reference_steps"}) {
          refuse(settings.horizon_free != 0 && has(options, key), where,
                 str(key, " is for horizon_free=off, and horizon_free is on"));
        }
        refuse(settings.guarded == 0 && has(options, "guard_slack"), where,
               "guard_slack is for guards=on, and guards is off");
        AdaptiveOptions limited = settings;
        limited.start = smaller(limited.start, limited.max_rate);
        return make_adaptive(limited);
      });
}

const std::vector<Schedule>& schedules() {
  static const std::vector<Schedule> all{constant(),      linear(),    step_decay(), exponential(),
                                         cosine(),        one_cycle(), plateau(),    greedy(),
                                         hypergradient(), adaptive()};
  return all;
}

// Every rule has these two.
constexpr const char* kWarmUpExpected =
    "a whole number of steps, or a share of them, 0 < value < 1";
Option<WarmUp> warm_up_start() {
  return {"warmup_start", &WarmUp::start, OptionRange{0, 1, false, true},
          "the warm-up's first rate / the rule's first rate"};
}

WarmUp warm_up(const ScheduleOptions& options, const std::string& where) {
  WarmUp made;
  const Option<WarmUp> start = warm_up_start();
  set_all(made, {start}, options, where);
  const auto given = options.find("warmup");
  refuse(given == options.end() && has(options, start.key), where,
         "warmup_start is for a warm-up, and warmup is not given");
  if (given == options.end()) return made;
  const double value = number_in(given->second).value_or(-1);
  if (kShare.contains(value)) {
    made.share = value;
  } else if (kCount.contains(value) && value == std::floor(value)) {
    made.steps = static_cast<int64_t>(value);
  } else {
    throw Error(str(where, "warmup is '", given->second, "', expected ", kWarmUpExpected));
  }
  return made;
}

}  // namespace

std::vector<std::string> schedule_names() {
  Words names;
  for (const Schedule& schedule : schedules()) names.push_back(schedule.name);
  return names;
}

std::string schedule_help() {
  std::string text;
  for (const Schedule& schedule : schedules()) {
    text += schedule.name + ": " + schedule.line + "\n";
    for (const std::string& line : schedule.help) text += "  " + line + "\n";
  }
  return text + "every schedule:\n  warmup=0 (" + kWarmUpExpected +
         "): rises linearly before the rule starts\n  " + describe(warm_up_start()) + "\n";
}

ScheduleOptions parse_schedule_options(const std::vector<std::string>& texts) {
  ScheduleOptions options;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw Error(str("schedule option '", text, "', expected key=value"));
    }
    const std::string key = text.substr(0, equals);
    if (!options.emplace(key, text.substr(equals + 1)).second) {
      throw Error(str("schedule option '", text, "': ", key, " is given twice, expected once"));
    }
  }
  return options;
}

Rule make_rule(const std::string& name, double rate, const ScheduleOptions& options) {
  if (!(rate > 0) || !is_finite(rate))
    throw Error(str("learning rate is ", rate, ", expected a positive number"));
  for (const Schedule& schedule : schedules()) {
    if (schedule.name != name) continue;
    Words keys = schedule.keys;
    keys.insert(keys.end(), {"warmup", warm_up_start().key});
    for (const auto& [key, value] : options) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        throw Error(str("schedule '", name, "': option '", key,
                        "' is unknown, expected one of: ", joined(keys, ", ")));
      }
    }
    const std::string where = str("schedule '", name, "': ");
    Rule rule = schedule.make(rate, options, where);
    rule.warm_up = warm_up(options, where);
    return rule;
  }
  throw Error(
      str("schedule '", name, "' is unknown, expected one of: ", joined(schedule_names(), ", ")));
}

}  // namespace flyball
