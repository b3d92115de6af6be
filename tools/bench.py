"""make bench: hunze_bench with every other library, then the report.

FULL=1 takes every row with one thread and with all; RECORD=1 keeps the result in bench/results/<device>/."""

import datetime
import itertools
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path

from steps import (
    NINJA,
    PYTHON,
    ROOT,
    Steps,
    environment,
    forget_foreign_cache,
    install_requirements,
    output,
    pip_install,
    run,
    say,
    stop,
    wanted,
)
from wheel import install, install_wheel

PEERS = ROOT / "build" / "peers"
RESULTS = ROOT / "bench" / "results"
BUILD = ROOT / "build" / "bench"
NOT_INSTALLED = "# not installed: "
ABOUT, RESULT, LINES, REPORT = (BUILD / name for name in ("about.json", "result.json", "lines.txt", "report.html"))


def starts(python):
    """Whether an interpreter runs; it may be gone, or a link to one that is."""
    try:
        return subprocess.run([python, "-c", ""]).returncode == 0
    except OSError:
        return False


def peers_environment(steps, wheel):
    """The other libraries in a virtual environment of their own, made again when one of their lists changes.

    What was installed is known by copies of the lists; that of torch begins with the reason where pip could not install
    it.  That ends nothing: its worker says that it is missing."""
    python = PEERS / "bin" / "python"
    stamps = [PEERS / "peers.txt", PEERS / "peers_torch.txt"]
    listed, torch_listed = ((ROOT / "requirements" / stamp.name).read_text() for stamp in stamps)
    installed, torch = (stamp.read_text() if stamp.exists() else "" for stamp in stamps)
    if installed != listed or (torch and not torch.endswith(torch_listed)) or not starts(python):
        say("== other libraries into build/peers (about 700 MB to fetch)")
        venv.create(PEERS, clear=True, with_pip=True)
        install_requirements(python, ["peers.txt"])
        stamps[0].write_text(listed)
        torch = ""
    if not torch:
        done = pip_install(python, ["peers_torch.txt"], stderr=subprocess.PIPE, text=True)
        why = (done.stderr.splitlines() or ["pip ended with status %d" % done.returncode])[-1]
        torch = (NOT_INSTALLED + why + "\n" if done.returncode else "") + torch_listed
        stamps[1].write_text(torch)
    if torch.startswith(NOT_INSTALLED):
        why = torch.splitlines()[0].removeprefix(NOT_INSTALLED)
        say("torch will be missing, for pip could not install it (%s); remove %s to try again" % (why, stamps[1]))
    install(steps, wheel, PEERS)


def build(steps):
    forget_foreign_cache(BUILD)
    steps.run("hunze_bench: configure", "cmake", "--preset", "bench", quiet=True)
    steps.run("hunze_bench: build", "cmake", "--build", BUILD, "--target", "hunze_bench", quiet=True, progress=NINJA)


def cpu_facts():
    """Name and flags of the processor, as Linux tells them.  Virtual machines often say no more than "AMD EPYC": then
    family and model stand behind it, so that generations are not taken for one device."""
    text = Path("/proc/cpuinfo").read_text()
    said = {}
    for key in ("model name", "flags", "cpu family", "model"):
        found = re.search(r"^%s\s*: (.*)$" % key, text, re.M)
        said[key] = found.group(1) if found else ""
    name = said["model name"] or platform.machine()
    if not re.search(r"\d", name) and said["cpu family"]:
        name = "%s, family %s model %s" % (name, said["cpu family"], said["model"])
    return name, said["flags"].split()


def caches():
    """Bytes of the first processor's caches by level."""
    sizes = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            sizes["L%s%s" % (level, "d" if level == "1" else "")] = int(size.rstrip("K")) * 1024
    return sizes


