import re
import sys
from pathlib import Path

import pytest

from millpond.access import load_policies
from millpond.flow import load_settings
from millpond.ingest import load_source

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import generate  # noqa: E402 - scripts beside the pages
import walk  # noqa: E402

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def test_the_tutorial_is_true(tmp_path: Path) -> None:
    """Every file and command of the tutorial works in order, and what comes out is what the page shows."""
    page = walk.TUTORIAL.read_text(encoding="utf-8")
    assert walk.stable(walk.walk(page, tmp_path)) == walk.stable(page)


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    """Each relative link and picture is a file, and its anchor a heading of it."""
    page = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_file(), f"{name}: {target}"
        if anchor:
            heads = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads}, target


@pytest.mark.parametrize("name", NAMES)
def test_commands_that_pages_show_exist(name: str) -> None:
    """No page shows a command or an option that the command line does not have."""
    known = generate.commands()
    for line in re.findall(r"^\$ millpond (.+)$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE):
        bare = re.sub(r'"[^"]*"', "TEXT", line).split()
        typed = next((" ".join(bare[:n]) for n in (2, 1) if " ".join(bare[:n]) in known), None)
        assert typed is not None, f"{name}: {line}"
        options = {opt for param in known[typed].params for opt in param.opts}
        assert [word for word in bare if word.startswith("--") and word not in options] == [], line


def test_the_readme_says_how_to_test() -> None:
    """The first block of the README holds the two commands, and the Makefile has both."""
    block = re.search(r"```\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    commands = [line.partition("#")[0].strip() for line in block[1].splitlines()]
    assert commands == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{command.removeprefix('make ')}:" in makefile for command in commands)


def example(page: str) -> str:
    """Give the first yaml block of a how-to page."""
    block = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/how-to" / page).read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return block[1]


def test_the_examples_of_definitions_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source, the policies and the settings that the how-to pages show are good as they stand."""
    pages = {"a.source.yaml": "ingest-files.md", "p.yaml": "access.md", "millpond.yaml": "s3-and-postgres.md"}
    for name, page in pages.items():
        (tmp_path / name).write_text(example(page), encoding="utf-8")
    for secret in ("SHOP_S3_KEY", "SHOP_S3_SECRET"):
        monkeypatch.setenv(secret, "x")
    monkeypatch.setenv("SHOP_LEDGER_URL", "postgresql://user:password@host:5432/database")
    assert load_source(tmp_path / "a.source.yaml", root=tmp_path, product="shop").decimal_separator == ","
    assert {mask.id for mask in load_policies([tmp_path / "p.yaml"], root=tmp_path).masks} == {"hide-restricted"}
    assert load_settings(tmp_path).lake.uri == "s3://shop-lake/tables"
