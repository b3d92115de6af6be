"""A kernel's name stands in two places: the file that defines it and its rows in src/kernels.def.

Whoever wants a kernel goes through the table.  Looks at every C, CUDA, Python and CMake source, for leaf functions (a
device's: launchers) and for row names in quotes; also fails for a leaf that is defined nowhere or twice.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("include", "src", "avx2", "avx512", "cuda", "bindings", "bench", "tests", "tools", "examples", "cmake")
SUFFIXES = {".c", ".h", ".cc", ".cpp", ".cu", ".cuh", ".py", ".pyi", ".cmake", ".map"}


def sources():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES:
                yield path


def main():
    table = re.sub(r"/\*.*?\*/", "", (ROOT / "src" / "kernels.def").read_text(), flags=re.S)
    # Of a device's row the launcher alone; its other functions are declared in cuda/launchers.h.
    launch = r'^HUNZE_CUDA\("\w+",(?:\s*\w+,){5}\s*(\w+)'
    leaves = set(re.findall(launch, table, flags=re.M))
    table_of_cpus = re.sub(r"^HUNZE_CUDA\((?:[^()]|\([^()]*\))*\)", "", table, flags=re.M)
    leaves = sorted(leaves | set(re.findall(r"\bhunze_\w+", table_of_cpus)))
    rows = sorted(set(re.findall(r'"(\w+)"', table)))
    texts = {path: path.read_text(errors="replace") for path in sources()}
    words = {path: set(re.findall(r"\bhunze_\w+", text)) for path, text in texts.items()}
    strings = {path: set(re.findall(r"""["'](\w+)["']""", text)) for path, text in texts.items()}
    bad = 0
    for leaf in leaves:
        homes = [
            path
            for path, found in words.items()
            if leaf in found and re.search(rf"^(?:void|hunze_status) {leaf}\(", texts[path], re.M)
        ]
        if len(homes) != 1:
            bad += 1
            files = ", ".join(str(home.relative_to(ROOT)) for home in homes)
            print(f"{leaf} is defined in {len(homes)} files: {files}")
        for path, found in words.items():
            if leaf in found and path not in homes:
                bad += 1
                print(f"{leaf} stands in {path.relative_to(ROOT)}, which is neither its file nor its row")
    for path, found in strings.items():
        for row in sorted(found & set(rows)):
            bad += 1
            print(f'the row name "{row}" stands in {path.relative_to(ROOT)}: take it from the table')
    print(f"{len(rows)} rows, {len(leaves)} leaf functions in {len(texts)} sources: {bad} names out of place")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
