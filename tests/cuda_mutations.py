#!/usr/bin/env python3
"""The tests on the simulated GPU report broken kernels: each mutation below, compiled as PTX and linked in place of the kernel's
file, fails the kernel tests with the text expected of it; without a mutation they pass.

Usage: cuda_mutations.py BUILD RUNTIME_OF_THE_SIMULATED_GPU [PART OF A MUTATION'S NAME]
"""
import dataclasses
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMIT_S = 100  # of one program; a passing run of the longest operation takes half of it
RACE = "race in shared memory"
COLUMN_SUMS = "*those of CUDA are the sums*"
WRONG = r"ERROR: CHECK\( fault\.empty\(\)"


@dataclasses.dataclass
class Mutation:
    name: str
    kernel: str  # file of kernels/cuda that is compiled
    operation: str  # whose cases run
    find: str  # occurs once in all of the kernels
    put: str
    report: str  # a regular expression
    test: str = "*every case*"


MUTATIONS = [
    Mutation("tiles: no barrier between two stages", "conv2d_forward", "conv2d",
             "__syncthreads();  // the next stage is complete, and nobody reads this one any more", "", RACE),
    Mutation("sum of a block: no barrier before the second use", "softmax_cross_entropy",
             "softmax_cross_entropy", "__syncthreads();  // of_warps may still be read by the call before", "", RACE),
    Mutation("last block: its results are not fenced before the ticket", "softmax_cross_entropy",
             "softmax_cross_entropy", "__threadfence();  // this thread's results before the ticket", "", "race between blocks in global memory"),
    Mutation("adam: no barrier before the lanes are added", "adam", "adam",
             "__syncthreads();         // the sums of all lane blocks are there", "", RACE),
    Mutation("adam: the chunks' sums are added in reverse", "adam", "adam",
             "for (int i = threadIdx.x; i < count; i += kKinds) total += tile[i];",
             "for (int i = count - kKinds + threadIdx.x; i >= 0; i -= kKinds) total += tile[i];", "ERROR: CHECK", "*adam and sgd give*"),
    Mutation("sgd: the sums of a skipped step count", "learning_rate", "sgd", "known && course_of(f) == StepCourse::update", "known", WRONG),
    Mutation("rules: a shorter polynomial for the cosine", "learning_rate", "sgd", "near_half ? 17 : 16", "near_half ? 17 : 14",
             "ERROR: CHECK", "*every schedule gives*"),
    Mutation("elementwise: one element too many", "elementwise", "elementwise",
             "const int64_t left = elements - begin;", "const int64_t left = elements - begin + 1;", "out of bounds|guard"),
    Mutation("dropout: keeps the largest word that it must drop", "dropout", "dropout",
             "words.word[j] > pass.last_dropped", "words.word[j] >= pass.last_dropped", WRONG),
    Mutation("split sums: the last one is dropped", "conv2d_forward", "conv2d",
             "for (int s = 0; s < sum.splits; ++s) total +=", "for (int s = 0; s < sum.splits - 1; ++s) total +=", WRONG),
    Mutation("pooling: the last of equal elements wins", "pool2d", "pool2d",
             "return v > best || v != v;", "return v >= best || v != v;", WRONG),
    Mutation("convolution: the padding's last column is read from the next row",
             "conv2d_forward", "conv2d", "static_cast<unsigned>(x) < static_cast<unsigned>(windows.width)",
             "static_cast<unsigned>(x) <= static_cast<unsigned>(windows.width)", "out of bounds|" + WRONG),
    Mutation("softmax: the last of equal logits counts as the answer",
             "softmax_cross_entropy", "softmax_cross_entropy", "first_top = min(first_top,", "first_top = max(first_top,", WRONG),
    Mutation("log: a step is written one place further", "adam", "adam",
             "log[signals.step % log_capacity]", "log[(signals.step + 1) % log_capacity]", WRONG),
    Mutation("lstm: the blocks do not wait for each other's y", "lstm_persistent", "lstm",
             "grid.sync();  // every block's y of this step is there", "__syncthreads();", "race between blocks in global memory|" + WRONG),
    Mutation("lstm: no barrier before the partial sums are read", "lstm_persistent", "lstm",
             "}\n      __syncthreads();  // the partial sums are complete\n      for", "}\n      for", RACE),
    Mutation("lstm: the state runs on past a sequence's length", "lstm_persistent", "lstm",
             "const bool running = t < cell.length;", "const bool running = true;", WRONG),
    Mutation("lstm, step by step: the state runs on past a sequence's length", "lstm_steps", "lstm",
             "T gates[4] = {}, c = 0, y = 0;\n  if (cell.t < sequence_length(task.lengths, cell.b, s.time)) {",
             "T gates[4] = {}, c = 0, y = 0;\n  if (cell.t < s.time) {", WRONG),
    Mutation("lstm: padding is not masked", "lstm", "lstm", "mask.masked[i] = real ? mask.x[i] : T{0};",
             "mask.masked[i] = real ? T{0} : mask.x[i];", WRONG),
    Mutation("embedding: a position counts itself", "embedding", "embedding",
             "sort.waiting[at] < i ? 1 : 0", "sort.waiting[at] <= i ? 1 : 0", "out of bounds|" + WRONG),
    Mutation("transpose: no barrier before the tile is read", "copy", "copy",
             "column];\n  }\n  __syncthreads();  // the tile is complete", "column];\n  }", RACE),
    Mutation("tensor tiles: no barrier before a stage is read", "conv2d_forward_tensor", "conv2d",
             "__syncthreads();            // everybody's has, and nobody reads the next stage any more", "", RACE, COLUMN_SUMS),
    Mutation("tensor tiles: a stage is read before its copies have arrived", "conv2d_forward_tensor", "conv2d",
             "wait_copies<kAhead - 1>();  // this thread's part", "wait_copies<kAhead>();  // this thread's part", "ERROR: |" + RACE, COLUMN_SUMS),
    Mutation("batch norm: no barrier between the halves of a tree", "batch_norm", "batch_norm",
             "__syncthreads();  // 2 * half sums are complete", "", RACE),
    Mutation("batch norm: the last group counts as a whole one", "batch_norm", "batch_norm",
             "(last ? pass.last_rows : pass.group_rows) * (delta * delta)", "pass.group_rows * (delta * delta)", WRONG),
    Mutation("batch norm: rows beyond the last one are read", "batch_norm", "batch_norm",
             "return row < end ? slot : Slot{slot.begin};", "return slot;", "out of bounds|" + WRONG),
    Mutation("batch norm: sums take dy where the ReLU was 0", "batch_norm_backward", "batch_norm",
             "gate.close(y[i], x[i], mean, dz[i]);  // rows", "// rows", WRONG),
    Mutation("batch norm: the gate by x leaves out beta", "batch_norm_backward", "batch_norm",
             "* scale.at[j] + beta.at[j] : y.at[j]", "* scale.at[j] : y.at[j]", WRONG),
]
CONTROL = Mutation("adam as it is", "adam", "adam", "", "", r"\| +0 failed")


