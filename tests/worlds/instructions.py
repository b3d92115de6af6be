"""No wide instruction outside the folder of its instruction set, and no symbol there beside the kernels of the table.

    instructions.py BUILD

Reads every object of the library: src/ may hold no AVX at all, avx2/ nothing encoded with EVEX, and the
extensions that a file's suffix announces (_avxvnni, _avx512vnni, _avx512bf16) stand only in such files.  A weak
or shared helper compiled with wide instructions could be the copy that the linker keeps for everyone, so
objects of kernels export nothing but the table's functions.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"^\s*[0-9a-f]+:\t((?:[0-9a-f]{2} )+)\s*\t?(.*)")
LEGACY_PREFIXES = {"66", "2e", "36", "3e", "64", "65", "26", "f0", "f2", "f3"}
WIDE = re.compile(r"%zmm|%k[0-7]\b|%[xy]mm(?:1[6-9]|2\d|3[01])\b|\{%k|\{1to|\{r[nudz]-sae\}")
EXTENSIONS = {
    "vnni": re.compile(r"^(?:\{\w+\} )?vpdp(?:bu|ws)"),
    "bf16": re.compile(r"^v(?:dpbf16|cvtne2?ps2?bf16|cvtneps2bf16)"),
}


def instructions(path):
    """(encoding bytes, text) of every instruction of an object."""
    out = subprocess.run(["objdump", "-d", "-w", str(path)], capture_output=True, text=True, check=True)
    for line in out.stdout.splitlines():
        if (match := LINE.match(line)) and match[2]:
            raw = match[1].split()
            while raw and raw[0] in LEGACY_PREFIXES:
                raw.pop(0)
            yield raw, match[2].strip()


def classify(raw, text):
    if raw[:1] == ["62"] or WIDE.search(text):
        return "evex"
    if (
        raw
        and raw[0] in ("c4", "c5")
        and text.startswith(
            (
                "v",
                "{vex} v",
                "k",
                "andn",
                "bextr",
                "bls",
                "bzhi",
                "mulx",
                "pdep",
                "pext",
                "rorx",
                "sarx",
                "shlx",
                "shrx",
            )
        )
    ):
        return "vex"
    return "base"


def leaks(path, folder):
    """What of the object's instructions its place does not allow; and how many of each class it has."""
    allowed = {"avx2": {"base", "vex"}, "avx512": {"base", "vex", "evex"}}.get(folder, {"base"})
    suffixes = {"vnni": ("_avxvnni.c", "_avx512vnni.c"), "bf16": ("_avx512bf16.c",)}
    counts, found = {"base": 0, "vex": 0, "evex": 0}, []
    for raw, text in instructions(path):
        kind = classify(raw, text)
        counts[kind] += 1
        if kind not in allowed:
            found.append(f"{kind.upper()} instruction: {text}")
        for extension, pattern in EXTENSIONS.items():
            if pattern.match(text) and not path.name.removesuffix(".o").endswith(suffixes[extension]):
                found.append(f"{extension} instruction in a file without that suffix: {text}")
    return found, counts


def foreign_symbols(path, kernels):
    """Symbols that the object offers to the linker and that are no kernel of the table."""
    out = subprocess.run(
        ["nm", "--defined-only", "--extern-only", str(path)], capture_output=True, text=True, check=True
    )
    symbols = [line.split()[-2:] for line in out.stdout.splitlines() if line.strip()]
    return [
        f"{kind} {name}"
        for kind, name in symbols
        if name not in kernels and not name.startswith(("__asan", "__odr_asan", "__tsan"))
    ]


def main():
    build = Path(sys.argv[1])
    kernels = set(re.findall(r"\bhunze_\w+", (ROOT / "src" / "kernels.def").read_text()))
    objects = build / "CMakeFiles" / "hunze_objects.dir"
    paths = sorted(objects.rglob("*.o"))
    if not paths:
        print(f"no objects under {objects}")
        return 1
    bad, total = 0, {"base": 0, "vex": 0, "evex": 0}
    for path in paths:
        place = path.relative_to(objects)
        folder = place.parts[0]
        found, counts = leaks(path, folder)
        if folder in ("avx2", "avx512") or place.parts[:2] == ("src", "portable"):
            found += [f"a symbol that is no kernel of the table: {symbol}" for symbol in foreign_symbols(path, kernels)]
        for kind, count in counts.items():
            total[kind] += count
        bad += bool(found)
        for text in found[:3]:
            print(f"{place}: {text}" + (f" (and {len(found) - 3} more)" if len(found) > 3 and text == found[2] else ""))
    counted = f"{total['base']} plain, {total['vex']} VEX, {total['evex']} EVEX instructions"
    print(f"{len(paths)} objects: {counted}; {bad} objects leak")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
