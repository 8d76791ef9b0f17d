"""The options that commands share, and how a command finds its project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from millpond.flow import Workspace

ProjectOption = Annotated[
    Path | None,
    typer.Option("--project", "-p", help="The project's folder; found from here upwards.", show_default=False),
]
EnvOption = Annotated[
    str | None, typer.Option("--env", "-e", help="The environment; the project's default one.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would happen; do nothing.")]
AsOption = Annotated[
    str | None, typer.Option("--as", help="The principal to act as; the project's identity.", show_default=False)
]
PurposeOption = Annotated[str | None, typer.Option("--purpose", help="What the data is read for.", show_default=False)]


def open_workspace(project: Path | None) -> Workspace:
    """Open the project that the command is about.

    Raises:
        ProjectNotFound: there is none.
    """
    from millpond.flow import Workspace, find_root

    return Workspace.open(find_root((project or Path.cwd()).resolve()))
