"""The demonstration's page on the emulated GPU: the same text and bits as on the CPU, without a GPU."""

import check
from steps import PYTHON, ROOT, Steps, run
from wheel import install_wheel


def main():
    steps = Steps()
    check.configure_and_build(steps, "gcc", "hunze_standin")
    install_wheel(steps, ROOT / "build" / "gcc" / "fatbins")
    command = [PYTHON, "-m", "hunze", "demo", "--quick", "--device", "cuda", "-o", ROOT / "demo" / "report.html"]
    driver = {"LD_LIBRARY_PATH": str(ROOT / "build" / "gcc" / "standin")}
    steps.run("the page on the emulated GPU", *command, env=driver)
    steps.table()


if __name__ == "__main__":
    run(main)
