"""What python -m hunze tune stored of this machine: ceilings, the floor that follows for a call, and what was measured
of other libraries.

One file per machine in $XDG_CACHE_HOME/hunze, so that a home that several machines share keeps them apart.  Nothing
here measures, and only `store` and `forget`, which tune calls, change a file.
"""

import contextlib
import datetime
import functools
import hashlib
import json
import math
import os
import stat
import tempfile

SCHEMA = 1
UNITS = {"operations/s": "Gop/s", "bytes/s": "GB/s"}  # in a file, and 1e9 of them for people
DEVICE_UNITS = (*UNITS, "calls/s")
TUNE = "python -m hunze tune"

# The multiply-add of a product's operands.
_ARITHMETIC = {
    ("f32", "f32"): "f32",
    ("f64", "f64"): "f64",
    ("u8", "s8"): "u8s8",
    ("s8", "s8"): "u8s8",
    ("bf16", "bf16"): "bf16",
    ("f16", "f16"): "f32",
}
PRODUCTS = ("gemm", "conv", "conv_transpose")
_MOST_BYTES = 1 << 20  # of a file that is read

_read = {}  # path: (what stat said, the entry or None, why there is none)


def _flags():
    """The first CPU's feature flags, as the kernel names them."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    return sorted(value.split())
    except OSError:
        pass
    return []


@functools.cache
def machine():
    """What a file belongs to: {"cpu", "cores", "flags"}, the flags as a digest."""
    from . import _hunze

    about = json.loads(_hunze._Context(None, "").info())  # without providers, so that none is opened
    flags = hashlib.sha256(" ".join(_flags()).encode()).hexdigest()[:16]
    return {"cpu": about["cpu"], "cores": about["cores"], "flags": flags}


def path():
    """The file of this machine; OSError where there is no folder for it."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # a relative one is to be ignored
        base = os.path.join(os.path.expanduser("~"), ".cache")
    if not os.path.isabs(base):
        raise FileNotFoundError("neither XDG_CACHE_HOME nor HOME names a folder")
    key = hashlib.sha256(json.dumps(machine(), sort_keys=True).encode()).hexdigest()[:12]
    return os.path.join(base, "hunze", f"ceilings-{key}.json")


def _checked(entry):
    """The entry, if every figure that is read from it is there; ValueError, KeyError or TypeError if not."""
    if entry["schema"] != SCHEMA:
        raise ValueError(f"its schema is not {SCHEMA}")
    if entry["machine"] != machine():
        raise ValueError("it is of another machine")
    datetime.datetime.fromisoformat(entry["date"])
    rates = [entry["load"] + 1]
    for ceiling in entry["ceilings"]:
        rates += ceiling["one"], ceiling["all"]
        if not ceiling["name"].isprintable() or ceiling["unit"] not in UNITS:
            raise ValueError("a name or a unit is none")
    for kernel in entry.get("providers", []):
        rates.append(kernel["thousandths"] + 0)
        fields = kernel["kernel"], kernel["size"], kernel["version"]
        if not all(field.isprintable() and field for field in fields) or " " in kernel["kernel"] + kernel["size"]:
            raise ValueError("a kernel of a provider is none")
    for device in entry.get("devices", []):  # of python -m hunze tune where there was a GPU
        for ceiling in device["ceilings"]:
            rates.append(ceiling["rate"])
            if ceiling["unit"] not in DEVICE_UNITS:
                raise ValueError("a unit is none")
        names = [ceiling["name"] for ceiling in device["ceilings"]]
        if not isinstance(device["id"], int):
            raise ValueError("a device has no number")
        if not all(name.isprintable() for name in (device["name"], *names)):
            raise ValueError("a name is none")
    if not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise ValueError("a rate is none")
    return entry


def _shown(file):
    return file.encode("utf-8", "replace").decode()


def load():
    """(entry, None), or (None, why there is none).  Reads the file again only when it has changed."""
    try:
        file = path()
    except OSError as error:
        return None, f"there is no folder for ceilings: {error}"
    try:
        found = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        return None, f"no ceilings of this machine are stored; {TUNE} measures them"
    except OSError as error:
        return None, f"{_shown(file)} cannot be read: {error.strerror}"
    state = found.st_mtime_ns, found.st_size, found.st_ino
    if file in _read and _read[file][0] == state:
        return _read[file][1:]
    entry = why = None
    try:
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
            raise ValueError("it is no file of tune's")
        with open(file, encoding="utf-8") as stream:
            entry = _checked(json.load(stream))
    except OSError as error:
        why = f"{_shown(file)} cannot be read: {error.strerror}"
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        why = f"{_shown(file)} holds no ceilings ({type(error).__name__}: {error}); {TUNE} writes it anew"
    _read[file] = state, entry, why
    return entry, why


