"""A small project of orders, fresh for each test, and ways to drive it: the fixtures ``project`` and ``ran``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from millpond.cli.scaffold import write_project
from millpond.flow import RunOptions, RunResult, Workspace, apply_plan, make_plan, run


class Project:
    """A project on disk, driven as the command line drives it; every call opens it anew."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self) -> Workspace:
        """Open the project as a command does."""
        return Workspace.open(self.root)

    def apply(self, env: str = "prod", *, allow_breaking: bool = False) -> int:
        """Apply the files; gives how many definitions changed."""
        with self.open() as workspace:
            plan = make_plan(workspace, workspace.environment(env))
            return apply_plan(workspace, plan, actor="owner", allow_breaking=allow_breaking).changed

    def run(self, env: str = "prod", options: RunOptions | None = None) -> RunResult:
        """Bring the tables up to date."""
        with self.open() as workspace:
            chosen = options or RunOptions()
            return run(workspace, workspace.environment(env), chosen, actor="owner", report=lambda _: None)

    def rows(self, sql: str, *, env: str = "prod", principal: str = "owner") -> list[dict[str, object]]:
        """Ask through the reading door."""
        with self.open() as workspace, workspace.door(env).read(principal, None, sql) as answer:
            return [row for batch in answer.batches for row in batch.to_pylist()]

    def write(self, path: str, text: str) -> Path:
        """Write a file of the project."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return target

    def edit(self, path: str, changes: Mapping[str, str]) -> None:
        """Replace text in a file that holds it."""
        text = (self.root / path).read_text(encoding="utf-8")
        for old, new in changes.items():
            assert old in text, f"{path} does not hold {old!r}"
            text = text.replace(old, new)
        self.write(path, text)

    def orders(self, name: str, *rows: tuple[int, str, str, str]) -> None:
        """Write a file of orders."""
        lines = ["order_id,ordered_at,customer_email,amount", *(",".join(map(str, row)) for row in rows)]
        self.write(f"products/sales/data/orders-{name}.csv", "\n".join(lines) + "\n")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The project that ``millpond init`` makes."""
    root = tmp_path / "shop"
    write_project(root)
    return Project(root)


@pytest.fixture
def ran(project: Project) -> Project:
    """The same, applied and run once."""
    project.apply()
    project.run()
    return project
