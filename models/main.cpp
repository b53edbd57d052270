// The main function of each model binary; FLYBALL_TASK is its name.

#include "models/process_settings.h"
#include "models/tasks.h"
#include "models/training_run.h"

int main(int argc, char** argv) {
  flyball::keep_freed_memory();
  flyball::flush_subnormals();
  const std::unique_ptr<flyball::Task> task = flyball::FLYBALL_TASK();
  return flyball::run_program(*task, argc, argv);
}
