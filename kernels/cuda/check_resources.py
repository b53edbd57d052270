#!/usr/bin/env python3
"""Compares what the compiler made of every kernel with the budget written above it.

Usage: check_resources.py LIBRARY            registers, stack and spills against `// registers: <= N`; exit code 1 with a line a problem
       check_resources.py --list LIBRARY     the facts, a line of JSON for each kernel, instantiation and architecture
       check_resources.py --self-test LIBRARY NVCC

The facts are those of the machine code itself: an uncompressed fat binary holds one ELF image for each architecture, in which
.nv.info gives a kernel's registers and stack frame (spills lie there) and .nv.shared.KERNEL is its static shared memory.
"""
import dataclasses
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

SOURCES = pathlib.Path(__file__).resolve().parent
REGCOUNT, FRAME_SIZE = 0x2F, 0x11  # attributes of .nv.info
FOUR_BYTE_VALUE, SIZED_VALUE = 3, 4  # and how their values follow
CUDA_MACHINE = 190


@dataclasses.dataclass
class Fact:
    symbol: str
    architecture: str
    registers: int = 0
    frame: int = 0
    shared: int = 0


def facts_of_image(data, start):
    """The kernels of the ELF image at `start`."""
    header = struct.unpack_from("<16sHHIQQQIHHHHHH", data, start)
    section_table, flags, count, names_index = header[6], header[7], header[12], header[13]
    # Since version 8 of the ABI the architecture is in the second byte.
    number = (flags >> 8 if header[0][8] >= 8 else flags) & 0xFF
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, start + section_table + 64 * i) for i in range(count)]

    def text(table, offset):
        begin = start + sections[table][4] + offset
        return data[begin : data.index(b"\0", begin)].decode()

    names = [text(names_index, section[0]) for section in sections]
    facts = {name[6:]: Fact(name[6:], f"sm_{number}") for name in names if name.startswith(".text.")}
    symbols = names.index(".symtab")
    for name, section in zip(names, sections):
        if name.startswith(".nv.shared.") and name[11:] in facts:
            facts[name[11:]].shared = section[5]
        if name != ".nv.info":
            continue
        at, end = start + section[4], start + section[4] + section[5]
        while at < end:
            form, attribute, size = struct.unpack_from("<BBH", data, at)
            if form == SIZED_VALUE and attribute in (REGCOUNT, FRAME_SIZE):
                index, value = struct.unpack_from("<II", data, at + 4)
                name_offset = struct.unpack_from("<I", data, start + sections[symbols][4] + 24 * index)[0]
                fact = facts.get(text(sections[symbols][6], name_offset))
                if fact:
                    setattr(fact, "registers" if attribute == REGCOUNT else "frame", value)
            at += 4 + (size if form == SIZED_VALUE else 0)
    return facts.values()


def facts_of(library):
    data = pathlib.Path(library).read_bytes()
    facts, at = [], data.find(b"\x7fELF")
    while at >= 0:
        if struct.unpack_from("<H", data, at + 18)[0] == CUDA_MACHINE:
            facts += facts_of_image(data, at)
        at = data.find(b"\x7fELF", at + 1)
    return facts


def budgets_of(folder):
    """Budget by kernel's name, None where it has none; the budget is in the comment above __global__."""
    budgets = {}
    for path in sorted([*folder.glob("*.cu"), *folder.glob("*.cuh")]):
        lines = path.read_text().splitlines()
        for i, line in enumerate(lines):
            if not line.startswith("__global__"):
                continue
            declaration = re.sub(r"__launch_bounds__\((?:[^()]|\([^()]*\))*\)", "", " ".join(lines[i : i + 5]))
            name = re.search(r"\bvoid\s+(\w+)\s*\(", declaration).group(1)
            above = i
            while above > 0 and lines[above - 1].startswith(("//", "template", "    ", "          ")):
                above -= 1
            found = re.search(r"^// registers: <= (\d+)", "\n".join(lines[above:i]), re.M)
            if name in budgets:
                raise SystemExit(f"{path.name}: a second kernel is called {name}")
            budgets[name] = int(found.group(1)) if found else None
    return budgets


