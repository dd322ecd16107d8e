#!/usr/bin/env bash
# What is compiled with an instruction set's flags must define nothing that the linker may share
# between sets: a weak symbol could be taken from the wrong object and crash an older processor.
#
#     check_isolation.sh [FOLDER [NM]]     the objects under FOLDER (build), read by NM (nm)
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-build} nm=${2:-nm}
objects=$(find "$folder" -path '*CMakeFiles/isa_*' -name '*.o' -not -path 'build/asan*' -not -path 'build/tsan*')
# Objects of other processors are checked with their own nm, by `make arm`; Apple's have a format of their own.
[ "$folder" != build ] || objects=$(echo "$objects" | grep -v -E '^build/(arm|macos-[^/]*)/' || true)
[ -n "$objects" ] || { echo "check_isolation: no objects under $folder/; build first" >&2; exit 1; }
symbols=$("$nm" --defined-only $objects)
shared=$(echo "$symbols" | awk '$2 ~ /^[WVu]$/')
if [ -n "$shared" ]; then
    echo "check_isolation: weak symbols in objects of one instruction set:" >&2
    echo "$shared" | c++filt >&2
    exit 1
fi
echo "no symbol is shared between instruction sets ($(echo "$objects" | wc -w) objects)"
