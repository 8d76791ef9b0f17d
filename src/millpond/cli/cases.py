"""Results of the models' unit tests, on the screen and as JUnit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from rich.markup import escape

from millpond.cli.output import console
from millpond.models import CaseResult


def print_cases(results: Sequence[CaseResult]) -> None:
    """Print each test, and the difference where it failed."""
    for result in results:
        mark = "[green]✓[/green]" if result.passed else "[bold red]✗[/bold red]"
        console.print(f"{mark} {escape(result.case.model)}: {escape(result.case.name)}")
        if not result.passed:
            console.print(escape(result.diff), soft_wrap=True)
    failed = sum(not result.passed for result in results)
    console.print(f"{len(results) - failed} passed, {failed} failed")


def write_junit(results: Sequence[CaseResult], path: Path) -> None:
    """Write the results as a JUnit file, as CI systems read it."""
    failed = sum(not result.passed for result in results)
    suite = ET.Element("testsuite", name="millpond", tests=str(len(results)), failures=str(failed))
    for result in results:
        case = ET.SubElement(suite, "testcase", classname=result.case.model, name=result.case.name)
        if not result.passed:
            ET.SubElement(case, "failure", message="rows differ").text = result.diff
    ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
