"""Reads recorded results (README.md, "Results") for the reports: checked on the way in, with the figures of a row."""

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

HUNZE = "hunze"
ROUNDS = 6  # the least with which an interval holds the true median with 95 %: 2^(1 - 6) < 0.05 < 2^(1 - 5)
NUMBER, MAYBE, TEXT = (int, float), (int, float, type(None)), (str, type(None))
# Members of a result and their types. "name?" may be missing or null, {str: …} has members of any name.
INTERVAL = {"median": MAYBE, "low": MAYBE, "high": MAYBE}
EXPLAIN = {"kernel?": str, "why?": str, "refused?": [{"kernel": str, "why": str}]}
IMPLEMENTATION = {"library": str, "way": str, "seconds": MAYBE, "ulp": MAYBE, "of_bound": MAYBE, "wrong": bool,
                  "joules": MAYBE, "joules_reason": TEXT, "failed": TEXT, "samples": [MAYBE], "prepack_seconds": MAYBE,
                  "limit?": str, "of_limit?": INTERVAL, "over?": {str: INTERVAL}, "explain?": EXPLAIN}  # fmt: skip
ROW = {"id": str, "suite": str, "dtype": str, "shape": str, "source": str, "threads": int, "state": str,
       "operations": NUMBER, "bytes": NUMBER, "limit": {"name": str, "kind": str, "rate": NUMBER},
       "absent": {str: str}, "op": str, "implementations": [IMPLEMENTATION]}  # fmt: skip
RESULT = {
    "schema": int,
    "date?": str, "revision?": str, "compiler?": str, "version?": str,
    "device?": {"name?": str, "cpu?": str, "cores?": int, "caches?": {str: int}, "isa?": [str]},
    "settings": {"threads": [int], "rounds": int, "sample_seconds": NUMBER, "cpus?": [int], "set?": str,
                 "interrupted?": bool},
    "ceilings": [{"name": str, "unit": str, "one": NUMBER, "all": NUMBER}],
    "libraries": [{"name": str, "version": TEXT, "missing": TEXT}],
    "overhead": [{"library": str, "way": str, "p50": MAYBE, "p99": MAYBE, "failed?": str}],
    "rows": [ROW],
}  # fmt: skip


def ours(library):
    """Whether it is hunze, through whichever interface: no peer."""
    return library == HUNZE or library.startswith(HUNZE + "_")


class ResultError(ValueError):
    """A file that is no result; says which, and what is wrong with it."""


@dataclass
class Interval:
    """A median of ratios; low and high bound it with 95 % where it `holds`."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, given, *samples):
        """What a result says of a ratio; it has a value in each round of which all have a sample.  None without any."""
        if not given or any(given[name] is None for name in INTERVAL):
            return None
        rounds = sum(None not in together for together in zip(*samples))
        return cls(given["median"], given["low"], given["high"], rounds)

    @property
    def holds(self):
        return self.rounds >= ROUNDS

    def __str__(self):
        return number(self.median) + (" (%s–%s)" % (number(self.low), number(self.high)) if self.holds else "")


@dataclass
class Implementation:
    """One way of one library on one row; `ratio`: its seconds over those of hunze's plan."""

    library: str
    way: str
    limit: str
    seconds: float | None
    of_limit: Interval | None
    ulp: float | None
    of_bound: float | None
    wrong: bool
    failed: str | None
    prepack_seconds: float
    joules: float | None
    joules_reason: str | None
    explain: dict = field(default_factory=dict)
    ratio: Interval | None = None

    @property
    def label(self):
        return self.library + (" " + self.way if self.way else "")

    @property
    def sound(self):
        """Whether it was timed, and its result was right."""
        return not self.failed and not self.wrong and bool(self.seconds)

    @property
    def verdict(self):
        """Of hunze's plan against this one; "" without an interval."""
        if self.ratio is None or not self.ratio.holds:
            return ""
        return "faster" if self.ratio.low > 1 else "slower" if self.ratio.high < 1 else "no difference"


