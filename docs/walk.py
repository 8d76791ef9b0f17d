"""Walks through the tutorial: does what its fenced blocks say in an empty folder, and writes down what really came out.

``python docs/walk.py`` rewrites the tutorial's outputs; a test walks it too and compares.

- A ``console`` block holds commands after ``$`` and their outputs. One whose output begins with ``Error:`` is meant to
  fail.
- A block with ``title="path"`` is that file. A ``diff`` block with a title changes it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TUTORIAL = Path(__file__).parent / "tutorial.md"
_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_UNSTABLE = (
    (r"\b(run|dep|rb|cmp)-[0-9a-z]{20}\b", r"\1-ID"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d", "TIME"),
    (r"\b[0-9a-f]{32}\b", "ROW"),
    (r"\bt-[0-9a-f]{12}\b", "TABLE"),
    (r"head [0-9a-f]{16}", "head HASH"),
    (r"\d[\d.]* (ms|s|min)\b", "DURATION"),
    (r"\d[\d.]* (B|KiB|MiB)\b", "SIZE"),
    (r"\b\d+ records\b", "N records"),
    (r"^ *\d+  TIME", "N TIME"),
    (r"[ \t]+", " "),
    (r" $", ""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch(Exception):
    """A step of the page does not go as the page says."""

    step: str
    said: str
    found: str

    def __str__(self) -> str:
        """Show both."""
        return f"{self.step}\n--- the page says\n{self.said}\n--- what comes\n{self.found}"


def stable(text: str) -> str:
    """Take out of an output what differs from run to run: ids, times, sizes, spaces that align."""
    for pattern, stands_for in _UNSTABLE:
        text = re.sub(pattern, stands_for, text, flags=re.MULTILINE)
    return text.strip()


class Walker:
    """A user in a folder."""

    def __init__(self, folder: Path) -> None:
        """Begin in *folder*, with a ``millpond`` on the path."""
        self.here = folder
        tools = folder / ".tools"
        tools.mkdir()
        command = tools / "millpond"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m millpond "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        self.environ = {**os.environ, "PATH": path, "COLUMNS": "110", "NO_COLOR": "1"}

    def block(self, kind: str, title: str | None, body: str) -> str:
        """Do what one block says; gives the block as it should be.

        Raises:
            Mismatch: a command ended otherwise than it should, or a change does not fit its file.
        """
        if kind == "console":
            return "".join(self._command(part) for part in re.split(r"^(?=\$ )", body, flags=re.MULTILINE) if part)
        if title is not None and kind == "diff":
            self._change(self.here / title, body)
        elif title is not None:
            (self.here / title).parent.mkdir(parents=True, exist_ok=True)
            (self.here / title).write_text(body, encoding="utf-8")
        return body

    def _command(self, part: str) -> str:
        line, _, said = part.partition("\n")
        script = f"{line.removeprefix('$ ')}\ncode=$?; pwd >&3; exit $code"
        with tempfile.TemporaryFile("w+") as place:
            command = ["bash", "-c", f"exec 3>&{place.fileno()}\n{script}"]
            done = subprocess.run(
                command, cwd=self.here, env=self.environ, text=True,
                capture_output=True, check=False, timeout=120, pass_fds=(place.fileno(),),
            )  # fmt: skip
            place.seek(0)
            self.here = Path(place.read().strip() or self.here)
        fails = said.startswith("Error:")
        found = done.stdout + done.stderr if fails else done.stdout
        if fails != (done.returncode != 0):
            raise Mismatch(step=line, said=said, found=f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
        text = "\n".join(row.rstrip() for row in found.rstrip().splitlines())
        return f"{line}\n{text}\n" if text else f"{line}\n"

    @staticmethod
    def _change(path: Path, body: str) -> None:
        lines = body.splitlines()
        old = "".join(f"{line[1:]}\n" for line in lines if line[:1] in {" ", "-"})
        new = "".join(f"{line[1:]}\n" for line in lines if line[:1] in {" ", "+"})
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise Mismatch(step=f"change of {path.name}", said=old, found=text)
        path.write_text(text.replace(old, new), encoding="utf-8")


def walk(page: str, folder: Path) -> str:
    """Do all that *page* says in *folder*; gives the page with the outputs that really came."""
    walker = Walker(folder)

    def done(match: re.Match[str]) -> str:
        kind, title, body = match.groups()
        head = match[0].partition("\n")[0]
        return f"{head}\n{walker.block(kind, title, body)}```"

    return _FENCE.sub(done, page)


def main() -> None:
    """Write the tutorial again."""
    with tempfile.TemporaryDirectory() as folder:
        TUTORIAL.write_text(walk(TUTORIAL.read_text(encoding="utf-8"), Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
