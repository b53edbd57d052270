#include "schedulers/schedules.h"

#include "kernels/error.h"
#include "schedulers/rules/learning_rate_state.h"

namespace flyball {

std::vector<std::string> schedule_names() { return {"constant", "linear", "adaptive"}; }

Rule make_rule(const std::string& name, double rate) {
  if (!(rate > 0) || !is_finite(rate))
    throw Error(str("learning rate is ", rate, ", expected a positive number"));
  if (name == "constant") return ConstantRule{rate};
  if (name == "linear") return LinearRule{rate};
  if (name == "adaptive") return make_adaptive(rate);
  std::string names;
  for (const std::string& known : schedule_names()) names += (names.empty() ? "" : ", ") + known;
  throw Error(str("schedule '", name, "' is unknown, expected one of: ", names));
}

}  // namespace flyball
