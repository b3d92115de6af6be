"""Reports made from results of `hunze_bench` (README.md, "Results").

    report.py RESULT.json ... [--markdown] [--html FILE] [--history FOLDER]

Without --html it prints Markdown. --html writes one file that stands alone: no network, no script for its content.
The history of each row comes from the results recorded for the same device in FOLDER, bench/results if none is named.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import report_markdown
import report_results

RECORDED = Path(__file__).resolve().parent / "results"


def stop(why):
    print("report: " + " ".join(str(why).split()), file=sys.stderr)
    sys.exit(2)


def check_target(path):
    """Ends the program where no file can be written, before any work is done for it."""
    folder = path.absolute().parent
    if path.is_dir():
        stop("%s is a folder; --html takes the name of a file" % path)
    if not folder.is_dir():
        stop("%s cannot be written: there is no folder %s" % (path, folder))
    try:
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, os.strerror(13))
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        stop("%s cannot be written: %s" % (path, error.strerror))


def write(path, text):
    """The whole file or nothing."""
    path = path.resolve()
    part = path.with_name(".%s.%d" % (path.name, os.getpid()))
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        stop("%s cannot be written: %s" % (path, error.strerror))


def history_of(result, folder):
    """history() over what is recorded for the device, with the result itself."""
    others, unread = report_results.recorded(folder, result.device.get("name"))
    for line in unread:
        print("report: " + line, file=sys.stderr)
    same = [other for other in others if (other.when, other.revision) != (result.when, result.revision)]
    return report_results.history([*same, result])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("results", nargs="+", metavar="RESULT.json")
    parser.add_argument("--markdown", action="store_true", help="print Markdown, also beside --html")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page that stands alone")
    parser.add_argument("--history", type=Path, default=RECORDED, metavar="FOLDER", help="recorded results, by device")
    options = parser.parse_intermixed_args(arguments)
    if options.html:
        check_target(options.html)
    try:
        results = [report_results.read(path) for path in options.results]
    except report_results.ResultError as error:
        stop(error)
    if options.markdown or not options.html:
        sys.stdout.write("\n".join(map(report_markdown.markdown, results)))
    if options.html:
        try:
            import report_page
        except ImportError as error:
            stop(
                "the page needs %s: make bench installs it into .venv, pip install -r requirements/bench.txt elsewhere"
                % error.name
            )
        write(options.html, report_page.page([(result, history_of(result, options.history)) for result in results]))


if __name__ == "__main__":
    main()
