#pragma once

#include <string>
#include <vector>

#include "framework/autograd.h"

namespace flyball {

// A trained tensor. `decay`: whether weight decay applies to it (weights yes; biases and norms no).
struct Parameter {
  Variable variable;
  bool decay = true;
  bool defined() const { return variable.defined(); }
};

class Module;

// Walks a module's tensors in a fixed order; names are joined with dots ("conv1.weight").
class Visitor {
 public:
  virtual ~Visitor() = default;
  void operator()(const std::string& name, Module& module);
  void operator()(const std::string& name, Parameter& parameter);  // undefined ones are left out
  void operator()(const std::string& name, Tensor& buffer);  // saved with the model, not trained

 protected:
  virtual void on_parameter(const std::string& name, Parameter& parameter) = 0;
  virtual void on_buffer(const std::string& name, Tensor& buffer) = 0;

 private:
  std::string prefix_;
};

// Something with parameters. Each module has its own typed forward(context, ...); this base only
// lets them be found.
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;
  virtual void visit(Visitor& visitor) = 0;
};

template <class T>
struct Named {
  std::string name;
  T* item;
};

std::vector<Named<Parameter>> parameters_of(Module& module);
std::vector<Named<Tensor>> buffers_of(Module& module);
int64_t parameter_count(Module& module);

}  // namespace flyball
