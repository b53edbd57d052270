#pragma once

#include "models/task.h"

namespace flyball {

std::unique_ptr<Task> mnist_mlp();
std::unique_ptr<Task> mnist_cnn();
std::unique_ptr<Task> cifar10_resnet18();
std::unique_ptr<Task> imdb_bilstm();

}  // namespace flyball