def measured():
    """What the library takes as `measured`: a line per kernel of a provider and size of products; None if nothing was,
    or beside other kernels of Hunze's own."""
    from . import __version__

    entry, _ = load()
    if entry is None or entry.get("version") != __version__:
        return None
    lines = [f"{k['kernel']} {k['size']} {int(k['thousandths'])} {k['version']}" for k in entry.get("providers", ())]
    return "\n".join(lines) or None


def prepare():
    """Makes the folder and tries whether a file can be written there; OSError if not."""
    folder = os.path.dirname(path())
    os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".ceilings-", dir=folder)
    os.close(descriptor)
    os.unlink(name)


def store(entry):
    """Writes this machine's file, all of it or nothing; its path."""
    file = path()
    descriptor, name = tempfile.mkstemp(prefix=".ceilings-", dir=os.path.dirname(file))
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            json.dump(entry, stream, indent=1, ensure_ascii=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    return file


def forget():
    """Removes this machine's file; the path, or None if there was none."""
    file = path()
    try:
        os.unlink(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return file


def rate_of(entry, name, threads):
    """Operations or bytes per second of so many threads, or None."""
    for ceiling in entry["ceilings"]:
        if ceiling["name"] == name:
            # Between one core and all: as many times one, but never more than all give.
            one, most = ceiling["one"], max(ceiling["one"], ceiling["all"])
            return most if threads >= entry["machine"]["cores"] else min(threads * one, most)
    return None


def device():
    """The number of the first device that has ceilings, or None: then device="auto" stays on the CPU."""
    entry, _ = load()
    devices = entry.get("devices") if entry is not None else None
    return devices[0]["id"] if devices else None


@functools.lru_cache(1024)
def _chosen(here, there, threads, once, over, back, slices, state):
    from . import _transfer

    place = _transfer.choice(json.loads(here), json.loads(there), threads, once, over, back, slices)["choice"]
    return place != "cpu"


def is_sooner(here, there, threads, once, over, back, slices):
    """Whether the device is sooner: explanations of the call here and there as JSON, then what it moves."""
    load()
    return _chosen(here, there, threads, once, over, back, slices, _read[path()][0])


def _allowed():
    from . import info

    return info()["allowed"]


def floor(explained, threads):
    """The least seconds that the explained call can take with so many threads, by the stored ceilings: a dict.

    Multiply-adds on registers alone, or reading the operands from memory once (for elementwise operations: copying),
    whichever takes longer; operands that lie in cache can beat the second.  On a device: large products, or copying.
    """
    if explained.get("device", "cpu") != "cpu":
        from . import _transfer

        return _transfer.floor(explained)
    entry, why = load()
    if entry is None:
        return {"seconds": None, "why": why}
    product = explained["op"] in PRODUCTS
    if product and explained["isa"] == "portable":
        return {"seconds": None, "why": "ceilings are of vector instructions; there is none for a portable kernel"}
    memory = "read" if product else "copy"
    isa = explained["isa"]
    parts = {memory: explained["bytes"]}
    if product:
        type_ = _ARITHMETIC.get(tuple(explained["dtypes"][:2]), " × ".join(explained["dtypes"][:2]))
        if type_ == "u8s8" and explained["kernel"].endswith("_safe"):
            type_ = "u8s8_safe"
        if isa == "provider":  # what another library makes of this CPU
            isa = next((i for i in reversed(_allowed()) if rate_of(entry, f"{type_} {i}", threads)), isa)
        parts = {f"{type_} {isa}": explained["operations"], **parts}
    seconds = {}
    for name, amount in parts.items():
        rate = rate_of(entry, name, threads)
        if rate is None:
            return {
                "seconds": None,
                "why": f"no ceiling {name!r} is among those of {entry['date']}; {TUNE} measures anew",
            }
        seconds[name] = amount / rate
    limit = max(seconds, key=seconds.get)
    return {
        "seconds": seconds[limit],
        "limit": {"read": "read from memory", "copy": "copy in memory"}.get(limit, f"{limit} multiply-add"),
        "threads": threads,
        "parts": seconds,
        "measured": entry["date"],
    }