class Bench:
    def __init__(self, build, runtime, folder):
        self.build, self.runtime, self.folder = pathlib.Path(build).resolve(), pathlib.Path(runtime).resolve(), pathlib.Path(folder)
        for part in ("kernels", "schedulers/rules"):
            shutil.copytree(ROOT / part, self.folder / part)
        # The last path of an object's or a program's chain of commands is its own.
        self.link = shlex.split(self.command("bin/tests_cuda").removeprefix(": && ").removesuffix(" && :"))

    def command(self, target):
        listed = subprocess.run(["ninja", "-C", self.build, "-t", "commands", target], check=True, capture_output=True, text=True)
        return listed.stdout.strip().splitlines()[-1]

    def compile(self, kernel):
        words = shlex.split(self.command(f"kernels/CMakeFiles/flyball_kernels.dir/cuda/{kernel}.cu.o"))
        words = words[next(i for i, word in enumerate(words) if word.endswith("nvcc")) :]
        kept = [word for word in words if not word.startswith("--generate-code=")]
        for flag in ("-MT", "-MF", "-o"):
            at = kept.index(flag)
            del kept[at : at + 2]
        kept.remove("-MD")
        kept = [word.replace(str(ROOT), str(self.folder)) if word.startswith("-I") or word.endswith(".cu") else word for word in kept]
        made = self.folder / f"{kernel}.o"
        subprocess.run([*kept, "-gencode", "arch=compute_80,code=compute_80", "-o", made], check=True, cwd=self.build)
        program = self.folder / "tests_cuda"
        words = list(self.link)
        words[words.index("-o") + 1] = str(program)
        # Before the library, whose own copy of the kernel then is not taken.
        subprocess.run([*words[:1], str(made), *words[1:]], check=True, cwd=self.build)
        return program

    def run(self, mutation):
        """What is wrong with it, or nothing."""
        path = None
        if mutation.find:
            files = [file for pattern in ("*.h", "*.cu*") for file in self.folder.rglob(pattern)]
            found = [file for file in files for _ in range(file.read_text().count(mutation.find))]
            if len(found) != 1:
                return f"{len(found)} times, expected once: {mutation.find}"
            path, original = found[0], found[0].read_text()
        try:
            if path:
                path.write_text(original.replace(mutation.find, mutation.put))
            program = self.compile(mutation.kernel)
        finally:
            if path:
                path.write_text(original)
        environment = {**os.environ, "LD_PRELOAD": str(self.runtime), "FLYBALL_ALLOCATOR": "passthrough", "FLYBALL_TEST_ONCE": "1",
                       "FLYBALL_TEST_OPERATION": mutation.operation, "SIMULATED_GPU_RACE": "1"}
        result = subprocess.run([program, "--source-file=*test_cuda_*.cpp", f"--test-case={mutation.test}", "--abort-after=1"],
                                env=environment, timeout=LIMIT_S, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wanted = mutation is CONTROL
        if (result.returncode == 0) == wanted and re.search(mutation.report, result.stdout):
            return ""
        return f"exit code {result.returncode}, expected {mutation.report}; it said:\n{result.stdout[:1500]}"


def main(arguments):
    if len(arguments) not in (2, 3):
        raise SystemExit(__doc__)
    chosen = [m for m in [CONTROL, *MUTATIONS] if arguments[2:] == [] or arguments[2] in m.name]
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments[0], arguments[1], folder)
        for mutation in chosen:
            start = time.monotonic()
            try:
                problem = bench.run(mutation)
            except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
                problem = str(error)
            said = "passes" if mutation is CONTROL else "reported"
            print(f"{'NOT ' if problem else ''}{said} in {time.monotonic() - start:.1f} s: {mutation.name}", flush=True)
            if problem:
                failures += 1
                print(" " + problem.replace("\n", "\n "))
    print(f"mutations: {failures} of {len(chosen)} runs are wrong" if failures else f"mutations: all {len(chosen)} runs are right")
    return 1 if failures or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
