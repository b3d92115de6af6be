"""A result as Markdown for the terminal; the page says the same from the same functions."""

from report_results import joules, number, ours, rate, seconds, short, size

NOT_YET = "not in Hunze yet"
FEW = "Without an interval, and so without a verdict, stand figures of fewer than six rounds: too few for one of 95 %."


def clean(text):
    """Text for a cell: no line breaks, no control characters, no column marks."""
    return "".join(c if c.isprintable() else " " for c in str(text)).replace("|", "\\|")


def table(head, rows, right=()):
    """Lines of a Markdown table, its columns padded to be read as text; `right`: the columns set to the right."""
    cells = [[clean(cell) for cell in row] for row in [head, *rows]]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]
    rule = ["-" * (width - 1) + (":" if i in right else "-") for i, width in enumerate(widths)]

    def line(row):
        padded = (c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths)))
        return "| " + " | ".join(padded) + " |"

    return [line(cells[0]), line(rule), *map(line, cells[1:])]


def facts(result):
    """(name, words) about the device and the settings."""
    device, settings = result.device, result.settings
    caches = device.get("caches") or {}
    cpus = ", ".join(map(str, settings.get("cpus") or []))
    return [
        ("device", ", ".join(str(part) for part in (result.device_name, device.get("cpu")) if part)),
        ("cores", str(device.get("cores") or "–")),
        ("caches", ", ".join("%s %s" % (name, size(caches[name])) for name in caches) or "–"),
        ("instruction sets", ", ".join(map(str, device.get("isa") or [])) or "–"),
        ("hunze", "%s, revision %s" % (result.content.get("version") or "–", result.revision)),
        ("compiler", str(result.content.get("compiler") or "–")),
        ("date", result.date or "–"),
        ("threads", ", ".join(map(str, settings["threads"])) + (", on processors %s" % cpus if cpus else "")),
        ("rounds", "%d, samples of %s" % (settings["rounds"], seconds(settings["sample_seconds"]))),
        ("rows", "%d, the %s set%s" % (len(result.rows), settings.get("set") or "chosen",
                                       "; interrupted, so not all" if settings.get("interrupted") else "")),
    ]  # fmt: skip


def ceilings(result):
    """(head, rows): the limits of one thread, and of the most threads of the run where those are several."""
    most = max(result.settings["threads"], default=1)
    rows = [
        (one["name"], rate(one["one"], one["unit"]), rate(one["all"], one["unit"]) if most > 1 else "–")
        for one in result.ceilings
    ]
    return ["limit", "1 thread", plural(most, "thread") if most > 1 else "several threads"], rows


def absent_words(row):
    """Why there is no figure of hunze on the row."""
    return "%s: %s" % (NOT_YET, row.why_absent)


def part(one):
    """The part of the limit, or why there is none."""
    if one is None:
        return "–"
    if one.failed:
        return "failed"
    return (str(one.of_limit) if one.of_limit else "–") + (", WRONG" if one.wrong else "")


def limit_of(row):
    """Hunze's limit, or that of the fastest peer."""
    one = row.plan or row.best
    return one.limit if one else row.limit["name"]


def kernel(row):
    """The kernel of hunze's plan, with the layout where it is not the row's own."""
    if not row.plan:
        return NOT_YET
    return (row.plan.explain.get("kernel") or "–") + row.plan.way.removeprefix("plan")


def plan_words(row):
    """Why hunze runs the row as it does, or not at all."""
    if not row.plan:
        return absent_words(row)
    return "failed: " + row.plan.failed if row.plan.failed else row.plan.explain.get("why") or "no reason given"


def best_peer(row):
    """(the fastest peer with its part of the limit, its ratio, the verdict)"""
    best = row.best
    if not best:
        wrong = any(one.wrong for one in row.peers)
        return "none right" if wrong else "none that ran" if row.peers else "none", "–", ""
    name = best.label + (" (%s)" % number(best.of_limit.median) if best.of_limit else "")
    return name, str(best.ratio) if best.ratio else "–", best.verdict


def error(one):
    """Integers have no bound: any error is over it."""
    times = "" if one.of_bound is None else ", %s times the bound" % short(one.of_bound)
    return (short(one.ulp) + " ULP" if one.ulp is not None else "not finite") + times


def wrong(result):
    """(row, threads, library, error, its speed) of every result over the bound; hunze's own first."""
    return [
        (row.id, row.dtype, row.threads, one.label, error(one),
         "%s × hunze's time" % one.ratio if one.ratio else "–")
        for row, one in result.each(lambda one: one.wrong)
    ]  # fmt: skip


def wrong_words(result):
    """How many results are wrong, and whose."""
    mine = [ours(one.library) for _, one in result.each(lambda one: one.wrong)]
    return "%s, %d of them hunze's" % (plural(len(mine), "wrong result"), sum(mine))


def failed(result):
    return [(row.id, row.dtype, row.threads, one.label, one.failed) for row, one in result.each(lambda one: one.failed)]


