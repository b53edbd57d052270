#pragma once

#include <dlfcn.h>

#include <string>

#include "kernels/error.h"

namespace flyball::bench {

// A shared library that is opened at run time and stays open. Throws Error in one line where it or
// a function of it is missing.
class DynamicLibrary {
 public:
  explicit DynamicLibrary(const std::string& name)
      : name_(name), handle_(dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) throw Error(dlerror());
  }

  template <class Function>
  void find(Function*& function, const char* symbol) const {
    function = reinterpret_cast<Function*>(dlsym(handle_, symbol));
    if (function == nullptr) throw Error(str(name_, " has no ", symbol));
  }

 private:
  std::string name_;
  void* handle_;
};

}  // namespace flyball::bench
