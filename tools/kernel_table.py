"""The table of operations, types and instruction sets, made from src/kernels.def.

    kernel_table.py [--write]

Prints it; with --write it replaces what stands between the markers of README.md.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARKERS = "<!-- kernels: made by tools/kernel_table.py -->\n", "<!-- end of kernels -->\n"
BUNDLES = ("PORTABLE", "AVX2", "AVXVNNI", "AVX512", "AVX512VNNI", "AVX512BF16")
DEVICES = ("CUDA_SM80", "CUDA_SM90A")  # columns once they have rows
PROVIDERS = "OTHER LIBRARIES"  # a column, too
OPERATIONS = {
    "HUNZE_GEMM_FLOAT": "gemm, conv, conv_transpose",
    "HUNZE_GEMM_NARROW": "gemm",
    "HUNZE_GEMM_WRAPPING": "gemm",
    "HUNZE_GEMM_INT": "gemm, conv",
    "HUNZE_DEPTHWISE": "conv, depthwise",
    "HUNZE_QUANTIZE": "quantize",
    "HUNZE_DEQUANTIZE": "dequantize",
    "HUNZE_ACTIVATION": "activate",
}


# Of rows of devices: the CPU's macro for the same operation, by the first operand where that decides.
ON_DEVICES = {
    "GEMM F32": "HUNZE_GEMM_FLOAT",
    "GEMM F64": "HUNZE_GEMM_FLOAT",
    "GEMM BF16": "HUNZE_GEMM_NARROW",
    "GEMM F16": "HUNZE_GEMM_NARROW",
    "GEMM U8": "HUNZE_GEMM_INT",
    "GEMM S8": "HUNZE_GEMM_INT",
    "CONV": "HUNZE_DEPTHWISE",
    "QUANTIZE": "HUNZE_QUANTIZE",
    "DEQUANTIZE": "HUNZE_DEQUANTIZE",
    "ACTIVATION": "HUNZE_ACTIVATION",
}


def rows(text):
    """(operation, types, bundle, mark) of every row of the table; the mark is the tile of a product, m × n."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    for macro, bundle, rest in re.findall(r'^(HUNZE_\w+)\("\w+", (\w+), ([^)]*)\)', text, re.M):
        more = []  # operations that no row of the CPU has for these types
        if macro == "HUNZE_CUDA":
            operation, (needs, a, b, d) = bundle, re.split(r",\s*", rest)[:4]
            macro = ON_DEVICES["GEMM " + a if operation == "GEMM" else operation]
            bundle = "CUDA_" + needs
            if needs == "SM80" and macro == "HUNZE_GEMM_NARROW":
                more = ["conv, conv_transpose"]
            rest = ", ".join([d] if operation == "QUANTIZE" else [a, b, d])
        if macro == "HUNZE_GEMM_PROVIDER":
            a, b, d = re.split(r",\s*", rest)[:3]
            yield "gemm", "%s × %s → %s" % (a.lower(), b.lower(), d.lower()), PROVIDERS, bundle.lower()
            continue
        types = [
            word.lower()
            for word in re.split(r"[,\s]+", rest)
            if re.fullmatch(r"F32|F64|BF16|F16|S64|S32|S16|S8|U8", word)
        ]
        if macro in ("HUNZE_GEMM_FLOAT", "HUNZE_GEMM_WRAPPING"):
            label = "%s × %s → %s" % (types[0], types[0], types[0])
        elif macro == "HUNZE_GEMM_NARROW":
            label = "%s × %s → %s, f32" % (types[0], types[0], types[0])
        elif macro == "HUNZE_GEMM_INT":
            label = "%s × s8 → s32, f32, s8, u8" % types[0]
        elif macro == "HUNZE_DEPTHWISE":
            label = "%s × %s → %s" % tuple(types)
        elif macro == "HUNZE_QUANTIZE":
            label = "f32 → %s" % types[0]
        elif macro == "HUNZE_DEQUANTIZE":
            label = "%s → f32" % types[0]
        else:
            label = types[0]
        tile = re.search(r"\.mr = (\d+), \.nr = (\d+)", rest)
        for operation in [OPERATIONS[macro], *more]:
            yield operation, label, bundle, "%s×%s" % tile.groups() if tile else "✓"


def table():
    cells = {}
    for operation, types, bundle, mark in rows((ROOT / "src" / "kernels.def").read_text()):
        marks = cells.setdefault((operation, types), {}).setdefault(bundle, [])
        if mark not in marks:
            marks.append(mark)
    bundles = BUNDLES + tuple(name for name in (*DEVICES, PROVIDERS) if any(name in marks for marks in cells.values()))
    merged = {}  # types whose marks are alike share a line
    for (operation, types), marks in cells.items():
        line = tuple(", ".join(marks.get(bundle, [])) for bundle in bundles)
        merged.setdefault((operation, line), []).append(types)
    lines = [
        "| operation | types | " + " | ".join(bundle.lower() for bundle in bundles) + " |",
        "|" + " --- |" * (2 + len(bundles)),
    ]
    for (operation, line), types in merged.items():
        lines.append("| %s | %s | %s |" % (operation, "; ".join(types), " | ".join(line)))
    return "\n".join(lines) + "\n"


def replaced(text):
    """README.md's text with the table of today."""
    begin, end = (text.index(marker) for marker in MARKERS)
    return text[: begin + len(MARKERS[0])] + "\n" + table() + "\n" + text[end:]


if __name__ == "__main__":
    readme = ROOT / "README.md"
    if sys.argv[1:] == ["--write"]:
        readme.write_text(replaced(readme.read_text()))
    else:
        sys.stdout.write(table())
