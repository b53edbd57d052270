#pragma once

#include <cstdint>
#include <new>

#include "schedulers/rules/adaptive.h"
#include "schedulers/rules/constant.h"
#include "schedulers/rules/cosine.h"
#include "schedulers/rules/exponential.h"
#include "schedulers/rules/greedy.h"
#include "schedulers/rules/host_device.h"
#include "schedulers/rules/hypergradient.h"
#include "schedulers/rules/linear.h"
#include "schedulers/rules/one_cycle.h"
#include "schedulers/rules/plateau.h"
#include "schedulers/rules/signals.h"
#include "schedulers/rules/step_decay.h"
#include "schedulers/rules/warm_up.h"

namespace flyball {

enum class RuleKind : int32_t {
  kConstant = 0,
  kLinear = 1,
  kAdaptive = 2,
  kStepDecay = 3,
  kExponential = 4,
  kCosine = 5,
  kOneCycle = 6,
  kPlateau = 7,
  kGreedy = 8,
  kHypergradient = 9
};

// One learning-rate rule with its state, and the warm-up in front of it: plain bytes that live in
// device memory and are saved as they are; those that the rule does not use are 0. Made on the
// host.
struct Rule {
  RuleKind kind = RuleKind::kConstant;
  int32_t reserved = 0;
  WarmUp warm_up;
  union {
    unsigned char bytes[sizeof(GreedyRule)];  // the largest
    ConstantRule constant;
    LinearRule linear;
    AdaptiveRule adaptive;
    StepDecayRule step_decay;
    ExponentialRule exponential;
    CosineRule cosine;
    OneCycleRule one_cycle;
    PlateauRule plateau;
    GreedyRule greedy;
    HypergradientRule hypergradient;
  };
  Rule() : Rule(ConstantRule{}) {}
  Rule(const ConstantRule& rule) : Rule(RuleKind::kConstant, rule) {}
  Rule(const LinearRule& rule) : Rule(RuleKind::kLinear, rule) {}
  Rule(const AdaptiveRule& rule) : Rule(RuleKind::kAdaptive, rule) {}
  Rule(const StepDecayRule& rule) : Rule(RuleKind::kStepDecay, rule) {}
  Rule(const ExponentialRule& rule) : Rule(RuleKind::kExponential, rule) {}
  Rule(const CosineRule& rule) : Rule(RuleKind::kCosine, rule) {}
  Rule(const OneCycleRule& rule) : Rule(RuleKind::kOneCycle, rule) {}
  Rule(const PlateauRule& rule) : Rule(RuleKind::kPlateau, rule) {}
  Rule(const GreedyRule& rule) : Rule(RuleKind::kGreedy, rule) {}
  Rule(const HypergradientRule& rule) : Rule(RuleKind::kHypergradient, rule) {}

 private:
  template <class R>
  Rule(RuleKind its_kind, const R& rule) : kind(its_kind), bytes{} {
    static_assert(sizeof(R) <= sizeof(bytes));
    new (bytes) R(rule);
  }
};

// The rate of the rule's own first step, without a warm-up.
FLYBALL_HOST_DEVICE inline double own_first_rate(const Rule& rule) {
  switch (rule.kind) {
    case RuleKind::kConstant:
      return rule.constant.first_rate();
    case RuleKind::kLinear:
      return rule.linear.first_rate();
    case RuleKind::kAdaptive:
      return rule.adaptive.first_rate();
    case RuleKind::kStepDecay:
      return rule.step_decay.first_rate();
    case RuleKind::kExponential:
      return rule.exponential.first_rate();
    case RuleKind::kCosine:
      return rule.cosine.first_rate();
    case RuleKind::kOneCycle:
      return rule.one_cycle.first_rate();
    case RuleKind::kPlateau:
      return rule.plateau.first_rate();
    case RuleKind::kGreedy:
      return rule.greedy.first_rate();
    case RuleKind::kHypergradient:
      return rule.hypergradient.first_rate();
  }
  return 0;
}

// Runs the rule itself, after the warm-up.
FLYBALL_HOST_DEVICE inline RateDecision own_update(Rule& rule, const StepSignals& signals) {
  switch (rule.kind) {
    case RuleKind::kConstant:
      return rule.constant.update(signals);
    case RuleKind::kLinear:
      return rule.linear.update(signals);
    case RuleKind::kAdaptive:
      return rule.adaptive.update(signals);
    case RuleKind::kStepDecay:
      return rule.step_decay.update(signals);
    case RuleKind::kExponential:
      return rule.exponential.update(signals);
    case RuleKind::kCosine:
      return rule.cosine.update(signals);
    case RuleKind::kOneCycle:
      return rule.one_cycle.update(signals);
    case RuleKind::kPlateau:
      return rule.plateau.update(signals);
    case RuleKind::kGreedy:
      return rule.greedy.update(signals);
    case RuleKind::kHypergradient:
      return rule.hypergradient.update(signals);
  }
  return {};
}

// The rate of the very first step.
FLYBALL_HOST_DEVICE inline double first_rate(const Rule& rule) {
  return own_first_rate(rule) * rule.warm_up.first_factor();
}

// Runs the rule on the signals of the step that just ended; the answer holds from the next step on.
FLYBALL_HOST_DEVICE inline RateDecision update(Rule& rule, const StepSignals& signals) {
  const int64_t warm_up = rule.warm_up.length(signals.total_steps);
  if (warm_up == 0) return own_update(rule, signals);
  if (signals.step < warm_up) {
    const double factor = rule.warm_up.factor(signals.step + 1, warm_up);
    return {own_first_rate(rule) * factor, Action::kNone};
  }
  StepSignals seen = signals;
  seen.step -= warm_up;
  seen.epoch = seen.step / seen.steps_per_epoch;
  if (seen.total_steps > 0) {
    seen.total_steps = seen.total_steps > warm_up ? seen.total_steps - warm_up : 1;
  }
  return own_update(rule, seen);
}

// Whether the optimizer has to compute <g, u>, |g|^2 and |u|^2, and whether it has to keep a copy
// of the weights.
FLYBALL_HOST_DEVICE inline bool reads_gradient_sums(RuleKind kind) {
  return kind == RuleKind::kAdaptive || kind == RuleKind::kHypergradient;
}
FLYBALL_HOST_DEVICE inline bool rolls_back(RuleKind kind) { return kind == RuleKind::kAdaptive; }

}  // namespace flyball
