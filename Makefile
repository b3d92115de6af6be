# Two commands: `make demo` and `make check`.  The build itself is CMake's (CMakePresets.json); this installs what it needs first.
PYTHON ?= python3
VENV_PYTHON = .venv/bin/python

help:
	@echo 'make demo        build, install into .venv, read a photographed page, write demo/report.html'
	@echo 'make check       every test: gcc, clang, sanitizers, emulated CPUs, Python, installed use (20 minutes on 2 cores)'
	@echo 'make check-fast  the inner loop: one build, fast C and Python tests (2 minutes)'
	@echo 'make check-long  what takes hours: all 2^32 inputs of every activation, every kernel under sanitizers'
	@echo 'make bench       every kernel beside the limits of this machine and other libraries; FULL=1 all rows, RECORD=1 keeps the result'
	@echo 'make wheel       dist/hunze-*.whl, with CUDA unless CUDA=0'
	@echo 'make emulated-demo  the page of make demo on the emulated GPU too: the same text and bits (a minute after the build)'
	@echo 'make gpu-folder  build/gpu-folder, to be run on a machine with a GPU: sh verify.sh'
	@echo 'make clean       remove build/, dist/ and .venv'
	@echo 'PYTHON=python3.12 chooses the interpreter, 3.11 or later; CUDA=1 fetches nvcc and builds the CUDA backend, CUDA=0 leaves it out (neither: it is built if nvcc is here).'

demo: bootstrap-demo
	@$(VENV_PYTHON) tools/wheel.py
	@$(VENV_PYTHON) tools/demo.py

# What is published carries CUDA; CUDA=0 leaves it out.
wheel: export CUDA := $(or $(CUDA),1)
wheel: bootstrap-demo
	@$(VENV_PYTHON) tools/wheel.py

check check-fast check-long: bootstrap-check
	@$(VENV_PYTHON) tools/check.py $@

emulated-demo: bootstrap-check
	@$(VENV_PYTHON) tools/emulated_demo.py

gpu-folder: bootstrap-check
	@$(VENV_PYTHON) tools/gpu_folder.py

bench: bootstrap-bench
	@$(VENV_PYTHON) tools/bench.py

bootstrap-demo bootstrap-bench bootstrap-check:
	@command -v $(PYTHON) >/dev/null || { echo 'Hunze needs Python 3.11 or later as python3, or make PYTHON=...'; exit 1; }
	@$(PYTHON) tools/bootstrap.py $(@:bootstrap-%=%)

clean:
	rm -rf build dist .venv

.PHONY: help demo wheel emulated-demo gpu-folder check check-fast check-long bench bootstrap-demo bootstrap-bench bootstrap-check clean
