#include "models/tasks.h"

namespace flyball {

std::unique_ptr<Task> make_task(const std::string& name) {
  struct Entry {
    const char* name;
    std::unique_ptr<Task> (*make)();
  };
  std::string names;
  for (const Entry& entry :
       {Entry{"mnist_mlp", mnist_mlp}, Entry{"mnist_cnn", mnist_cnn},
        Entry{"cifar10_resnet18", cifar10_resnet18}, Entry{"imdb_bilstm", imdb_bilstm}}) {
    if (name == entry.name) return entry.make();
    names += (names.empty() ? "" : ", ") + std::string(entry.name);
  }
  throw Error(str("model '", name, "' is unknown, expected one of: ", names));
}

}  // namespace flyball
