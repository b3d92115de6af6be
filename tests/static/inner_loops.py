"""Figures of the kernels' inner loops that no noise touches, read from the object files of a build.

    inner_loops.py [BUILD] [--json FILE] [--update] [--check bars|ratchet]

For each product and depthwise kernel of the table: the innermost loops with the most multiply-adds (several, where
a tile has bodies for several ways of reading its operands), what stands in them, and the cycles per multiply-add
that llvm-mca models.  Prints a table; BUILD is build/gcc if not said.

--check bars     fails for a loop that accesses the stack, or has more moves between registers than loads, unless
                 the record (inner_loops.json) says the reason why that is so
--check ratchet  fails where cycles per multiply-add are above the recorded ones by more than the record's tolerance,
                 stack accesses or moves above loads are more than those that a reason excuses, or a reason excuses
                 nothing any more.  Exit status 77: the record was made with another compiler or another llvm-mca, so
                 nothing was compared
--update         writes the figures of this build into the record, keeps its reasons, and prints what changed
--json FILE      writes the figures to FILE
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from loops import count, functions, has_frame, inner_loops, mca_text

ROOT = Path(__file__).resolve().parents[2]
RECORD = Path(__file__).with_suffix(".json")
FOLDERS = {"AVX2": "avx2", "AVXVNNI": "avx2", "AVX512": "avx512", "AVX512VNNI": "avx512", "AVX512BF16": "avx512"}
# The models: a ratchet, never the truth.  Not znver4: it lets a loop that spills look better than one that does not.
CPUS = {
    "AVX2": "znver3",
    "AVXVNNI": "alderlake",
    "AVX512": "icelake-server",
    "AVX512VNNI": "icelake-server",
    "AVX512BF16": "sapphirerapids",
}
HOT = {
    "HUNZE_GEMM_FLOAT": (3, 4),
    "HUNZE_GEMM_NARROW": (3,),
    "HUNZE_GEMM_WRAPPING": (3,),
    "HUNZE_GEMM_INT": (3,),
    "HUNZE_DEPTHWISE": (5, 6),
}  # which arguments of the row
ITERATIONS = 100
BARS = {"stack": "accesses to the stack", "moves_above_loads": "moves more than loads"}  # what a kernel has none of


def hot_functions():
    """(function, row, bundle) of what shall be looked at, from the kernel table."""
    text = re.sub(r"/\*.*?\*/", "", (ROOT / "src" / "kernels.def").read_text(), flags=re.S)
    found = {}
    for macro, arguments in re.findall(r"^(HUNZE_\w+)\((\".*?)\)$", text, flags=re.M | re.S):
        words = [word.strip().strip('"') for word in arguments.split(",")]
        if macro in HOT and words[1] in FOLDERS:
            for position in HOT[macro]:
                found.setdefault(words[position], (words[0], words[1]))
    return [(function, *row) for function, row in found.items()]


def compiler_of(path):
    """What compiled an object file, such as "gcc 12.2.0"."""
    text = subprocess.run(["readelf", "-p", ".comment", str(path)], capture_output=True, text=True).stdout
    for pattern, name in ((r"clang version ([\d.]+)", "clang"), (r"GCC: \(.*\) ([\d.]+)", "gcc")):
        if match := re.search(pattern, text):
            return f"{name} {match[1]}"
    return "unknown compiler"


def mca_program():
    """(path, version) of llvm-mca, or None."""
    for name in ("llvm-mca-19", "/usr/lib/llvm-19/bin/llvm-mca", "llvm-mca"):
        if path := shutil.which(name):
            text = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
            match = re.search(r"LLVM version ([\d.]+)", text)
            return path, match[1] if match else "?"
    return None


def model(program, cpu, bodies):
    """llvm-mca's cycles per iteration of each body, in one process."""
    regions = [f"# LLVM-MCA-BEGIN\n{mca_text(body)}# LLVM-MCA-END\n" for body in bodies]
    command = [program, "-mtriple=x86_64", f"-mcpu={cpu}", f"-iterations={ITERATIONS}", "-json"]
    command += ["-instruction-info=false", "-resource-pressure=false"]
    done = subprocess.run(command, input="anchor:\n" + "".join(regions), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{program} -mcpu={cpu} failed:\n{done.stderr}")
    views = [region["SummaryView"] for region in json.loads(done.stdout)["CodeRegions"]]
    return [view["TotalCycles"] / ITERATIONS for view in views]


def figures(build, program):
    """{kernel: its figures} of a build, and the compilers of its objects."""
    objects, compilers, kernels, by_cpu = build / "CMakeFiles" / "hunze_objects.dir", set(), {}, {}
    for function, row, bundle in hot_functions():
        path = objects / FOLDERS[bundle] / f"{row}.c.o"
        if not path.exists():
            sys.exit(f"no {path}: build first, cmake --build {build}")
        compilers.add(compiler_of(path))
        code = functions(path)[function]
        frame = has_frame(code)
        loops = [(count(body, frame), body) for body in inner_loops(code)]
        most = max((counts["multiply_adds"] for counts, _ in loops), default=0)
        if not most:
            sys.exit(f"{path}: no loop of {function} has a multiply-add; what reads it (loops.py) needs to learn that")
        loops = [loop for loop in loops if loop[0]["multiply_adds"] == most]
        entry = {"cpu": CPUS[bundle], "loops": len(loops)}
        entry |= {name: max(counts[name] for counts, _ in loops) for name in loops[0][0]}
        entry["moves_above_loads"] = max(0, *(counts["moves"] - counts["loads"] for counts, _ in loops))
        kernels[function.removeprefix("hunze_")] = entry
        by_cpu.setdefault(CPUS[bundle], []).append((entry, [body for _, body in loops]))
    for cpu, entries in by_cpu.items() if program else ():
        cycles = iter(model(program, cpu, [body for _, bodies in entries for body in bodies]))
        for entry, bodies in entries:
            entry["cycles"] = sorted(round(next(cycles) / entry["multiply_adds"], 3) for _ in bodies)
    return kernels, " and ".join(sorted(compilers))


def table(kernels, excused):
    """The lines of the table; cycles per multiply-add of the best and the worst of a kernel's loops."""
    columns = ("loops", "multiply_adds", "instructions", "loads", "stores", "moves", "stack")
    width = max(map(len, kernels))
    yield f"{'kernel':{width}} " + " ".join(name.replace("multiply_adds", "mul-adds") for name in columns) + "  cycles"
    for name, entry in kernels.items():
        cells = " ".join(f"{entry[c]:{len(c.replace('multiply_adds', 'mul-adds'))}}" for c in columns)
        cycles = entry.get("cycles")
        modelled = f"  {cycles[0]:.3f} to {cycles[-1]:.3f} on {entry['cpu']}" if cycles else "  no llvm-mca"
        yield f"{name:{width}} {cells}{modelled}{'  (excused)' if name in excused else ''}"


def below_bars(entry):
    """What of the bars a kernel does not meet."""
    for key, text in BARS.items():
        if entry[key]:
            yield f"{entry[key]} {text}"


def check_bars(kernels, excused):
    bad = 0
    for name, entry in kernels.items():
        for text in below_bars(entry):
            bad += name not in excused
            print(f"{name}: {text} in the inner loop" + (f"; excused: {excused[name]}" if name in excused else ""))
    print(f"{len(kernels)} kernels: {bad} bars not met")
    return 1 if bad else 0


def check_ratchet(kernels, recorded, tolerance):
    bad, better = [], []
    for name in sorted(kernels.keys() | recorded.keys()):
        now, then = kernels.get(name), recorded.get(name)
        if not now or not then:
            bad.append(f"{name} is {'not in the record' if now else 'in the record and not in the table'}")
            continue
        if len(now["cycles"]) != len(then["cycles"]):
            bad.append(f"{name} has {len(now['cycles'])} such loops, {len(then['cycles'])} are recorded")
        for new, old in zip(now["cycles"], then["cycles"]):
            if new > old * (1 + tolerance):
                bad.append(f"{name}: {new:.3f} cycles per multiply-add, {old:.3f} recorded ({new / old - 1:+.1%})")
            elif new < old * (1 - tolerance):
                better.append(f"{name}: {new:.3f} cycles per multiply-add, {old:.3f} recorded ({new / old - 1:+.1%})")
        if "reason" in then:
            bad += [
                f"{name}: {now[key]} {text}, {then[key]} recorded" for key, text in BARS.items() if now[key] > then[key]
            ]
            if not any(below_bars(now)):
                bad.append(f"{name} meets the bars: take its reason out of the record")
    for text in better:
        print(f"better, so --update may record it: {text}")
    for text in bad:
        print(text)
    print(f"{len(kernels)} kernels against the record: {len(bad)} differences that are not allowed")
    return 1 if bad else 0


def update(record, compiler, version, kernels):
    recorded = record["compilers"].get(compiler, {}).get("kernels", {})
    for name in sorted(kernels.keys() | recorded.keys()):
        new, old = kernels.get(name), recorded.get(name, {})
        if new is None:
            print(f"{name}: taken out")
            continue
        if "reason" in old:
            new["reason"] = old["reason"]
        changes = [f"{key} {old.get(key)} -> {value}" for key, value in new.items() if old.get(key) != value]
        if changes:
            print(f"{name}: {', '.join(changes) if old else 'new'}")
    record["compilers"][compiler] = {"llvm-mca": version, "kernels": kernels}
    parts = []
    for name, made in record["compilers"].items():
        lines = ",\n".join(f"      {json.dumps(key)}: {json.dumps(entry)}" for key, entry in made["kernels"].items())
        head = f'"llvm-mca": {json.dumps(made["llvm-mca"])}, "kernels"'
        parts.append(f"    {json.dumps(name)}: {{{head}: {{\n{lines}\n    }}}}")
    head = f'{{\n  "tolerance": {record["tolerance"]},\n  "compilers": {{\n'
    RECORD.write_text(head + ",\n".join(parts) + "\n  }\n}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, nargs="?", default=ROOT / "build" / "gcc")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--check", choices=("bars", "ratchet"))
    options = parser.parse_args()
    found = mca_program() if options.check != "bars" else None
    kernels, compiler = figures(options.build, found and found[0])
    version = found[1] if found else None
    record = {"tolerance": 0.03, "compilers": {}}
    if RECORD.exists():
        record = json.loads(RECORD.read_text())
    # A compiler of which there is no record is excused where any that is recorded is.
    made = record["compilers"].get(compiler)
    entries = [item for one in ([made] if made else record["compilers"].values()) for item in one["kernels"].items()]
    excused = {name: entry["reason"] for name, entry in entries if "reason" in entry}
    if options.json:
        options.json.write_text(json.dumps({"compiler": compiler, "llvm-mca": version, "kernels": kernels}, indent=1))
    if options.update:
        if not found:
            sys.exit("no llvm-mca: install llvm-19")
        update(record, compiler, version, kernels)
        return 0
    for line in table(kernels, excused) if options.check is None else ():
        print(line)
    print(f"compiled by {compiler}; " + (f"llvm-mca {version}" if found else "llvm-mca not asked"))
    if options.check == "bars":
        if not made:
            print(f"the record has no {compiler}: what it excuses for any compiler is excused")
        return check_bars(kernels, excused)
    if options.check == "ratchet":
        if not found:
            print("NOT COMPARED: no llvm-mca here; install llvm-19")
            return 1 if os.environ.get("HUNZE_TEST_EVERY_WORLD") else 77
        if not made or version != made["llvm-mca"]:
            known = [f"{name} with llvm-mca {one['llvm-mca']}" for name, one in record["compilers"].items()]
            print(f"NOT COMPARED: recorded are {', '.join(known)}")
            return 77
        return check_ratchet(kernels, made["kernels"], record["tolerance"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
