# Each target starts from nothing: it makes .venv if there is none. The plain lines stand in
# CONTRIBUTING.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(wildcard csrc/*) $(shell find src -name '*.py*' -not -path '*/__pycache__/*')
# The versions pinned also hold for what the build itself needs.
PIP := PIP_CONSTRAINT=$(CURDIR)/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet
PYTEST := $(BIN)/python -m pytest
SANITIZED := tests/test_accuracy.py tests/test_threads.py tests/test_sanitized.py

.PHONY: demo test slow lint bench asan tsan quick clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: $(SOURCES) | $(BIN)/python
	$(PIP) -e '.[cli]'
	touch $@

$(VENV)/dev.stamp: $(SOURCES) | $(BIN)/python
	$(PIP) -e '.[dev]'
	touch $@ $(VENV)/demo.stamp

demo: $(VENV)/demo.stamp
	$(BIN)/lrnorm demo

test: $(VENV)/dev.stamp
	$(PYTEST) -m "not slow"

slow: $(VENV)/dev.stamp
	$(PYTEST) -m slow

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	bash csrc/check_isolation.sh

# What is measured, and with whom: benchmarks/README.md.
bench: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/run.py

# The core with AddressSanitizer and UndefinedBehaviorSanitizer, then with ThreadSanitizer, under
# the tests of kernels and pool. The interpreter is not instrumented, so the runtime is preloaded.
asan: $(VENV)/dev.stamp
	$(PIP) --no-deps --upgrade --target build/asan -C cmake.define.LRNORM_SANITIZE=address -C build-dir=build/asan-objects .
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
	PYTHONPATH=build/asan $(BIN)/python -P -m pytest -p no:cacheprovider -m "not slow" $(SANITIZED)

tsan: $(VENV)/dev.stamp
	$(PIP) --no-deps --upgrade --target build/tsan -C cmake.define.LRNORM_SANITIZE=thread -C build-dir=build/tsan-objects .
	LD_PRELOAD="$$($(CXX) -print-file-name=libtsan.so)" TSAN_OPTIONS=halt_on_error=1 \
	PYTHONPATH=build/tsan $(BIN)/python -P -m pytest -p no:cacheprovider -m "not slow" $(SANITIZED)

clean:
	rm -rf build dist $(VENV)
