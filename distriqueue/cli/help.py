"""How the help of commands shows examples."""

import typer


def group(help_: str, name: str, *lines: str) -> typer.Typer:
    """Return an empty group of commands, with examples."""
    return typer.Typer(
        name=name,
        help=help_,
        epilog=examples(*lines),
        no_args_is_help=True,
        rich_markup_mode=None,
        add_completion=False,
    )


def examples(*lines: str) -> str:
    """Return the end of a command's help; each line can be pasted into a shell."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
