"""The performance table of README.md, made from a recorded result.

    readme_table.py [RESULT.json [ROW ...]] [--write]

Prints it; with --write it replaces what stands between the markers of README.md. The first marker names the result and
the rows, all of them if none is named: without arguments the table is made again from those.
"""

import argparse
import re
import sys
from pathlib import Path

from report_markdown import best_peer, clean, plural
from report_results import ResultError, read

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- performance: made by bench/readme_table.py from %s -->\n", "<!-- end of performance -->\n"
MARKED = re.compile(re.escape(BEGIN).replace("%s", "(.*?)") + "(.*?)" + re.escape(END), re.S)


def made(source, rows=()):
    """The table of a result, named from the project's folder, with what it is of."""
    result = read(ROOT / source)
    unknown = set(rows) - {row.id for row in result.rows}
    if unknown:
        raise ResultError("%s has no row %s" % (source, ", ".join(sorted(unknown))))
    chosen = [row for row in result.rows if row.plan and row.plan.of_limit and (not rows or row.id in rows)]
    lost = set(rows) - {row.id for row in chosen}
    if lost:
        raise ResultError("%s has no figure of hunze for %s" % (source, ", ".join(sorted(lost))))
    lines = {}
    for row in chosen:
        best, ratio, verdict = best_peer(row)
        if row.plan.sound:
            over = ", ".join(word for word in (ratio, verdict) if word)
            told = [str(row.plan.of_limit), "%s: %s" % (over, best) if row.best and row.best.ratio else best]
        else:
            told = ["wrong" if row.plan.wrong else "failed", "–"]
        lines.setdefault((row.id, row.dtype, row.shape, row.plan.limit), {})[row.threads] = told
    counts = sorted({row.threads for row in chosen})
    head = ["row", "type", "shape", "limit"]
    for threads in counts:
        head += ["of the limit, " + plural(threads, "thread"), "over the best peer, " + plural(threads, "thread")]
    body = [
        [*row, *(cell for threads in counts for cell in told.get(threads, ["", ""]))] for row, told in lines.items()
    ]
    lead = (
        "%s, revision %s, %s; made from `%s`. In brackets the interval of the median; fewer than six\n"
        "rounds give none, and no verdict. A ratio above 1 says that hunze is faster; behind the fastest peer with a\n"
        "right result stands that one's own part of the limit.\n"
    ) % (result.device.get("cpu") or result.device_name, result.revision, result.date[:10] or "undated", source)
    rule = ["---"] * len(head)
    return lead + "\n" + "".join("| %s |\n" % " | ".join(map(clean, row)) for row in [head, rule, *body])


def current(text):
    """(result, rows) that the first marker of README.md's text names; None without markers."""
    found = MARKED.search(text)
    if not found:
        return None
    source, *rows = found.group(1).replace(",", " ").split()
    return source, rows


def replaced(text, source=None, rows=()):
    """README.md's text with the table made again, from the result that it names if no other is given."""
    if not MARKED.search(text):
        raise ResultError("README.md has no lines %s%s" % (BEGIN.replace("%s", "NOTHING"), END))
    if source is None:
        source, rows = current(text)
    named = " ".join([str(source), ", ".join(rows)]).strip()
    new = BEGIN % named + "\n" + made(source, rows) + "\n" + END
    return MARKED.sub(lambda _: new, text, count=1)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("result", nargs="?", metavar="RESULT.json")
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--write", action="store_true", help="into README.md")
    options = parser.parse_intermixed_args(arguments)
    readme = ROOT / "README.md"
    try:
        text = readme.read_text(encoding="utf-8")
        source, rows = options.result, options.rows
        if source is None:
            if current(text) is None:
                raise ResultError("README.md has no performance table yet: name a result")
            source, rows = current(text)
        else:
            path = Path(source).resolve()
            source = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.as_posix()
        if options.write:
            readme.write_text(replaced(text, source, rows), encoding="utf-8")
        else:
            sys.stdout.write(made(source, rows))
    except (OSError, ResultError) as error:
        print("readme_table: " + " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
