"""A new project: one small product that works, to change into one's own."""

from __future__ import annotations

import re
from importlib.resources import as_file, files
from pathlib import Path

from millpond.kernel import MillpondError


class FolderInUse(MillpondError):
    """A project would be written over files that are there."""

    code = "folder-in-use"
    exit_code = 2


def write_project(folder: Path) -> list[str]:
    """Write the template below *folder*; gives the files written, relative to it.

    Raises:
        FolderInUse: one of the files is there already; nothing was written.
    """
    with as_file(files("millpond.cli") / "template") as template:
        wanted = sorted(path for path in template.rglob("*") if path.is_file())
        targets = {path: _target(folder, path.relative_to(template)) for path in wanted}
        taken = [str(target) for target in targets.values() if target.exists()]
        if taken:
            raise FolderInUse(
                f"{taken[0]} is there already.", hint="Begin in an empty folder: millpond init my-project"
            )
        for path, target in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8")
            if target.name == "millpond.yaml":
                name = re.sub(r"[^a-z0-9-]+", "-", folder.resolve().name.lower()).strip("-") or "my-project"
                text = text.replace("name: my-project", f"name: {name}")
            target.write_text(text, encoding="utf-8")
    return [target.relative_to(folder).as_posix() for target in targets.values()]


def _target(folder: Path, path: Path) -> Path:
    return folder / (".gitignore" if path.name == "gitignore" else path)
