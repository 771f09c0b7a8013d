"""Prompt cells are Markdown to the editor, by the extension that comes with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.notebook.e2e.conftest import MakeNotebook
    from tests.notebook.e2e.lab import Notebook

pytestmark = pytest.mark.timeout(240)

PROMPT = "# asks\n\n%%session\nplease import this for me, if you can\n\n**bold** words"
CODE = "import math\nfor n in range(3): print(n)"
MARKDOWN, PYTHON = "text/x-ipythongfm", "text/x-ipython"
PLUGIN = "nbsession:prompt-cells"


def language(notebook: Notebook, index: int, wanted: str) -> None:
    """Wait until a cell's editor has that language."""
    notebook.page.wait_for_function(
        f"([index, wanted]) => {notebook.WIDGET}.content.widgets[index].model.mimeType === wanted",
        arg=[index, wanted],
    )


def write_source(notebook: Notebook, index: int, source: str) -> None:
    notebook.page.evaluate(
        f"([index, source]) => {notebook.WIDGET}.content.widgets[index].model.sharedModel.setSource(source)",
        [index, source],
    )


def colours(notebook: Notebook, index: int, word: str) -> set[str]:
    """The colours and weights that a word of a cell is written in."""
    found: list[str] = notebook.page.evaluate(
        f"""([index, word]) => {{
            const lines = {notebook.WIDGET}.content.widgets[index].node.querySelectorAll(".cm-line");
            const looks = [];
            for (const line of lines) {{
                const texts = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
                while (texts.nextNode()) {{
                    if (!texts.currentNode.data.split(/[^a-z]+/).includes(word)) continue;
                    const style = getComputedStyle(texts.currentNode.parentElement);
                    looks.push(`${{style.color}} ${{style.fontWeight}}`);
                }}
            }}
            return looks;
        }}""",
        [index, word],
    )
    return set(found)


def test_a_prompt_is_coloured_as_markdown_and_code_as_python(notebook: MakeNotebook) -> None:
    opened = notebook(CODE, PROMPT)
    assert opened.page.evaluate(f"() => window.jupyterapp.isPluginActivated({PLUGIN!r})")
    language(opened, 1, MARKDOWN)
    language(opened, 0, PYTHON)
    # The editor loads a language when it is first needed.
    opened.page.wait_for_function(
        f"""() => [...{opened.WIDGET}.content.widgets[1].node.querySelectorAll(".cm-line span")].some(
            span => span.textContent.includes("bold") && getComputedStyle(span).fontWeight === "700")"""
    )
    plain = colours(opened, 1, "please")
    for word in ("import", "if", "for"):
        assert colours(opened, 1, word) == plain, word
        assert word == "if" or colours(opened, 0, word) != plain, word
    opened.screenshot("prompt-cells")
    assert opened.errors == []


def test_a_line_that_ends_with_a_colon_indents_nothing_in_a_prompt(notebook: MakeNotebook) -> None:
    opened = notebook(CODE, "%%session\n")
    language(opened, 1, MARKDOWN)
    opened.cells().nth(1).locator(".cm-content").click()
    opened.page.keyboard.press("Control+End")
    opened.page.keyboard.type("if it rains:\nstay")
    assert opened.sources()[1] == "%%session\nif it rains:\nstay"


def test_a_cell_changes_its_language_with_its_first_line_and_keeps_it_when_a_kernel_comes(
    notebook: MakeNotebook,
) -> None:
    opened = notebook(CODE, PROMPT)
    language(opened, 1, MARKDOWN)
    write_source(opened, 0, "%%session\nfor you")
    language(opened, 0, MARKDOWN)
    write_source(opened, 0, CODE)
    language(opened, 0, PYTHON)
    opened.restart()
    language(opened, 0, PYTHON)
    language(opened, 1, MARKDOWN)
    opened.page.evaluate("() => window.jupyterapp.commands.execute('notebook:insert-cell-below')")
    write_source(opened, 1, "%%session\nnew")
    language(opened, 1, MARKDOWN)