@dataclass
class Row:
    id: str
    suite: str
    dtype: str
    shape: str
    source: str
    threads: int
    state: str
    operations: float
    bytes: float
    limit: dict
    absent: dict
    implementations: list

    @property
    def plan(self):
        """What a call of hunze gets, in the layout that is faster; None where hunze does not do the row."""
        mine = [
            one for one in self.implementations if one.library == HUNZE and one.way.partition(",")[0] in ("plan", "")
        ]
        return fastest([one for one in mine if one.sound]) or (mine[0] if mine else None)

    @property
    def peers(self):
        return [one for one in self.implementations if not ours(one.library)]

    @property
    def best(self):
        """The fastest peer whose result is right, or None."""
        return fastest([one for one in self.peers if one.sound])

    @property
    def why_absent(self):
        return self.absent.get(HUNZE) or "not measured"

    @property
    def family(self):
        """The arithmetic that its roofline is drawn for."""
        if self.limit["kind"] == "compute":
            return self.limit["name"].split()[0]
        return "u8s8" if self.dtype == "s8s8" or self.dtype.startswith("w") else self.dtype

    @property
    def key(self):
        return self.id, self.dtype, self.shape, self.threads


@dataclass
class Result:
    name: str  # of the file
    content: dict
    rows: list

    def __getattr__(self, name):
        try:
            return self.content[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def date(self):
        return self.content.get("date") or ""

    @property
    def when(self):
        """The date as what it can be sorted by; without one it comes first."""
        try:
            moment = datetime.fromisoformat(self.date)
        except ValueError:
            return datetime.min.replace(tzinfo=UTC)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    @property
    def revision(self):
        return self.content.get("revision") or "unknown"

    @property
    def device(self):
        return self.content.get("device") or {}

    @property
    def device_name(self):
        return self.device.get("name") or "unnamed device"

    @property
    def threads(self):
        return sorted({row.threads for row in self.rows})

    @property
    def found(self):
        return [library for library in self.libraries if library["missing"] is None]

    @property
    def missing(self):
        return [library for library in self.libraries if library["missing"] is not None]

    def rows_of(self, threads):
        return [row for row in self.rows if row.threads == threads]

    def each(self, wanted):
        """(row, implementation) wherever `wanted(implementation)`; hunze's own first."""
        pairs = [(row, one) for row in self.rows for one in row.implementations if wanted(one)]
        return sorted(pairs, key=lambda pair: not ours(pair[1].library))

    def verdicts(self, threads):
        """How many rows are faster, of no difference and slower than the best peer, and how many have no verdict."""
        counts = {"faster": 0, "no difference": 0, "slower": 0, "no verdict": 0}
        for row in self.rows_of(threads):
            if row.plan and row.plan.sound and row.best and row.best.ratio:
                counts[row.best.verdict or "no verdict"] += 1
        return counts


def fastest(implementations):
    """By the ratio within a round where there is one, else by the seconds."""
    timed = all(one.ratio for one in implementations)
    return min(implementations, key=lambda one: one.ratio.median if timed else one.seconds, default=None)


def best_ways(rows):
    """library -> [(row, its fastest way)], for the peers with a ratio; a wrong way only where there is no right one."""
    found = {}
    for row in rows:
        for library in dict.fromkeys(one.library for one in row.peers):
            ways = [one for one in row.peers if one.library == library and one.ratio and one.seconds and not one.failed]
            best = fastest([one for one in ways if one.sound]) or fastest(ways)
            if best:
                found.setdefault(library, []).append((row, best))
    return found


def history(results):
    """key of a row -> [(result, interval of the part of the limit)], by date."""
    found = {}
    for result in sorted(results, key=lambda result: result.when):
        for row in result.rows:
            if row.plan and row.plan.sound and row.plan.of_limit:
                found.setdefault(row.key, []).append((result, row.plan.of_limit))
    return found


def expect(value, template, where):
    """Raises ResultError unless the value has the types of the template; a dict may have more members."""
    if isinstance(template, dict):
        if not isinstance(value, dict):
            raise ResultError("%s is no object" % where)
        members = [(name, template[str]) for name in value] if str in template else template.items()
        for name, inner in members:
            if name not in value:
                if name[-1:] != "?":
                    raise ResultError("%s has no '%s'" % (where, name))
                name = name[:-1]
                if value.get(name) is None:
                    continue
            expect(value[name], inner, "%s.%s" % (where, name))
    elif isinstance(template, list):
        if not isinstance(value, list):
            raise ResultError("%s is no list" % where)
        for index, one in enumerate(value):
            expect(one, template[0], "%s[%d]" % (where, index))
    elif not isinstance(value, template) or (isinstance(value, bool) and template is not bool):
        names = template if isinstance(template, tuple) else (template,)
        raise ResultError("%s is %.40r, not of %s" % (where, value, " or ".join(one.__name__ for one in names)))


def read(path):
    """The result in a file; ResultError says what is wrong with it."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError("%s cannot be read: %s" % (path, error.strerror)) from None
    except ValueError as error:
        raise ResultError("%s is not JSON: %s" % (path, error)) from None
    if not isinstance(content, dict) or content.get("schema") != 1:
        raise ResultError('%s is no result: it has no "schema": 1' % path)
    try:
        expect(content, RESULT, "it")
    except ResultError as error:
        raise ResultError("%s is no result: %s" % (path, error)) from None
    return Result(Path(path).name, content, [row_of(row) for row in content["rows"]])


def row_of(given):
    implementations = [
        Implementation(
            **{
                name: one[name]
                for name in IMPLEMENTATION
                if name[-1] != "?" and name not in ("samples", "prepack_seconds")
            },
            prepack_seconds=one["prepack_seconds"] or 0,
            limit=one.get("limit") or given["limit"]["name"],
            of_limit=Interval.of(one.get("of_limit"), one["samples"]),
            explain=one.get("explain") or {},
        )
        for one in given["implementations"]
    ]
    row = Row(
        **{name: given[name] for name in ROW if name not in ("op", "implementations")}, implementations=implementations
    )
    if row.plan:
        plan = given["implementations"][implementations.index(row.plan)]
        for one, other in zip(implementations, given["implementations"]):
            one.ratio = Interval.of((plan.get("over") or {}).get(one.label), plan["samples"], other["samples"])
    return row


def recorded(folder, device):
    """(results of the device, lines about files that could not be read); files from before schema 1 are left out."""
    results, unread = [], []
    if not device or Path(device).name != device:
        return results, unread
    for path in sorted((Path(folder) / device).glob("*.json")):
        try:
            results.append(read(path))
        except ResultError as error:
            if "schema" not in str(error):
                unread.append("left out of the history: %s" % error)
    return results, unread


def number(value):
    """Three digits or so; a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if 0 < abs(value - 1) < 0.005:
        return "%.3f" % value  # on which side of 1 it lies
    if size and size < 0.095:
        return ("%.2g" if size >= 1e-4 else "%.1e") % value
    return ("%.0f" if size >= 99.95 else "%.1f" if size >= 9.995 else "%.2f") % value


def short(value):
    """As number, without the zeros of a whole one: for errors and counts."""
    return "%d" % value if value is not None and math.isfinite(value) and value == int(value) else number(value)


def scaled(value, units):
    """With the greatest of [(factor, unit)] that leaves at least one."""
    if value is None:
        return "–"
    factor, unit = next((pair for pair in units if abs(value) >= pair[0]), units[-1])
    return "%s %s" % (number(value / factor), unit)


def operations(value):
    return scaled(value, [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")]).strip() + " operations"


def seconds(value):
    return scaled(value, [(1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")])


def rate(value, unit):
    letter = "B" if unit == "bytes/s" else "op"
    return scaled(value, [(1e12, "T%s/s" % letter), (1e9, "G%s/s" % letter), (1e6, "M%s/s" % letter)])


def size(value):
    return scaled(value, [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")]) if value else "–"


def joules(value):
    return scaled(value, [(1, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ")])
