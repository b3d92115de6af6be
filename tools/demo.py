"""The demonstration, then where to go from it."""

import subprocess

from steps import PYTHON, ROOT, environment, run, say, stop


def main():
    report = ROOT / "demo" / "report.html"
    report.parent.mkdir(exist_ok=True)
    command = [str(PYTHON), "-m", "hunze", "demo", "-o", str(report)]
    if subprocess.run(command, cwd=str(ROOT), env=environment()).returncode:
        stop("The demonstration failed.")
    (wheel,) = (ROOT / "dist").glob("hunze-*.whl")
    say("The report:          %s" % report)
    say("What this CPU runs:  .venv/bin/python -m hunze info")
    say("In your notebook:    %%pip install %s" % wheel)


if __name__ == "__main__":
    run(main)
