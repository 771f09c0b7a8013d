"""Files that were uploaded to the provider, named by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Document, Image, Timeline, component
from nbsession.content import block_from_dict
from nbsession.content import blocks as content
from nbsession.errors import ModelError, RenderError
from nbsession.models.anthropic.request import request_of
from nbsession.models.openai.chat.request import request_of as chat_request_of
from nbsession.models.openai.responses.request import request_of as responses_request_of
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel

if TYPE_CHECKING:
    from pathlib import Path

    from nbsession.context import CompiledContext


@component
def Reading() -> list[Any]:
    return [Image(file_id="file_1", alt="a cat"), Document(file_id="file_2", title="Paper"), Timeline()]


def compiled() -> CompiledContext:
    return App(Reading).session().compile("What is it?")


def test_each_provider_gets_the_id_in_its_own_form() -> None:
    anthropic = request_of(compiled(), "claude-test-1", caching=False)["messages"][0]["content"]
    assert anthropic[:2] == [
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_2"}, "title": "Paper"},
    ]
    openai = responses_request_of(compiled(), "gpt-test-1")["input"][0]["content"]
    assert openai[:2] == [
        {"type": "input_image", "detail": "auto", "file_id": "file_1"},
        {"type": "input_file", "file_id": "file_2"},
    ]


def test_chat_completions_take_documents_by_their_id_and_pictures_not() -> None:
    with pytest.raises(
        ModelError, match=r"\[image: a cat\] is given by its id, and this API takes pictures by"
    ):
        chat_request_of(compiled(), "gpt-test-1")

    @component
    def Paper() -> list[Any]:
        return [Document(file_id="file_2"), Timeline()]

    [message] = chat_request_of(App(Paper).session().compile("Hi"), "gpt-test-1")["messages"]
    assert message["content"][0] == {"type": "file", "file": {"file_id": "file_2"}}


def test_a_file_is_a_source_or_an_id() -> None:
    with pytest.raises(RenderError, match=r"takes a source or a file_id, got both: 'a\.png' and 'file_1'"):
        Image("a.png", file_id="file_1")
    with pytest.raises(
        RenderError, match=r"Document\(file_id=\) takes the id of a file at the provider, got ''"
    ):
        Document(file_id="")


@pytest.mark.parametrize("block", [content.Image("", file_id="f"), content.Document("", file_id="f")])
def test_an_id_is_kept(block: content.Image | content.Document) -> None:
    assert block_from_dict(block.to_dict()) == block
    assert str(block).endswith(": f]")


async def test_a_message_may_name_a_file_and_a_stored_session_has_it_again(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'files.db'}")
    session = App(Timeline, model=ScriptedModel("A cat."), store=store).session("files")
    await session.send(["What is it?", content.Image("", file_id="file_1")])
    session.close()
    again = App(Timeline, model=ScriptedModel(), store=store).session("files")
    [asked] = [entry for entry in again.timeline if entry.role == "user"]
    assert asked.content[1] == content.Image("", file_id="file_1")
    again.close()
    store.close()