def prepacking(result):
    """What weights took to bring into a form of the library's own, hunze's and the fastest peer's."""
    lines = []
    for row in result.rows:
        for one in (row.plan, row.best):
            if one and one.prepack_seconds and one.seconds:
                calls = "%s calls" % number(one.prepack_seconds / one.seconds)
                lines.append(
                    (row.id, row.dtype, row.shape, row.threads, one.label, seconds(one.prepack_seconds), calls)
                )
    return lines


def overhead(result):
    """Library, way, p50 and p99 in nanoseconds, or why there are none."""
    lines = []
    for one in result.overhead:
        why = one.get("failed") or "not measured"
        p50, p99 = (("%.0f" % one[name] if one[name] is not None else "–") for name in ("p50", "p99"))
        lines.append((one["library"], one["way"] if one["p50"] is not None else why, p50, p99))
    return sorted(lines, key=lambda line: not ours(line[0]))


def energy(result):
    """One line: whether joules were measured, or why not."""
    measured = [one for _, one in result.each(lambda one: one.joules is not None)]
    reasons = {one.joules_reason for _, one in result.each(lambda one: one.joules_reason)}
    if measured:
        return "Joules: measured for %d of %d figures." % (len(measured), len(result.each(lambda one: True)))
    return "Joules: none, " + ("; ".join(sorted(reasons)) or "they were not asked for")


def balance(result, threads):
    """One line about the rows of a number of threads against the best peers."""
    counts = result.verdicts(threads)
    if not sum(counts.values()):
        return "No row has figures of both hunze and a peer."
    words = "%(faster)d faster, %(no difference)d no difference, %(slower)d slower"
    words += ", %(no verdict)d without a verdict" if counts["no verdict"] else ""
    return "Rows against the fastest peer with a right result: %s." % (words % counts)


def few(rows):
    """A footnote about the figures of the main table that have no interval; "" where all have one."""
    found = []
    for row in rows:
        for words, figure in (("", row.plan and row.plan.of_limit), (" ratio", row.best and row.best.ratio)):
            if figure and not figure.holds:
                found.append("%s %s%s (%s)" % (row.id, row.dtype, words, plural(figure.rounds, "round")))
    return "%s Here: %s." % (FEW, ", ".join(found)) if found else ""


def plural(count, word):
    return "%d %s%s" % (count, word, "" if count == 1 else "s")


def markdown(result):
    """The whole report of a result."""
    lines = ["# Hunze on %s" % clean(result.device_name), ""]
    lines += ["- %s: %s" % (name, clean(words)) for name, words in facts(result)]
    lines += ["- %s" % clean(energy(result))]
    lines += ["", "## Limits measured", ""]
    lines += table(*ceilings(result), right=(1, 2))
    lines += ["", "## Libraries", ""]
    lines += ["- %s %s" % (clean(one["name"]), clean(one["version"] or "")) for one in result.found]
    lines += ["- %s is missing: %s" % (clean(one["name"]), clean(one["missing"])) for one in result.missing]
    for threads in result.threads:
        lines += ["", "## " + plural(threads, "thread"), ""]
        lines += [
            balance(result, threads),
            "",
            "The ratio is the peer's time over hunze's: above 1 hunze is faster.",
            "",
        ]
        rows = [
            (row.id, row.dtype, row.shape, kernel(row), part(row.plan), limit_of(row), *best_peer(row),
             short(row.plan.ulp) if row.plan else "–")
            for row in result.rows_of(threads)
        ]  # fmt: skip
        head = ["row", "dtype", "shape", "kernel", "of limit", "limit", "best peer", "ratio", "verdict", "ULP"]
        lines += table(head, rows, right=(9,))
        note = few(result.rows_of(threads))
        lines += ["", clean(note)] if note else []
        lines += sorted({"\n%s %s: %s." % (row.id, row.dtype, clean(absent_words(row)))
                         for row in result.rows_of(threads) if not row.plan})  # fmt: skip
        joule_lines = [(row.id, one.label, joules(one.joules)) for row in result.rows_of(threads)
                       for one in (row.plan, row.best) if one and one.joules is not None]  # fmt: skip
        if joule_lines:
            lines += ["", *table(["row", "library", "joules per call"], joule_lines, right=(2,))]
    for title, none, head, rows in (
        ("Wrong results", "None.", ["row", "dtype", "threads", "library", "error", "ratio"], wrong(result)),
        ("What ended early", "Nothing.", ["row", "dtype", "threads", "library", "how"], failed(result)),
        ("Prepacking of weights, once", "None.",
         ["row", "dtype", "shape", "threads", "library", "time", "is worth"], prepacking(result)),
        ("Call overhead: nanoseconds of a 4 × 4 f32 product", "Not measured.",
         ["library", "way", "p50", "p99"], overhead(result)),
    ):  # fmt: skip
        lines += ["", "## " + title, ""] + (table(head, rows) if rows else [none])
    return "\n".join(lines) + "\n"
