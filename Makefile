# Each target starts from nothing: it makes .venv if there is none. The plain lines stand in
# CONTRIBUTING.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(wildcard csrc/* csrc/*/*) $(shell find src -name '*.py*' -not -path '*/__pycache__/*')
# The versions pinned also hold for what the build itself needs.
PIP := PIP_CONSTRAINT=$(CURDIR)/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet
PYTEST := $(BIN)/python -m pytest
# One process a core, four at most: each imports every framework that its tests need.
PARALLEL := -n auto --maxprocesses 4 --dist worksteal
SANITIZED := tests/core/test_boxes.py tests/core/test_threads.py tests/function/test_function_arrays.py tests/fronts/test_memory.py

.PHONY: demo test slow check lint docs site site-test bench instructions core arm avx512 windows musl macos free-threaded asan tsan triton fuzz clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: $(SOURCES) | $(BIN)/python
	$(PIP) -e '.[cli]'
	touch $@

$(VENV)/dev.stamp: $(SOURCES) | $(BIN)/python
	$(PIP) -e '.[dev]'
	touch $@ $(VENV)/demo.stamp

demo: $(VENV)/demo.stamp
	$(BIN)/lrnorm demo --force

test: $(VENV)/dev.stamp
	$(PYTEST) $(PARALLEL) -m "not slow"

slow: $(VENV)/dev.stamp
	$(PYTEST) $(PARALLEL) -m slow

# Everything that must hold before a change lands: what CI runs.
check:
	bash .ci/run

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	bash csrc/check_isolation.sh

# The site, into build/docs; what a link or a docstring names and is not there fails it.
docs: $(VENV)/dev.stamp
	$(BIN)/python -m sphinx -E -W --keep-going -q docs build/docs

# The site with the page that reads model files (docs/explore), in build/docs. Needs npm.
site: docs
	$(BIN)/python docs/explore/build.py build/docs/explore

# That page in Chromium (Debian's package chromium). SCREENSHOTS=FOLDER keeps pictures of it.
site-test: site
	PYTHON=$(CURDIR)/$(BIN)/python node --test tests/site/page.test.mjs

