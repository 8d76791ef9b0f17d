"""Draws the picture of the result: the demo's commands on the flights project, as they look on a terminal."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "demo.svg"
WIDTH = 110
_THEME = TerminalTheme(
    (22, 27, 34), (214, 220, 228),
    [(72, 79, 88), (255, 123, 114), (86, 211, 140), (227, 179, 65), (121, 170, 255), (210, 168, 255), (86, 212, 221),
     (177, 186, 196)],
    [(110, 118, 129), (255, 161, 152), (86, 211, 140), (227, 179, 65), (165, 200, 255), (226, 197, 255),
     (113, 222, 229), (240, 246, 252)],
)  # fmt: skip
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*|<!--.*?-->\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""Without fonts from elsewhere: the picture needs no network."""


def millpond(project: Path, *arguments: str) -> str:
    """Run one command; gives what it prints on a terminal of WIDTH columns, with its colours."""
    environ = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
    done = subprocess.run(
        [sys.executable, "-m", "millpond", *arguments], cwd=project, env=environ, capture_output=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr.decode())
    return done.stdout.decode()


def main() -> None:
    """Run the demo's commands and save the picture."""
    question = " ".join(runpy.run_path(str(ROOT / "examples" / "demo.py"))["QUESTION"].split())
    screen = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)  # noqa: PTH123, SIM115
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "flights"
        shutil.copytree(ROOT / "examples" / "flights", project, ignore=shutil.ignore_patterns(".millpond"))
        millpond(project, "apply")
        for shown, arguments in (
            ("millpond run", ("run",)),
            (f'millpond query "{question}" --as steward --purpose reporting',
             ("query", question, "--as", "steward", "--purpose", "reporting")),
            ("millpond query (the same) --as ana --purpose reporting",
             ("query", question, "--as", "ana", "--purpose", "reporting")),
        ):  # fmt: skip
            screen.print(Text(f"$ {shown}", style="bold cyan"))
            screen.print(Text.from_ansi(millpond(project, *arguments)))
            screen.print()
    PICTURE.parent.mkdir(exist_ok=True)
    screen.save_svg(str(PICTURE), title="millpond", theme=_THEME, code_format=_FORMAT, unique_id="millpond")


if __name__ == "__main__":
    main()
