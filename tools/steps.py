"""Running the steps of a build: each is announced, timed and, when it fails, ends everything with one clear line."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
NINJA = re.compile(r"^\s*\[\d+/\d+\]")  # its progress


def environment():
    """The caller's environment with the programs of .venv first, and caches inside build/ where there is no home."""
    env = dict(os.environ)
    env["PATH"] = "%s%s%s" % (VENV / "bin", os.pathsep, env.get("PATH", "/usr/bin:/bin"))
    env.pop("PYTHONHOME", None)
    env.pop("PYTHONPATH", None)
    env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    if shutil.which("ccache"):
        env["CMAKE_C_COMPILER_LAUNCHER"] = "ccache"
    home = env.get("HOME", "")
    if not home or not os.access(home, os.W_OK):
        caches = ROOT / "build" / "cache"
        caches.mkdir(parents=True, exist_ok=True)
        env["HOME"] = str(caches)
    return env


def wanted(name):
    """Whether the caller said NAME=1, to make or in the environment."""
    return os.environ.get(name, "") not in ("", "0")


def say(text):
    print(text, flush=True)


def stop(text):
    say(text)
    sys.exit(1)


def forget_foreign_cache(folder):
    """Removes a build folder that was copied here from elsewhere: CMake would refuse it."""
    cache = folder / "CMakeCache.txt"
    if cache.exists() and "\nCMAKE_CACHEFILE_DIR:INTERNAL=%s\n" % folder not in cache.read_text():
        shutil.rmtree(folder)


def pip_install(python, names, **streams):
    """Installs the pinned wheels of requirements/NAME for the interpreter; their lists are complete.  The process."""
    command = [str(python), "-m", "pip", "install", "--only-binary", ":all:", "--no-deps"]
    for name in names:
        command += ["-r", str(ROOT / "requirements" / name)]
    return subprocess.run(command, cwd=str(ROOT), env=environment(), **streams)


def install_requirements(python, names):
    """As pip_install; where that fails, it ends everything."""
    if pip_install(python, names).returncode:
        stop("pip could not install the packages of %s; is the network there?" % ", ".join(names))


def output(*command):
    """What a command prints, "" if it fails or is not there."""
    try:
        done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def run(main, after="The same make command goes on from here."):
    """main(), for a program of its own: an interrupt ends it with a line, not with a traceback.  `after`: what then."""
    try:
        main()
    except KeyboardInterrupt:
        stop("\nInterrupted. " + after)


def show_progress(line):
    """On a terminal each line takes the place of the one before; elsewhere every tenth is enough."""
    counted = re.match(r"\[(\d+)/(\d+)\]", line)
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        sys.stdout.write("\r%-*.*s\r" % (width, width, line))
        sys.stdout.flush()
    elif counted and (int(counted.group(1)) % 10 == 0 or counted.group(1) == counted.group(2)):
        say("   " + line)


class Steps:
    """Steps with their seconds; `table()` prints them all at the end."""

    def __init__(self):
        self.begin = time.monotonic()
        self.done = []
        self.parts = {}

    def run(self, title, *command, cwd=ROOT, env=None, quiet=False, progress=None):
        """Runs one command.  `quiet` shows its output only if it fails, and until then only what matches `progress`."""
        say("== %s" % title)
        start = time.monotonic()
        full = environment()
        full.update(env or {})
        words = [str(word) for word in command]
        lines = []
        with subprocess.Popen(
            words, cwd=cwd, env=full, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            for line in process.stdout:
                lines.append(line)
                if not quiet:
                    sys.stdout.write(line)
                    sys.stdout.flush()
                elif progress and progress.search(line):
                    show_progress(line.strip())
        if progress and sys.stdout.isatty():
            show_progress("")
        output = "".join(lines)
        seconds = time.monotonic() - start
        if process.returncode:
            if quiet:
                sys.stdout.write(output)
            stop("FAILED after %.1f s: %s\n  command: %s" % (seconds, title, " ".join(words)))
        self.done.append((title, seconds))
        say("   %.1f s" % seconds)
        return output

    def count(self, part, seconds):
        """Seconds of the steps so far that are a part's, for the table."""
        self.parts[part] = self.parts.get(part, 0) + seconds

    def table(self):
        say("\nseconds  step")
        for title, seconds in self.done:
            say("%7.1f  %s" % (seconds, title))
        for part, seconds in self.parts.items():
            say("%7.1f  of them for %s" % (seconds, part))
        say("%7.1f  all\n" % (time.monotonic() - self.begin))
