"""The ``millpond`` command with all its verbs and nouns."""

from __future__ import annotations

import gc
from typing import Annotated

import typer

from millpond.cli import nouns, stewards, verbs

app = typer.Typer(
    name="millpond",
    help="A data platform in one package: declare a data product once, as a contract and some SQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for verb in (verbs.init, verbs.check, verbs.plan, verbs.apply, verbs.run, verbs.query):
    app.command()(verb)
app.command("test")(verbs.test_models)
app.add_typer(nouns.catalog, name="catalog")
app.add_typer(stewards.quality, name="quality")
app.add_typer(stewards.quarantine, name="quarantine")
app.add_typer(nouns.env, name="env")
app.add_typer(nouns.lake, name="lake")
app.add_typer(stewards.access, name="access")
app.add_typer(nouns.audit, name="audit")
app.add_typer(nouns.ledger, name="ledger")


def _version(value: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if value:
        from millpond import __version__

        typer.echo(f"millpond {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""
    del version


def main() -> None:
    """Run the command line."""
    # A command makes many objects that live until it ends: looking for garbage among them costs a sixth of a short one.
    gc.set_threshold(100_000, 20, 20)
    app()
