# make demo: the main job on real images. make firmware-demo: the same on an emulated microcontroller. make test: all
# checks. make docs: the pages of docs/, in out/docs. All make .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
FASHION_MNIST := /usr/share/datasets/fashion-mnist
JOBS ?= 2

.PHONY: demo firmware-demo test docs clean compiler emulator

demo: $(INSTALLED) compiler
	@tools/need dataset-fashion-mnist test -d $(FASHION_MNIST)
	@$(BIN)/python apps/fashion_mnist/demo.py

firmware-demo: $(INSTALLED) compiler emulator
	@tools/need dataset-fashion-mnist test -d $(FASHION_MNIST)
	@$(BIN)/python apps/firmware_demo/firmware_demo.py

test: $(INSTALLED) compiler emulator
	@tools/need cmake cmake --version
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pytest -n $(JOBS) --dist loadgroup

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(INSTALLED): pyproject.toml setup.py
	@tools/need "python3 python3-venv" $(PYTHON) -c "import ensurepip, venv"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[tvm,test]'
	@touch $@

compiler:
	@tools/need "gcc libc6-dev" sh -c 'echo "#include <math.h>" | gcc -x c -fsyntax-only -'

# For firmware: a cross compiler, its C library, and the machine that runs it.
emulator:
	@tools/need "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm" sh -c \
	  'qemu-system-arm --version && echo "#include <math.h>" | arm-none-eabi-gcc -x c -fsyntax-only -'

clean:
	rm -rf $(VENV) build dist *.egg-info out
