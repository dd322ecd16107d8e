"""Puts the page together: its own files, Pyodide from npm, and lrnorm's pure Python.

    python docs/explore/build.py build/docs/explore

Nothing in the result refers to another address.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PYODIDE_FILES = (
    *("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm"),
    *("python_stdlib.zip", "pyodide-lock.json"),
)
PAGE = ("index.html", "style.css", *sorted(p.name for p in HERE.glob("*.js")))
ROOMS = ("_spec", "conventions", "models")  # what needs neither NumPy nor the compiled core
WHEELS = ("defusedxml",)  # pure Python that a reader asks for


def pyodide(cache: Path) -> Path:
    """The folder of the npm package. `npm install` runs where package.json has changed."""
    wanted, had = (HERE / "package.json").read_text(), cache / "package.json"
    if not had.exists() or had.read_text() != wanted:
        cache.mkdir(parents=True, exist_ok=True)
        had.write_text(wanted)
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
        try:
            subprocess.run([*command, "--ignore-scripts", "--prefix", str(cache)], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            had.unlink()
            sys.exit(f"the page needs npm, which brings Pyodide: {error}")
    return cache / "node_modules" / "pyodide"


def wheels(cache: Path) -> list[Path]:
    """Pure wheels, by the versions of the constraints file."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(cache),
    ]
    command += ["--constraint", str(ROOT / "constraints.txt"), "--only-binary", ":all:", *WHEELS]
    if not all(list(cache.glob(f"{name}-*-none-any.whl")) for name in WHEELS):
        subprocess.run(command, check=True)
    return [next(cache.glob(f"{name}-*-none-any.whl")) for name in WHEELS]


def library(target: Path) -> None:
    """The rooms of lrnorm that run in the page, as one archive."""
    package = ROOT / "src" / "lrnorm"
    files = [package / "__init__.py"]
    for room in ROOMS:
        files += sorted((package / room).rglob("*.py"))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.relative_to(package.parent))


def build(target: Path, cache: Path) -> None:
    """Write the page into `target`."""
    shutil.rmtree(target, ignore_errors=True)
    (target / "pyodide").mkdir(parents=True)
    (target / "python").mkdir()
    for name in PAGE:
        shutil.copy(HERE / name, target / name)
    shutil.copytree(HERE / "examples", target / "examples")
    package = pyodide(cache)
    for name in PYODIDE_FILES:
        shutil.copyfile(package / name, target / "pyodide" / name)
    library(target / "python" / "lrnorm.zip")
    shutil.copy(HERE / "bridge.py", target / "python" / "bridge.py")
    names = ["lrnorm.zip", "bridge.py"]
    for wheel in wheels(cache):
        shutil.copy(wheel, target / "python" / wheel.name)
        names.append(wheel.name)
    (target / "python" / "files.json").write_text(json.dumps(names))
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    print(f"{target}: {size / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Put the page together.")
    parser.add_argument("target", type=Path)
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "npm")
    given = parser.parse_args()
    build(given.target, given.cache)


if __name__ == "__main__":
    main()
