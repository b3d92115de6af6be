"""The world "emulated CPU": the row tests with only the kernels' machine code on an emulated CPU.

    emulated.py BUILD [--all] [--only TEXT]

Rows that this CPU cannot run are emulated (AVX-VNNI, or AVX-512 too on an older CPU); --all takes every row but
the portable ones. Each bundle runs on the oldest model that has it, so an instruction of a later bundle is an
invalid opcode.  Exit status 77: nothing ran.
"""

import argparse
import ctypes
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import emulator

# bundle of kernels.h, its number there, the model, the flags in /proc/cpuinfo that make emulation needless
BUNDLES = {
    "avx2": (1, "arrow_lake", {"avx2", "fma"}),
    "avxvnni": (2, "arrow_lake", {"avx_vnni"}),
    "avx512": (3, "skylake_x", {"avx512f", "avx512bw", "avx512dq", "avx512vl"}),
    "avx512vnni": (4, "icelake_u", {"avx512f", "avx512_vnni"}),
    "avx512bf16": (5, "sapphire_rapids", {"avx512f", "avx512_bf16"}),
}


def cpu_flags():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":")[1].split())
    return set()


def run_bundle(build, bundle, only):
    """In a process of its own (one model each): every row test module, leaf calls emulated; tests that failed."""
    number, model, _ = BUNDLES[bundle]
    cpu = emulator.Cpu(model, str(build / "rows" / "isoc23_shim.so"))
    signature = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_uint64))
    failed = 0
    for path in sorted((build / "rows").glob("test_rows_*.so")):
        module = ctypes.CDLL(str(path))
        module.harness_locate.restype = ctypes.c_char_p
        calls, text = 0, None

        def call_leaf(leaf, count, arguments, module=module):
            nonlocal calls, text
            if calls == 0:
                cpu.refresh()  # the operands' slots exist now
            calls += 1
            try:
                cpu.call(leaf, [arguments[i] for i in range(count)])
            except emulator.Fault as fault:
                place = b""
                if cpu.wrong and cpu.wrong[0] == "memory":
                    place = module.harness_locate(ctypes.c_void_p(cpu.wrong[1]))
                text = ctypes.create_string_buffer(str(fault).encode() + place)
                return ctypes.addressof(text)
            return None

        callback = signature(call_leaf)
        ctypes.c_void_p.in_dll(module, "harness_emulator").value = ctypes.cast(callback, ctypes.c_void_p).value
        ctypes.c_uint32.in_dll(module, "harness_emulated_bundles").value = 1 << number
        arguments = [str(path).encode(), *([only.encode()] if only else [])]
        start = time.perf_counter()
        failed += module.main(len(arguments), (ctypes.c_char_p * (len(arguments) + 1))(*arguments, None))
        print(f"{path.stem}: {calls} calls on {model} in {time.perf_counter() - start:.1f} s", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--bundle", choices=BUNDLES)
    options = parser.parse_args()
    if options.bundle:
        status = 1 if run_bundle(options.build, options.bundle, options.only) else 0
        sys.stdout.flush()
        os._exit(status)  # the binding prints a page about its leaks at a normal exit
    if importlib.util.find_spec("bochscpu") is None:
        print("not run here: the emulated CPU needs bochscpu-python (requirements/check.txt)")
        return 1 if "HUNZE_TEST_EVERY_WORLD" in os.environ else 77
    have = cpu_flags()
    # A kernel's memcpy is the C library's choice for the real CPU: keep it from what the model lacks.
    tunables = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512CD,-AVX512DQ,-AVX512ER"
    status = 0
    for bundle, (_, model, flags) in BUNDLES.items():
        if flags <= have and not options.all:
            print(f"{bundle}: this CPU has it, the native tests run its rows")
            continue
        print(f"{bundle}: emulated as {model}", flush=True)
        environment = {**os.environ, "HUNZE_TEST_WORLD": f"emulated {bundle}", "GLIBC_TUNABLES": tunables}
        command = [sys.executable, __file__, str(options.build), "--bundle", bundle]
        command += ["--only", options.only] if options.only else []
        status |= subprocess.run(command, env=environment).returncode
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
