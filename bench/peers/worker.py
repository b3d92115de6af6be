"""A peer with a Python interface, measured in a process of its own for `hunze_bench`.

    worker.py NAME --threads N

Loads NAME_peer.py beside this file and answers the requests of bench/README.md, "Protocol". A peer module has

    load(threads)      -> (version, place); raises ImportError or OSError where the library is missing
    prepare(case)      -> (list of row.Way, why): the ways in which the library does the row of a row.Case, or why none
    overhead(a, b, d)  -> [(name, call)]: calls without arguments of the product d = a @ b, f32, 4 x 4
"""

import argparse
import functools
import gc
import importlib
import itertools
import json
import os
import sys
import time
import traceback

import numpy as np
from row import Case


class Worker:
    """Answers requests; `peer` is None where the library is missing, and `missing` says why."""

    def __init__(self, name, threads):
        self.name, self.peer, self.missing = name, None, None
        self.version = self.place = ""
        self.case, self.ways = None, []
        try:
            peer = importlib.import_module(name + "_peer")
            self.version, self.place = peer.load(threads)
            self.peer = peer
        except Exception as error:  # whatever a library does when it is loaded: it is not there
            self.missing = one_line(error)

    def answer(self, request):
        """The answer to one request, as a dict."""
        handler = getattr(self, "do_" + str(request["do"]), None)
        if handler is None:
            raise ValueError("nothing is known to do for %r" % request["do"])
        if self.peer is None and request["do"] != "hello":
            raise RuntimeError("%s is missing: %s" % (self.name, self.missing))
        return handler(request)

    def do_hello(self, request):
        if self.peer is None:
            return {"missing": self.missing}
        return {"name": self.name, "version": self.version, "place": self.place}

    def do_prepare(self, request):
        self.do_release(request)
        case = Case(request["row"], request["operands"])
        ways, why = self.peer.prepare(case)
        self.case, self.ways = case, ways
        answer = [
            {
                "name": way.name,
                "isa": way.isa,
                "d_dtype": way.d_dtype,
                "prepack_seconds": way.prepack_seconds,
                "explain": way.explain,
            }
            for way in ways
        ]
        return {"ways": answer, "why": why if not ways else ""}

    def way(self, request):
        number = request["way"]
        if not isinstance(number, int) or not 0 <= number < len(self.ways):
            raise ValueError("way %r of %d" % (number, len(self.ways)))
        return self.ways[number]

    def do_check(self, request):
        way = self.way(request)
        self.case.d_bytes[:] = 0xFF
        result = way.calls[0]()
        if way.finish:
            way.finish(result)
        return {}

    def do_run(self, request):
        way, count = self.way(request), int(request["calls"])
        return seconds(way.calls, count, request.get("warm", True))

    def do_release(self, request):
        self.case, self.ways = None, []
        gc.collect()
        return {}

    def do_overhead(self, request):
        count = int(request["calls"])
        room = np.ones(3 * 16 + 16, np.float32)  # three operands, 64-byte aligned as those of a row
        start = -room.ctypes.data % 64 // 4
        a, b, d = room[start : start + 48].reshape(3, 4, 4)
        ways = [{"name": name, "nanoseconds": nanoseconds(call, count)} for name, call in self.peer.overhead(a, b, d)]
        return {"ways": ways, "clock": nanoseconds(functools.partial(bool), count)}


def seconds(calls, count, warm):
    """Wall and CPU seconds of `count` calls, the i-th of calls[i mod len(calls)]; where `warm`, after an untimed one.

    That one is the last of them, so that with all copies the first timed call finds its weights as cold as any other.
    """
    order = list(itertools.islice(itertools.cycle(calls), count))
    if warm:
        order[-1]()
    gc.disable()
    try:
        cpu, wall = time.thread_time(), time.perf_counter()
        for call in order:
            call()
        wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    finally:
        gc.enable()
    return {"wall": wall, "cpu": cpu}


def nanoseconds(call, count):
    """Nanoseconds of each of `count` calls, the clock's own among them."""
    clock, took = time.perf_counter_ns, []
    for _ in range(min(count, 100)):
        call()
    gc.disable()
    try:
        for _ in range(count):
            start = clock()
            call()
            took.append(clock() - start)
    finally:
        gc.enable()
    return took


def one_line(error):
    """An exception as one line."""
    text = str(error).strip().splitlines()
    return ("%s: %s" % (type(error).__name__, text[0] if text else ""))[:250].rstrip(": ")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="NAME of NAME_peer.py")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints goes to standard error
    worker = Worker(options.name, options.threads)
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:
            traceback.print_exc()
            answer = {"error": one_line(error)}
        protocol.write(json.dumps(answer) + "\n")
        protocol.flush()
    worker.do_release({})  # before the libraries are torn down


if __name__ == "__main__":
    main()
