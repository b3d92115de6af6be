"""Tensor kernels with the same bits on every CPU: information, self-check, demonstration, benchmark, ceilings."""

import argparse
import json
import sys


def _info(arguments):
    from . import info

    figures = info()
    print(json.dumps(figures, indent=1) if arguments.json else figures)
    return 0


def _test(arguments):
    from . import test

    return 0 if test() else 1


def main(argv=None):
    """The command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        return _run(argv)
    except KeyboardInterrupt:
        print(f"python -m hunze {argv[0]}: interrupted", file=sys.stderr)
        return 130  # as a shell says it


def _run(argv):
    # demo, bench and tune read their own arguments, and are imported only where they are wanted.
    if argv[:1] == ["demo"]:
        from .demo import main as demo

        return demo(argv[1:])
    if argv[:1] == ["bench"]:
        from .bench import main as bench

        return bench(argv[1:])
    if argv[:1] == ["tune"]:
        from .tune import main as tune

        return tune(argv[1:])
    parser = argparse.ArgumentParser(prog="python -m hunze", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    information = commands.add_parser("info", help="versions, CPU, instruction sets, threads and kernels")
    information.add_argument("--json", action="store_true", help="as JSON")
    information.set_defaults(run=_info)
    commands.add_parser("test", help="check this installation against NumPy").set_defaults(run=_test)
    commands.add_parser("demo", help="read a photographed page and write a report", add_help=False)
    commands.add_parser("bench", help="ratios to this machine's limits and to other libraries", add_help=False)
    commands.add_parser(
        "tune", help="measure this machine's limits and other libraries once, for hunze.explain", add_help=False
    )
    arguments = parser.parse_args(argv)
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
