"""What the compiler made of each CUDA kernel, judged without a GPU, from the cubins and logs of a build.

    static_kernels.py [BUILD] [--architectures 80,90a,…] [--check bars|ratchet|reader|page] [--update] [--json FILE]

Prints a table: a line per kernel and architecture.  BUILD is build/gcc if not said.

--check bars     fails for a kernel that spills registers or has local memory, for shared memory that not every device
                 of its architectures has, for a warning of ptxas (C75xx: what a kernel relies on was serialised or
                 ignored), for a fatbin that lacks an architecture, for a file without the instruction that it is for,
                 for a launcher (cuda/*.c) that looks for a kernel in another file than its own, or a kernel without
                 one, and for more than 4 MiB of fatbins
--check ratchet  fails where registers, shared memory, code or a fatbin are above the record (static_kernels.json; code
                 and fatbins by more than its tolerance), and where a kind of instruction came or went.  Exit status 77:
                 the record was made with another nvcc, so nothing was compared
--check reader   holds what reads cubins to a build's probes, whose content is known; bars and ratchet must find faults
--check page     fails where docs/gpu-kernels.md is not what the record makes; needs no build
--update         writes the figures of this build into the record and that page, and prints what changed
"""

import argparse
import json
import re
import sys
from pathlib import Path

from static_cubin import OPCODES, images, kernels, sections, shared_bytes, spills, warnings

ROOT = Path(__file__).resolve().parents[2]
RECORD = Path(__file__).with_suffix(".json")
PAGE = ROOT / "docs" / "gpu-kernels.md"
ARCHITECTURES = "80,90a,100,120"
FATBINS_MOST = 4 * 2**20
# What a block may have where a device has the least of the architecture, and on sm_90.
SHARED_MOST, SHARED_MOST_SM90A = 101_376, 232_448
# Of kernels for sm_90a alone: products of warpgroups, and copies of tiles by what is contiguous in A and B.
WGMMA = re.compile(r"hunze_gemm_b?f16_cuda_sm90a_([km])([kn]) ")
HGMMA, UTMALDG = 4, {"k": 1, "m": 2, "n": 4}
# At least one kernel of such a file has the instruction.
WANTED = (
    (r"^gemm_f32_", "FFMA"),
    (r"^gemm_f64_", "DFMA"),
    (r"^gemm_[us]8s8_", "IMMA"),
    (r"^gemm_(bf|f)16_cuda$", "HMMA"),
)


def figures_of(folder, name, architectures):
    """({"KERNEL sm_ARCH": its figures}, warnings) of one file."""
    made, warned = {}, []
    ptx = folder / f"{name}.compute_80.ptx"
    if name.endswith("_sm90a"):
        architectures = ["90a"]
        ptx = folder / f"{name}.compute_90a.ptx"
    if not ptx.exists():
        sys.exit(f"no {ptx}: build first")
    dynamic = shared_bytes(ptx.read_text())
    for architecture in architectures:
        path = folder / f"{name}.sm_{architecture}.cubin"
        if not path.exists():
            sys.exit(f"no {path}: build first")
        log = Path(f"{path}.log").read_text()
        warned += [f"{name}, sm_{architecture}: {line}" for line in warnings(log)]
        spilled = spills(log)
        for kernel, found in sorted(kernels(path.read_bytes()).items()):
            made[f"{kernel} sm_{architecture}"] = {
                "file": name,
                "threads": found.threads,
                "registers": found.registers,
                "shared": found.shared + dynamic.get(kernel, 0),
                "spilled": spilled[kernel],
                "local": found.frame,
                "code": found.code_bytes,
                "opcodes": {opcode: found.opcodes[opcode] for opcode in OPCODES if found.opcodes[opcode]},
            }
    return made, warned


def compiler_of(path):
    """nvcc's version, as a cubin tells it."""
    match = re.search(rb"V(\d+\.\d+\.\d+)", sections(path.read_bytes())[".note.nv.tkinfo"])
    return match[1].decode()


def not_in(fatbin, architectures):
    """The images that a fatbin should have and has not."""
    wanted = {"sm_" + architecture.rstrip("a") for architecture in architectures} | {"compute_80"}
    if fatbin.stem.endswith("_sm90a"):
        wanted = {"sm_90"}
    return [f"{fatbin.stem}: no {image} in its fatbin" for image in sorted(wanted - images(fatbin.read_bytes()))]


