"""What stands in a cubin, and what ptxas said of it, read from their bytes: the toolkit's wheels have no disassembler.

A cubin is an ELF file.  A kernel has a section .text.NAME of instructions of 16 bytes each, whose lowest 9 bits are
the opcode whatever the form of the operands; the sections .nv.info hold attributes, a list of (format, number, value).
"""

import collections
import re
import struct
from typing import NamedTuple

# The same on sm_80 to sm_120; static_probe.cu holds these numbers to what the compiler makes of known sources.
OPCODES = {
    "FFMA": 0x023,
    "DFMA": 0x02B,
    "IDP": 0x026,
    "IMMA": 0x037,
    "HMMA": 0x03C,
    "DMMA": 0x03F,
    "LDSM": 0x03B,
    "LDG": 0x181,
    "LDL": 0x183,
    "LDS": 0x184,
    "STG": 0x186,
    "STL": 0x187,
    "STS": 0x188,
    "LDGSTS": 0x1AE,
    "UTMALDG": 0x1B4,
    "HGMMA": 0x1F0,
}
NAMES = {number: name for name, number in OPCODES.items()}
REGCOUNT, FRAME_SIZE, MAX_THREADS = 0x2F, 0x11, 0x05  # numbers of attributes
SIZED = 4  # the format of an attribute whose value is as many bytes as it says


class Kernel(NamedTuple):
    registers: int
    frame: int  # bytes of local memory per thread
    shared: int  # static; SHARED's stands in the PTX
    threads: int  # at most, per block
    code_bytes: int
    opcodes: collections.Counter


def sections(data):
    """{name: bytes} of an ELF file; a section without bytes in the file (.nv.shared) has as many zeros."""
    assert data[:4] == b"\x7fELF", "no ELF file"
    (at,) = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQ", data, at + i * size) for i in range(count)]
    start = headers[names][4]
    found = {}
    for name, kind, _, _, offset, length in headers:
        text = data[start + name : data.index(0, start + name)].decode()
        found[text] = bytes(length) if kind == 8 else data[offset : offset + length]
    return found


def attributes(data):
    """(number, bytes of the value) of a section .nv.info."""
    at = 0
    while at < len(data):
        kind, number, size = struct.unpack_from("<BBH", data, at)
        at += 4
        if kind == SIZED:
            yield number, data[at : at + size]
            at += size


def symbols(found):
    """The names of the symbols, by their index."""
    text = found[".strtab"]
    starts = [struct.unpack_from("<I", found[".symtab"], at)[0] for at in range(0, len(found[".symtab"]), 24)]
    return [text[start : text.index(0, start)].decode() for start in starts]


def kernels(data):
    """{name: Kernel} of a cubin's bytes."""
    found = sections(data)
    names = symbols(found)
    registers, frames = {}, {}
    for number, value in attributes(found[".nv.info"]):
        for table, wanted in ((registers, REGCOUNT), (frames, FRAME_SIZE)):
            if number == wanted:
                index, count = struct.unpack("<II", value)
                table[names[index]] = count
    made = {}
    for section, code in found.items():
        if not section.startswith(".text."):
            continue
        name = section.removeprefix(".text.")
        of_kernel = dict(attributes(found[".nv.info." + name]))
        words = [word & 0x1FF for (word,) in struct.iter_unpack("<H14x", code)]
        shared = len(found.get(".nv.shared." + name, b""))
        if ".nv.shared.reserved.0" in found and shared:
            shared -= 1024  # what sm_90 and later keep for themselves
        made[name] = Kernel(
            registers[name],
            frames[name],
            shared,
            struct.unpack("<III", of_kernel[MAX_THREADS])[0],
            len(code),
            collections.Counter(NAMES[word] for word in words if word in NAMES),
        )
    return made


def images(data):
    """What a fatbin holds, such as {"sm_80", "compute_80"}: a header, then entries with headers of their own."""
    magic, _, at, _ = struct.unpack_from("<IHHQ", data)
    assert magic == 0xBA55ED50, "no fatbin"
    found = set()
    while at < len(data):
        kind, _, header, size = struct.unpack_from("<HHIQ", data, at)
        (architecture,) = struct.unpack_from("<I", data, at + 28)
        found.add(f"{'sm' if kind == 2 else 'compute'}_{architecture}")
        at += header + size
    return found


def spills(log):
    """{kernel: bytes stored and loaded because registers were too few} from what ptxas -v said."""
    said = re.findall(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads", log, re.DOTALL
    )
    return {name: int(stored) + int(loaded) for name, stored, loaded in said}


def warnings(log):
    """Lines of ptxas that are more than information; C75xx: it serialised or ignored what a kernel relies on."""
    return [line for line in log.splitlines() if re.search(r"\bC75\d\d\b|warning|error", line)]


def shared_bytes(ptx):
    """{kernel: bytes of SHARED(type)} from the PTX, where ptx.cuh notes them."""
    made = {}
    for name, body in re.findall(r"\.entry (\w+)\((.*?)(?=\.entry |\Z)", ptx, re.DOTALL):
        made[name] = max((int(size) for size in re.findall(r"// hunze_shared (\d+)", body)), default=0)
    return made