def name_of(symbol, names):
    return next((n for n in names if re.search(rf"{len(n)}{n}(?:I|E|v)", symbol)), None)


def problems_of(facts, budgets):
    problems, seen = set(), set()
    for fact in facts:
        name = name_of(fact.symbol, budgets)
        if name is None:
            problems.add(f"{fact.symbol} on {fact.architecture}: its source was not found")
            continue
        seen.add((name, fact.architecture))
        budget = budgets[name]
        if budget is None:
            problems.add(f"{name}: expected a line `// registers: <= N` above it")
        elif fact.registers > budget:
            problems.add(f"{name} on {fact.architecture}: {fact.registers} registers, budget {budget} ({fact.symbol})")
        if fact.frame:
            problems.add(f"{name} on {fact.architecture}: a stack frame of {fact.frame} bytes, expected none ({fact.symbol})")
    architectures = sorted({fact.architecture for fact in facts}) or ["any architecture"]
    for name in budgets:
        for architecture in architectures:
            if (name, architecture) not in seen:
                problems.add(f"{name}: no machine code for {architecture}")
    return sorted(problems)


def self_test(library, nvcc):
    facts, budgets = facts_of(library), budgets_of(SOURCES)
    failed = []

    def expect(what, problems, *parts):
        if not any(all(part in problem for part in parts) for problem in problems):
            failed.append(f"{what}: not reported; got {problems}")

    name, used = max(((name_of(f.symbol, budgets), f.registers) for f in facts), key=lambda pair: pair[1])
    expect("a budget one too small", problems_of(facts, {**budgets, name: used - 1}), name, f"{used} registers, budget {used - 1}")
    with tempfile.TemporaryDirectory() as folder:
        planted = pathlib.Path(folder, "planted.cu")
        kernel = """template <class T>
__global__ void __launch_bounds__(256, sizeof(T) == 4 ? 2 : 1) planted_kernel(T* x, int i) {
  T local[64];
  for (int j = 0; j < 64; ++j) local[j] = x[j];
  local[i] = 1;
  for (int j = 0; j < 64; ++j) x[j] += local[(j + i) % 64];
}
template __global__ void planted_kernel(float*, int);
"""
        for text, what, part in (("// registers: <= 255\n" + kernel, "a stack frame", "stack frame of 256 bytes"),
                                 ("// registers: <= 2\n" + kernel, "a budget of 2", "budget 2"),
                                 (kernel, "a kernel without a budget", "expected a line")):
            planted.write_text(text)
            binary = planted.with_suffix(".o")
            subprocess.run([nvcc, "-c", "--no-compress", "-gencode", "arch=compute_80,code=sm_80", planted, "-o", binary], check=True)
            expect(what, problems_of(facts_of(binary), budgets_of(planted.parent)), "planted_kernel", part)
    left_out = [f for f in facts if (name_of(f.symbol, budgets), f.architecture) != (name, facts[0].architecture)]
    expect("an architecture without code", problems_of(left_out, budgets), name, "no machine code for " + facts[0].architecture)
    expect("a library without kernels", problems_of([], budgets), name, "no machine code")
    print("\n".join(failed) or "resources: a broken budget, a missing one, a stack frame and missing code are reported")
    return 1 if failed else 0


def main(arguments):
    if len(arguments) == 3 and arguments[0] == "--self-test":
        return self_test(*arguments[1:])
    if len(arguments) == 2 and arguments[0] == "--list":
        names = budgets_of(SOURCES)
        for fact in facts_of(arguments[1]):
            print(json.dumps({"kernel": name_of(fact.symbol, names), **dataclasses.asdict(fact)}))
        return 0
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    facts, budgets = facts_of(arguments[0]), budgets_of(SOURCES)
    problems = problems_of(facts, budgets)
    for problem in problems:
        print(f"resources: {problem}", file=sys.stderr)
    if not problems:
        architectures = ", ".join(sorted({fact.architecture for fact in facts}))
        print(f"resources: {len(budgets)} kernels, {len(facts)} instances on {architectures}: within their budgets, no stack frame")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
