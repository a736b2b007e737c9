"""The text that versions of code are made from is one for every version of Python, and tells programs apart."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from moe_replication.config import syntax

SOURCE = Path(syntax.__file__).parents[1]
# syntax.py by itself, in a Python that has none of the packages.
PROGRAM = """
import hashlib, importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("syntax", sys.argv[1] + "/config/syntax.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
digest = hashlib.sha256()
for file in sorted(pathlib.Path(sys.argv[1]).rglob("*.py")):
    digest.update(module.dumped(file))
print(digest.hexdigest())
"""


def text(tmp_path: Path, program: str) -> str:
    file = tmp_path / "program.py"
    file.write_text(program, encoding="utf-8")
    return syntax.dumped(file).decode()


def test_the_text_of_a_function_by_hand(tmp_path):
    body = "body=[Return(value=Name(id='x',ctx=Load()))]"
    expected = f"Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='x')]),{body})])"
    assert text(tmp_path, "def f(x):\n    'said'\n    return x  # a comment\n") == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [("f()", "f(None)"), ("f('')", "f(None)"), ("f('')", "f()"), ("x = 0", "x = None"), ("f'{x}'", "f'{x!r}'")],
)
def test_other_programs_have_other_texts(tmp_path, one, other):
    assert text(tmp_path, one) != text(tmp_path, other)


def test_an_empty_end_of_a_formatted_string_does_not_count(tmp_path):
    """Python 3.12 parses one behind the nested format, others do not."""
    assert "Constant" not in text(tmp_path, "f'{x:{form}}'")


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_other_pythons_agree(version):
    here = hashlib.sha256()
    for file in sorted(SOURCE.rglob("*.py")):
        here.update(syntax.dumped(file))
    python = sys.executable if version == "{}.{}".format(*sys.version_info[:2]) else shutil.which(f"python{version}")
    if python is None:
        pytest.skip(f"no python{version} here")
    done = subprocess.run([python, "-c", PROGRAM, str(SOURCE)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"python{version} does not start here: {done.stderr[-200:]}")
    assert done.stdout.strip() == here.hexdigest()