def figures(build, architectures):
    """All files of a build: {"nvcc", "fatbins", "kernels"}, and the warnings."""
    folder = build / "fatbins"
    names = re.findall(r'^HUNZE_FATBIN\(\w+, "(\w+)"\)', (ROOT / "cuda" / "fatbins.def").read_text(), re.M)
    made, warned, fatbins, version = {}, [], {}, None
    for name in names:
        of_file, lines = figures_of(folder, name, architectures)
        made |= of_file
        warned += lines
        warned += not_in(folder / f"{name}.fatbin", architectures)
        fatbins[name] = (folder / f"{name}.fatbin").stat().st_size
        version = compiler_of(next(folder.glob(f"{name}.sm_*.cubin")))
    return {"nvcc": version, "fatbins": fatbins, "kernels": made}, warned


def table(found):
    columns = ("threads", "registers", "shared", "local", "code")
    width = max([len(name) for name in found["kernels"]] or [0])
    yield f"{'kernel':{width}}  " + "  ".join(columns) + "  instructions"
    for name, entry in found["kernels"].items():
        cells = "  ".join(f"{entry[column]:{len(column)}}" for column in columns)
        counts = " ".join(f"{opcode} {count}" for opcode, count in entry["opcodes"].items())
        yield f"{name:{width}}  {cells}  {counts}"
    for name, size in found["fatbins"].items():
        yield f"{name}: {size} bytes of fatbin"
    yield f"{sum(found['fatbins'].values())} bytes of fatbins together; nvcc {found['nvcc']}"


