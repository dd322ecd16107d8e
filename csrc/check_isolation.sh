#!/usr/bin/env bash
# What is compiled with an instruction set's flags must define nothing that the linker may share
# between sets: a weak symbol could be taken from the wrong object and crash an older processor.
set -euo pipefail
cd "$(dirname "$0")/.."
objects=$(find build -path '*CMakeFiles/isa_*' -name '*.o' -not -path 'build/asan*' -not -path 'build/tsan*')
[ -n "$objects" ] || { echo "check_isolation: no objects under build/; install first" >&2; exit 1; }
shared=$(nm --defined-only $objects | awk '$2 ~ /^[WVu]$/' || true)
if [ -n "$shared" ]; then
    echo "check_isolation: weak symbols in objects of one instruction set:" >&2
    echo "$shared" | c++filt >&2
    exit 1
fi
echo "no symbol is shared between instruction sets ($(echo "$objects" | wc -w) objects)"