def about():
    """What a result says of machine and build (bench/README.md, Results)."""
    told = output(PYTHON, "-m", "hunze", "info", "--json")
    if not told:
        stop("%s -m hunze info says nothing: the package just installed does not run" % PYTHON)
    info = json.loads(told)
    name, flags = cpu_facts()
    isa = [bundle for bundle in info["found"] if bundle != "portable"]
    wide = "avx512" if "avx512" in isa else isa[-1] if isa else "portable"
    words = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm)\)|processor|cpu|@.*", "", name.lower())).strip("-")
    now = datetime.datetime.now(datetime.UTC)
    revision = output("git", "rev-parse", "--short", "HEAD") or "unknown"
    changed = output("git", "status", "--porcelain", "--untracked-files=no")
    cache = (BUILD / "CMakeCache.txt").read_text()
    compiler = re.search(r"^CMAKE_C_COMPILER:\w+=(.*)$", cache, re.M).group(1)
    return {
        "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "revision": revision + ("+" if changed else ""),
        "compiler": output(compiler, "--version").splitlines()[0],
        "device": {
            "name": "%s-%s" % (words, wide),
            "cpu": name,
            "flags": flags,
            "cores": len(os.sched_getaffinity(0)),
            "caches": caches(),
            "isa": isa,
        },
    }


def record_file(facts):
    """Where RECORD=1 keeps the result: a new file, in a folder that is known to be writable before the run."""
    folder = RESULTS / facts["device"]["name"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "permission denied")
    except OSError as error:
        stop("%s cannot be written: %s" % (folder, error.strerror))
    stem = "%s-%s" % (facts["date"][:10], facts["revision"])
    names = itertools.chain([stem], ("%s-%d" % (stem, number) for number in itertools.count(2)))
    return next(path for path in (folder / (name + ".json") for name in names) if not path.exists())


def keep(record):
    """Makes the result a record, all of it or nothing."""
    part = record.with_name(".%s.%d" % (record.name, os.getpid()))
    try:
        shutil.copyfile(RESULT, part)
        os.replace(part, record)
    except OSError as error:
        stop("%s could not be written: %s; the result is %s" % (record, error.strerror, RESULT))
    finally:
        part.unlink(missing_ok=True)
    say("recorded: %s" % record)


def run_interruptible(command, **streams):
    """Runs a program that makes something of an interrupt, and waits for that; a second one ends it.  Its status."""
    with subprocess.Popen(command, **streams) as process:
        try:
            try:
                return process.wait()
            except KeyboardInterrupt:
                say("\nInterrupted: what is being measured ends first; a second Ctrl-C does not wait for that.")
                process.send_signal(signal.SIGINT)  # where the terminal's reached this process alone
                return process.wait()
        except KeyboardInterrupt:
            process.kill()
            process.wait()
            raise


def measure(full):
    """hunze_bench over the suites; its lines go to a file, its progress to the terminal.  The exit status."""
    threads = sorted({1, len(os.sched_getaffinity(0))}) if full else [1]
    command = [BUILD / "hunze_bench", "--set", "full" if full else "standard", "--environment", PEERS]
    command += ["--threads", ",".join(map(str, threads)), "--result", RESULT, "--about", ABOUT]
    RESULT.unlink(missing_ok=True)
    try:
        with open(LINES, "w") as lines:
            return run_interruptible(command, cwd=ROOT, env=environment(), stdout=lines)
    finally:
        RESULT.with_name(RESULT.name + ".part").unlink(missing_ok=True)  # of one that was killed


def main():
    steps = Steps()
    wheel = install_wheel(steps)
    peers_environment(steps, wheel)
    build(steps)
    facts = about()
    ABOUT.write_text(json.dumps(facts))
    record = record_file(facts) if wanted("RECORD") else None
    status = measure(wanted("FULL"))
    if not RESULT.exists():
        stop("hunze_bench ended with status %d and without a result" % status)
    interrupted = json.loads(RESULT.read_text())["settings"]["interrupted"]
    report = [PYTHON, ROOT / "bench" / "report.py", RESULT]
    shown = subprocess.run([*report, "--markdown"], env=environment()).returncode
    written = subprocess.run([*report, "--html", REPORT], env=environment()).returncode
    say("\nThe report:              %s" % (REPORT if written == 0 else "none, for the reason above"))
    say("Google Benchmark's lines: %s" % LINES)
    if record and not interrupted:
        keep(record)
    if interrupted:
        say("Interrupted: the report is of the rows until then%s" % (", and nothing is recorded" if record else ""))
    elif status:
        say("hunze_bench ended with status %d: a result is wrong, or a call failed" % status)
    sys.exit(status or shown or written)


if __name__ == "__main__":
    run(main, "The same make command installs and builds what is left, and measures from the beginning.")