def page(recorded):
    """docs/gpu-kernels.md: a line per kernel, then the fatbins."""
    columns = ARCHITECTURES.split(",")
    kernels_of = {}
    for name, entry in recorded["kernels"].items():
        kernel, architecture = name.split(" sm_")
        kernels_of.setdefault((entry["file"], kernel), {})[architecture] = entry
    lines = [
        "# Kernels for GPUs",
        "",
        "What the compiler (nvcc %s) made of each, for compute capability %s. `make check` holds every build to"
        % (recorded["nvcc"], ", ".join(columns)),
        "it: nothing spilled, no local memory, no warning of ptxas, no more registers, shared memory or code than",
        "here. Written by `python tests/cuda/static_kernels.py BUILD --update`; how fast they are a GPU must say.",
        "",
        "Registers are those of a thread, one number per capability (–: no kernel for it); shared memory is in bytes;",
        "code in KiB and instructions by kind are those for 90a, or for the first that there is.",
        "",
        "| kernel | threads | shared | registers %s | code | instructions |" % " / ".join(columns),
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (_, kernel), found in sorted(kernels_of.items()):
        shown = found.get("90a") or next(iter(found.values()))
        registers = " / ".join(str(found[column]["registers"]) if column in found else "–" for column in columns)
        counts = ", ".join(f"{opcode} {count}" for opcode, count in shown["opcodes"].items())
        cells = (kernel, shown["threads"], shown["shared"], registers, f"{shown['code'] / 1024:.1f}", counts)
        lines.append("| %s |" % " | ".join(map(str, cells)))
    sizes = recorded["fatbins"]
    lines += ["", "| fatbin | bytes |", "| --- | --- |"]
    lines += [f"| {name} | {sizes[name]:,} |" for name in sorted(sizes)]
    lines += [f"| together, at most {FATBINS_MOST:,} | {sum(sizes.values()):,} |", ""]
    return "\n".join(lines)


def launched(folder):
    """(kernel, file) of what launchers start: hunze_cuda_kernel's name and fatbin."""
    for path in sorted(folder.glob("*.c")):
        yield from re.findall(r'"(hunze_\w+)",\s*&hunze_fatbin_(\w+)', path.read_text())


def strangers(made, starts):
    """Kernels that launchers look for in the wrong file, where only a GPU misses them, and those that none starts."""
    there, starts = {(name.split()[0], entry["file"]) for name, entry in made.items()}, set(starts)
    yield from (f"{name}: a launcher looks for it in {file}" for name, file in sorted(starts - there))
    yield from (f"{name} of {file}: no launcher starts it" for name, file in sorted(there - starts))


def faults(found, warned):
    """What of the bars is not met."""
    yield from warned
    for name, entry in found["kernels"].items():
        if entry["spilled"]:
            yield f"{name}: {entry['spilled']} bytes of registers spilled"
        locals_ = sum(entry["opcodes"].get(opcode, 0) for opcode in ("LDL", "STL"))
        if entry["local"] or locals_:
            yield f"{name}: {entry['local']} bytes of local memory, {locals_} accesses to it"
        most = SHARED_MOST_SM90A if entry["file"].endswith("_sm90a") else SHARED_MOST
        if entry["shared"] > most:
            yield f"{name}: {entry['shared']} bytes of shared memory, {most} are there"
        if entry["file"].endswith("_sm90a"):
            match = WGMMA.match(name)
            wanted = (HGMMA, UTMALDG[match[1]] + UTMALDG[match[2]]) if match else None
            there = tuple(entry["opcodes"].get(opcode, 0) for opcode in ("HGMMA", "UTMALDG"))
            if there != wanted:
                yield f"{name}: {there[0]} HGMMA and {there[1]} UTMALDG, not {wanted}"
    for name in found["fatbins"]:
        there = {op for entry in found["kernels"].values() if entry["file"] == name for op in entry["opcodes"]}
        for pattern, opcode in WANTED:
            if re.search(pattern, name) and opcode not in there:
                yield f"{name}: no kernel has an {opcode}"
    if (size := sum(found["fatbins"].values())) > FATBINS_MOST:
        yield f"{size} bytes of fatbins, at most {FATBINS_MOST}"


def differences(found, recorded, tolerance, architectures):
    """What is worse than the record, then what is better."""
    worse, better = [], []

    def compare(what, new, old, allowed=0.0):
        if new > old * (1 + allowed):
            worse.append(f"{what}: {new}, {old} recorded")
        elif new < old * (1 - allowed):
            better.append(f"{what}: {new}, {old} recorded")

    now, then = found["kernels"], recorded["kernels"]
    then = {name: entry for name, entry in then.items() if name.rpartition("sm_")[2] in architectures}
    for name in sorted(now.keys() | then.keys()):
        new, old = now.get(name), then.get(name)
        if not new or not old:
            worse.append(f"{name} is {'not in the record' if new else 'in the record only'}")
            continue
        for column in ("registers", "shared"):
            compare(f"{name}, {column}", new[column], old[column])
        compare(f"{name}, code", new["code"], old["code"], tolerance)
        for opcode in sorted(new["opcodes"].keys() ^ old["opcodes"].keys()):
            worse.append(f"{name} has {'now' if opcode in new['opcodes'] else 'no longer'} an {opcode}")
    if len(architectures) == len(ARCHITECTURES.split(",")):
        for name in sorted(found["fatbins"].keys() & recorded["fatbins"].keys()):
            compare(f"{name}, fatbin", found["fatbins"][name], recorded["fatbins"][name], tolerance)
    return worse, better


def update(found, recorded, tolerance):
    for part in ("fatbins", "kernels"):
        for name in sorted(found[part].keys() | recorded[part].keys()):
            old, new = recorded[part].get(name), found[part].get(name)
            if old != new:
                print(f"{name}: {'new' if old is None else 'taken out' if new is None else f'{old} -> {new}'}")
    lines = [f'{{\n  "tolerance": {tolerance},\n  "nvcc": {json.dumps(found["nvcc"])}']
    for part in ("fatbins", "kernels"):
        entries = (f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(found[part].items()))
        lines.append(f'  "{part}": {{\n' + ",\n".join(entries) + "\n  }")
    RECORD.write_text(",\n".join(lines) + "\n}\n")
    PAGE.write_text(page(found))


def check_reader(build, architectures):
    """The probes' names say what is in them; three have faults.  A record that is better in each figure is not met."""
    made, warned = figures_of(build / "probes", "static_probe", architectures)
    wrong = [f"a warning: {line}" for line in warned]
    fatbin = build / "probes" / "static_probe.fatbin"
    if not_in(fatbin, architectures) or len(not_in(fatbin, ["75", *architectures])) != 1:
        wrong.append("the images of a fatbin are not read as they are")
    for architecture in architectures:
        for probe, opcode, count in (
            (name, match[1].upper(), int(match[2]))
            for name in made
            if name.endswith(f" sm_{architecture}") and (match := re.match(r"hunze_probe_(\w+)_(\d+) ", name))
        ):
            there = made[probe]["opcodes"].get(opcode, 0)
            if there != count:
                wrong.append(f"{probe}: {there} {opcode} found")
    found = list(faults({"kernels": made, "fatbins": {}}, []))
    expected = {"spills": "spilled", "local": "local memory", "large": "shared memory"}
    for name in made:
        what = re.match(r"hunze_probe_(\w+?)(?:_\d+)? ", name)[1]
        said = [line for line in found if line.startswith(name + ":")]
        if what in expected and not any(expected[what] in line for line in said):
            wrong.append(f"{name}: its fault was not found")
        elif what not in expected and said:
            wrong += said
    flagship = {"file": "product_sm90a", "spilled": 0, "local": 0, "shared": 0}
    for counts, met in (({"HGMMA": 4, "UTMALDG": 5}, True), ({"HGMMA": 4, "UTMALDG": 4}, False), ({}, False)):
        entry = {"hunze_gemm_bf16_cuda_sm90a_kn sm_90a": flagship | {"opcodes": counts}}
        if (not list(faults({"kernels": entry, "fatbins": {}}, []))) != met:
            wrong.append(f"a kernel of warpgroups with {counts} is {'refused' if met else 'taken'}")
    if not {"IMMA", "FFMA", "DFMA", "LDGSTS"} <= {op for entry in made.values() for op in entry["opcodes"]}:
        wrong.append("the probes are not all there")
    probes = {name.split()[0] for name in made}
    if len(list(strangers(made, [("hunze_probe_local", "static_probe"), ("hunze_probe_local", "y")]))) != len(probes):
        wrong.append("a launcher that looks in the wrong file, or kernels without a launcher, are not seen")
    for line in ("ptxas info    : (C7510) Potential Performance Loss: wgmma", "ptxas warning : Local memory used"):
        if warnings(f"ptxas info    : 0 bytes gmem\n{line}\n") != [line]:
            wrong.append(f"not seen as a warning: {line}")
    name = f"hunze_probe_ldgsts_11 sm_{architectures[0]}"
    for column, text in (("registers", "registers"), ("shared", "shared"), ("code", "code"), ("opcodes", "an LDGSTS")):
        better = dict(made[name], **{column: {} if column == "opcodes" else made[name][column] * 0.9})
        recorded = {"kernels": {**made, name: better}, "fatbins": {}}
        worse, _ = differences({"kernels": made, "fatbins": {}}, recorded, 0.05, architectures)
        if not any(line.startswith(name) and text in line for line in worse):
            wrong.append(f"the ratchet does not see {column}")
    return wrong, len(made)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, nargs="?", default=ROOT / "build" / "gcc")
    parser.add_argument("--architectures", default=ARCHITECTURES)
    parser.add_argument("--check", choices=("bars", "ratchet", "reader", "page"))
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    architectures = options.architectures.split(",")
    if options.check == "reader":
        wrong, count = check_reader(options.build, architectures)
        print("\n".join(wrong) or f"{count} probes read as they are")
        return 1 if wrong else 0
    if options.check == "page":
        if PAGE.exists() and PAGE.read_text() == page(json.loads(RECORD.read_text())):
            return 0
        print(f"{PAGE.relative_to(ROOT)} is not what {RECORD.name} makes: static_kernels.py BUILD --update")
        return 1
    found, warned = figures(options.build, architectures)
    recorded = {"tolerance": 0.05, "nvcc": None, "fatbins": {}, "kernels": {}}
    if RECORD.exists():
        recorded = json.loads(RECORD.read_text())
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    if options.update:
        if architectures != ARCHITECTURES.split(","):
            sys.exit(f"the record is of all architectures, {ARCHITECTURES}")
        update(found, recorded, recorded["tolerance"])
        return 0
    if options.check == "bars":
        wrong = [*faults(found, warned), *strangers(found["kernels"], launched(ROOT / "cuda"))]
        print("\n".join([*wrong, f"{len(found['kernels'])} kernels: {len(wrong)} bars not met"]))
        return 1 if wrong else 0
    if options.check == "ratchet":
        if found["kernels"] and recorded["nvcc"] not in (None, found["nvcc"]):
            print(f"NOT COMPARED: made by nvcc {found['nvcc']}, recorded is {recorded['nvcc']}")
            return 77
        worse, better = differences(found, recorded, recorded["tolerance"], architectures)
        for text in better:
            print(f"better, so --update may record it: {text}")
        for text in worse:
            print(text)
        print(f"{len(found['kernels'])} kernels against the record: {len(worse)} differences that are not allowed")
        if worse:
            print("where they are meant: python tests/cuda/static_kernels.py BUILD --update")
        return 1 if worse else 0
    print("\n".join(table(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
