import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

import generate  # noqa: E402 - a script beside the pages


@pytest.mark.parametrize("name", sorted(generate.PAGES))
def test_a_reference_page_says_what_the_code_does(name: str) -> None:
    """Each generated page is what the generator writes now; run ``python docs/generate.py`` where it is not."""
    assert (DOCS / "reference" / name).read_text(encoding="utf-8") == generate.PAGES[name]()


def test_every_error_has_a_code_and_an_exit_code_that_are_explained() -> None:
    """No error ends a command with a code that the page does not explain, and each has a name of its own."""
    kinds = generate.errors()
    page = (DOCS / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    assert len(kinds) > 30
    assert [kind.__name__ for kind in kinds if kind.code == "error"] == []
    assert [kind.code for kind in kinds if f"`{kind.code}`" not in page] == []


def test_every_command_says_what_it_and_its_options_do() -> None:
    """No command, argument or option is without help."""
    silent = [
        f"{name} {option.name}"
        for name, command in generate.commands().items()
        for option in command.params
        if not option.help and option.name != "help"
    ]
    assert silent == []
    assert [name for name, command in generate.commands().items() if not command.help] == []