# docs/performance.md measured again, beside whichever rivals can be installed: benchmarks/README.md.
RIVALS := torch $(filter-out torch,$(patsubst benchmarks/rivals/%.txt,%,$(wildcard benchmarks/rivals/*.txt)))
RIVALS_PIP := PIP_CONSTRAINT=$(CURDIR)/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 .venv-rivals/bin/python -m pip install --quiet
ROUNDS ?= 15

bench: .venv-rivals/lrnorm.stamp
	.venv-rivals/bin/python benchmarks/evidence.py --rounds $(ROUNDS)
	.venv-rivals/bin/python benchmarks/run.py --suite promises --rounds $(ROUNDS)
	.venv-rivals/bin/python benchmarks/whole_axis.py
	.venv-rivals/bin/python benchmarks/page.py

.venv-rivals/bin/python:
	$(PYTHON) -m venv .venv-rivals

.venv-rivals/rivals.stamp: constraints.txt $(wildcard benchmarks/rivals/*.txt) | .venv-rivals/bin/python
	for rival in $(RIVALS); do \
	    $(RIVALS_PIP) -r benchmarks/rivals/$$rival.txt || echo "left out, as it cannot be installed here: $$rival"; \
	done
	touch $@

# Beside lrnorm: bfloat16 for NumPy, and what the nets of examples/ import.
.venv-rivals/lrnorm.stamp: $(SOURCES) .venv-rivals/rivals.stamp
	$(RIVALS_PIP) '.[plot]' ml_dtypes scikit-image pillow -C build-dir=build/rivals
	touch $@

# Instructions for an element of the result, beside the numbers kept: the same in every run.
instructions:
	$(PYTHON) benchmarks/instructions.py

# tests/core/test_core.cpp, which needs no Python: here, on an emulated 64-bit Arm processor, on
# Windows as wine runs it, and with musl, which needs no other system; for macOS it is compiled and
# linked, and nothing here can run it. What is missing is installed from Debian, or from PyPI.
CORE := cmake -S . -DLRNORM_CORE_TESTS=ON
debian = dpkg -s $(1) >/dev/null 2>&1 || (apt-get update -qq && apt-get install -y -qq --no-install-recommends $(1))
ARM_TOOLS := g++-aarch64-linux-gnu qemu-user llvm cmake make gcc libc6-dev
WINDOWS_TOOLS := clang lld mingw-w64 wine wine64 cmake make

core:
	$(CORE) -B build/core
	cmake --build build/core --parallel
	build/core/test_core

arm:
	$(call debian,$(ARM_TOOLS))
	$(CORE) -B build/arm -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++
	cmake --build build/arm --parallel
	bash csrc/check_isolation.sh build/arm aarch64-linux-gnu-nm
	QEMU_LD_PREFIX=/usr/aarch64-linux-gnu qemu-aarch64 build/arm/test_core --no-forks
	$(PYTHON) benchmarks/instructions.py --arm
	$(PYTHON) benchmarks/cycles.py

windows:
	$(call debian,$(WINDOWS_TOOLS))
	$(CORE) -B build/windows -DCMAKE_TOOLCHAIN_FILE=tests/core/windows.cmake
	cmake --build build/windows --parallel
	WINEDEBUG=-all wine build/windows/test_core.exe

# Not every processor has AVX-512: Bochs emulates one, and boots Debian's kernel with these tests.
AVX512_TOOLS := bochs bochs-term bochsbios vgabios isolinux syslinux-common genisoimage cpio bsdutils procps g++ libc6-dev cmake make
avx512:
	$(call debian,$(AVX512_TOOLS))
	$(CORE) -B build/avx512 -DCMAKE_EXE_LINKER_FLAGS=-static -DCMAKE_CXX_FLAGS="-include $(CURDIR)/tests/core/bochs.h"
	cmake --build build/avx512 --parallel --target test_core
	bash tests/core/bochs.sh build/avx512/test_core build/avx512/machine avx512

ZIG := $(CORE) -DCMAKE_TOOLCHAIN_FILE=tests/core/zig.cmake -DLRNORM_ZIG_TARGET

.venv-zig/zig.stamp: constraints.txt
	test -d .venv-zig || $(PYTHON) -m venv .venv-zig
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 .venv-zig/bin/python -m pip install --quiet ziglang
	touch $@

musl: .venv-zig/zig.stamp
	$(call debian,cmake make)
	$(ZIG)=x86_64-linux-musl -B build/musl
	cmake --build build/musl --parallel
	bash csrc/check_isolation.sh build/musl
	build/musl/test_core

# The program that benchmarks/instructions.py counts: the reference of the tests wants a wider long double.
macos: .venv-zig/zig.stamp
	$(call debian,cmake make)
	$(ZIG)=aarch64-macos.11.0 -B build/macos-arm64
	cmake --build build/macos-arm64 --parallel --target instructions
	$(ZIG)=x86_64-macos.11.0 -B build/macos-x86_64
	cmake --build build/macos-x86_64 --parallel --target instructions

# With PYTHON=python3.14t or another interpreter without the lock: the tests, then each of them in
# four threads at once. The second run leaves out what measures the memory of the whole process, and what
# mpmath checks, whose precision is one for all threads.
FREE_THREADED := tests/core tests/function tests/spec tests/layers
free-threaded:
	@$(PYTHON) -c 'import sys; sys.exit(getattr(sys, "_is_gil_enabled", lambda: True)() and "$(PYTHON) has a global interpreter lock: make $@ PYTHON=python3.14t")'
	test -d .venv-$@ || $(PYTHON) -m venv .venv-$@
	PIP_DISABLE_PIP_VERSION_CHECK=1 .venv-$@/bin/python -m pip install --quiet --only-binary :all: '.[test]' onnx pytest-run-parallel \
	    -C build-dir=build/$@
	.venv-$@/bin/python -P tests/core/check_installed.py
	.venv-$@/bin/python -P -m pytest -p no:cacheprovider -m "not slow" $(FREE_THREADED)
	.venv-$@/bin/python -P -m pytest -p no:cacheprovider -m "not slow" $(wordlist 2,4,$(FREE_THREADED)) \
	    --parallel-threads=4 -k "not allocates and not bounds_the_memory and not rounded_once"

# The core with AddressSanitizer and UndefinedBehaviorSanitizer, then with ThreadSanitizer, under
# the tests of kernels and pool, each in an environment of its own. The interpreter is not
# instrumented, so the runtime is preloaded.
asan: SANITIZE = address
asan: SANITIZED += tests/core/test_accuracy.py tests/core/test_kernels.py  # most arrays are too small for a second thread
asan: PRELOAD = $$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)
tsan: SANITIZE = thread
tsan: PRELOAD = $$($(CXX) -print-file-name=libtsan.so)
asan tsan:
	test -d .venv-$@ || $(PYTHON) -m venv .venv-$@
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt .venv-$@/bin/python -m pip install --quiet '.[test]' \
	    -C cmake.define.LRNORM_SANITIZE=$(SANITIZE) -C build-dir=build/$@
	nm -D .venv-$@/lib/python*/site-packages/lrnorm/_core*.so | grep -q __$@_  # it is in
	LD_PRELOAD="$(PRELOAD)" ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1:die_after_fork=0:suppressions=$(CURDIR)/csrc/tsan.supp \
	.venv-$@/bin/python -P -m pytest -p no:cacheprovider -m "not slow" $(SANITIZED)

# The frameworks too heavy for .venv, each in an environment of its own, against conventions.
FRAMEWORKS := $(patsubst tests/frameworks/%.txt,frameworks-%,$(wildcard tests/frameworks/*.txt))
.PHONY: frameworks $(FRAMEWORKS)
frameworks: $(FRAMEWORKS)

$(FRAMEWORKS): frameworks-%:
	test -d .venv-$@ || $(PYTHON) -m venv .venv-$@
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 .venv-$@/bin/python -m pip install --quiet '.[test]' \
	    -r tests/frameworks/$*.txt -C build-dir=build/frameworks
	.venv-$@/bin/python -P -m pytest -p no:cacheprovider tests/frameworks/test_$*.py tests/frameworks/test_known_differences.py

# The kernels for GPUs in Triton's interpreter, on any processor; on a card without the variable.
triton:
	test -d .venv-$@ || $(PYTHON) -m venv .venv-$@
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 .venv-$@/bin/python -m pip install --quiet '.[test,torch]' triton \
	    -C build-dir=build/$@
	TRITON_INTERPRET=1 .venv-$@/bin/python -P -m pytest -p no:cacheprovider tests/gpu

# Every reader of model files, from its own small files on, ten minutes in total: build/fuzz.
fuzz:
	test -d .venv-$@ || $(PYTHON) -m venv .venv-$@
	PIP_DISABLE_PIP_VERSION_CHECK=1 .venv-$@/bin/python -m pip install --quiet atheris defusedxml h5py scipy flatbuffers
	PYTHONPATH=src nice -n 10 .venv-$@/bin/python tests/fuzz/run.py

clean:
	rm -rf build dist .venv .venv-*
