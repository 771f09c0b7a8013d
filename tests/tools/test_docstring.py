"""What a docstring says of a function and its parameters."""

from __future__ import annotations

import pytest

from nbsession.tools.docstring import Docstring, parse

GOOGLE = """Find things.

    Looks everywhere.

    Args:
        query (str): What to look
            for: words.
        limit: How many.
        **more: The rest.

    Returns:
        The things.
    """

NUMPY = """Find things.

    Looks everywhere.

    Parameters
    ----------
    query : str
        What to look
        for: words.
    limit, most : int, optional
        How many.

    Returns
    -------
    str
        The things.
    """

SPHINX = """Find things.

    Looks everywhere.

    :param query: What to look
        for: words.
    :type query: str
    :param int limit: How many.
    :returns: The things.
    """


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (
            GOOGLE,
            Docstring(
                "Find things.\n\nLooks everywhere.\n\nReturns:\n    The things.",
                {"query": "What to look for: words.", "limit": "How many.", "more": "The rest."},
            ),
        ),
        (
            NUMPY,
            Docstring(
                "Find things.\n\nLooks everywhere.\n\nReturns\n-------\nstr\n    The things.",
                {"query": "What to look for: words.", "limit": "How many.", "most": "How many."},
            ),
        ),
        (
            SPHINX,
            Docstring(
                "Find things.\n\nLooks everywhere.\n\n:returns: The things.",
                {"query": "What to look for: words.", "limit": "How many."},
            ),
        ),
        (None, Docstring("", {})),
        ("One line.", Docstring("One line.", {})),
        ("Find.\n\nArgs:\n", Docstring("Find.", {})),
        ("Find.\n\nArgs: none at all", Docstring("Find.\n\nArgs: none at all", {})),
    ],
)
def test_each_style_gives_the_description_and_the_parameters(text: str | None, parsed: Docstring) -> None:
    assert parse(text) == parsed
