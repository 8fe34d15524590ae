"""Messages of the command line: the library's words become the command's."""

from __future__ import annotations

import pytest
import typer

from physml.cli.messages import in_options


def command() -> object:
    app = typer.Typer()

    @app.command()
    def predict(
        image: str,
        frame_time: float = 1.0,
        threshold: float = typer.Option(0.5, "--threshold", "--probability"),
        kind: str = typer.Option("auto", "-k", "--kind"),
    ) -> None:
        """Nothing."""

    return typer.main.get_command(app)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("frame_time=: expected seconds, found -1", "--frame-time: expected seconds, found -1"),
        ("threshold=: expected together with kind=", "--threshold: expected together with --kind"),
        ("expected kind='photonic'", "expected --kind photonic"),
        ("image=: expected an image", "IMAGE: expected an image"),
        # What is no option of this command, or no argument at all, stays.
        ("gain=: expected a number", "gain=: expected a number"),
        ("a.fits?kind=3: expected kind == 'x'", "a.fits?kind=3: expected kind == 'x'"),
        ("/data/kind=3/a.fits: expected FITS", "/data/kind=3/a.fits: expected FITS"),
        ("TELESCOP='XMM', my_kind='a'", "TELESCOP='XMM', my_kind='a'"),
    ],
)
def test_arguments_become_options(text: str, shown: str) -> None:
    assert in_options(text, command()) == shown


def test_without_a_command_nothing_changes() -> None:
    assert in_options("kind=: expected a kind", None) == "kind=: expected a kind"
