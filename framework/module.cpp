#include "framework/module.h"

namespace flyball {
namespace {

struct Collector : Visitor {
  std::vector<Named<Parameter>> parameters;
  std::vector<Named<Tensor>> buffers;

 protected:
  void on_parameter(const std::string& name, Parameter& parameter) override {
    parameters.push_back({name, &parameter});
  }
  void on_buffer(const std::string& name, Tensor& buffer) override {
    buffers.push_back({name, &buffer});
  }
};

Collector collect(Module& module) {
  Collector collector;
  module.visit(collector);
  return collector;
}

}  // namespace

void Visitor::operator()(const std::string& name, Module& module) {
  const std::string outer = prefix_;
  prefix_ = outer + name + '.';
  module.visit(*this);
  prefix_ = outer;
}

void Visitor::operator()(const std::string& name, Parameter& parameter) {
  if (parameter.defined()) on_parameter(prefix_ + name, parameter);
}

void Visitor::operator()(const std::string& name, Tensor& buffer) {
  on_buffer(prefix_ + name, buffer);
}

std::vector<Named<Parameter>> parameters_of(Module& module) { return collect(module).parameters; }
std::vector<Named<Tensor>> buffers_of(Module& module) { return collect(module).buffers; }

int64_t parameter_count(Module& module) {
  int64_t count = 0;
  for (const auto& parameter : parameters_of(module))
    count += parameter.item->variable.value().count();
  return count;
}

}  // namespace flyball
