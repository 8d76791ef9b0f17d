"""The demo: the flights project from nothing to governed answers, by the same commands that a user types."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent / "demo-project"
QUESTION = """
SELECT carrier, tailnum, count(*) AS flights, round(avg(arr_delay), 1) AS avg_delay
FROM delays.flights
WHERE tailnum IS NOT NULL
GROUP BY ALL ORDER BY flights DESC, tailnum LIMIT 5
"""
console = Console(highlight=False, emoji=False, soft_wrap=True)


def millpond(*arguments: str) -> None:
    """Run one command as a user would; stop the demo where it fails."""
    shown = " ".join(f'"{" ".join(word.split())}"' if " " in word or "\n" in word else word for word in arguments)
    console.print(f"\n[bold cyan]$ millpond {shown}[/bold cyan]", soft_wrap=True, markup=True)
    command = [sys.executable, "-m", "millpond", *arguments]
    done = subprocess.run(command, cwd=PROJECT, check=False)  # noqa: S603 - our own command
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    """Run the whole way and say how long it took."""
    began = time.monotonic()
    shutil.rmtree(PROJECT, ignore_errors=True)
    shutil.copytree(HERE / "flights", PROJECT, ignore=shutil.ignore_patterns(".millpond"))
    console.print(
        f"The project is in [bold]{PROJECT.name}/[/bold]: contracts, sources, SQL and policies, as a team writes them."
    )
    millpond("apply")
    millpond("run")
    console.print("\nThe same question, asked by a steward and by an analyst:")
    millpond("query", QUESTION, "--as", "steward", "--purpose", "reporting")
    millpond("query", QUESTION, "--as", "ana", "--purpose", "reporting")
    millpond("quarantine", "list")
    millpond("audit", "verify")
    millpond("run", "--list")
    console.print(f"\n[bold green]The whole way took {time.monotonic() - began:.1f} s.[/bold green] Go on from here:")
    for line in (
        f"cd {PROJECT.name} && source ../.venv/bin/activate",
        "millpond run                                  # nothing to do, in a second",
        "millpond run --explain                        # why each step would run or not",
        "millpond catalog show delays.flights          # columns, promises, versions, checks",
        "millpond catalog lineage delays.daily_delays  # from source file to model, by column",
        "millpond quarantine show delays.flights       # each row with reason and raw text",
        "millpond access explain ana delays.flights    # which policy hides what",
        "millpond env rollback --dry-run               # back to before the last publication",
    ):
        console.print(f"  {line}", markup=False)


if __name__ == "__main__":
    main()
