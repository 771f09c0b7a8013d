from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib.figure
import PIL.Image
import pytest

from nbsession import Document, Image, RenderError, Section, System, User, component
from nbsession.content import blocks as content
from nbsession.errors import CompileError
from nbsession.testing import render

if TYPE_CHECKING:
    from pathlib import Path

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Count 0>>endobj\n%%EOF\n"


def png(width: int = 300, height: int = 200) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (width, height), "teal").save(buffer, format="PNG")
    return buffer.getvalue()


def blocks(node: Any) -> list[Any]:
    return [block for message in render(node).context.messages for block in message.content]


def test_a_picture_stands_among_the_text_of_a_message() -> None:
    data = png()
    context = render(User("Look:", Image(data, alt="a square"), "What is it?")).context

    (message,) = context.messages
    assert message.content == (
        content.Text("Look:"),
        content.Image("image/png", data, alt="a square", width=300, height=200),
        content.Text("What is it?"),
    )


def test_by_itself_it_is_a_user_turn() -> None:
    context = render([System("s"), Image(png()), Section("after", id="x")]).context

    (message,) = context.messages
    assert message.role == "user"
    assert isinstance(message.content[0], content.Image)
    assert message.text == "after"
    assert context.system.text == "s"


def test_a_document_stands_in_a_message_and_by_itself() -> None:
    for node in (User(Document(PDF, title="Paper")), Document(PDF, title="Paper")):
        (block,) = blocks(node)
        assert block == content.Document("application/pdf", PDF, title="Paper")


def test_a_picture_is_counted_by_its_size_in_pixels() -> None:
    small = render(Image(png(300, 200))).context.tokens
    large = render(Image(png(1000, 1000))).context.tokens

    assert small == pytest.approx(300 * 200 / 750, abs=8)
    assert large == pytest.approx(1000 * 1000 / 750, abs=8)


def test_a_document_is_counted_by_its_bytes() -> None:
    one, ten = (render(Document(PDF * n)).context.tokens for n in (10, 100))

    assert 8 * one < ten < 12 * one


def test_the_tokens_of_media_in_a_message_are_counted() -> None:
    text = render(User("Look:")).context.tokens
    both = render(User("Look:", Image(png(750, 750)))).context.tokens

    assert both - text == 750


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "square.png"
    path.write_bytes(png())

    (block,) = blocks(Image(path))
    assert (block.media_type, block.alt) == ("image/png", "square.png")


def test_a_url_is_passed_on_and_not_fetched() -> None:
    (block,) = blocks(Image("https://example.com/cat.jpg"))
    assert (block.url, block.data) == ("https://example.com/cat.jpg", b"")


def test_a_pil_image_is_taken_and_scaled_down() -> None:
    (block,) = blocks(Image(PIL.Image.new("RGB", (4000, 1000))))
    assert (block.width, block.height) == (1568, 392)


def test_a_matplotlib_figure_is_taken() -> None:
    figure = matplotlib.figure.Figure(figsize=(2, 2))
    figure.subplots().set_title("Sales")

    (block,) = blocks(Image(figure))
    assert (block.media_type, block.alt) == ("image/png", "Sales")


def test_a_picture_beyond_what_models_take_is_scaled_down() -> None:
    (block,) = blocks(Image(png(9000, 20)))
    assert block.width == 1568


def test_a_document_beyond_the_limit_is_refused() -> None:
    with pytest.raises(CompileError, match=r"at most 32 MB"):
        Document(PDF + b" " * (32 * 2**20))


def test_the_wrong_component_names_the_right_one() -> None:
    with pytest.raises(RenderError, match=r"Image\(\) was given a application/pdf; use Document\(\)"):
        Image(PDF)
    with pytest.raises(RenderError, match=r"Document\(\) was given a image/png; use Image\(\)"):
        Document(png())


@pytest.mark.parametrize("source", [b"", b"\x00\x01nothing", 3, object(), "no/such/file.png"])
def test_what_is_no_picture_is_refused_with_the_path_of_who_asked(source: Any) -> None:
    @component
    def Agent() -> Any:
        return User(Image(source))

    with pytest.raises(RenderError, match="Agent"):
        render(Agent())


def test_other_bytes_are_another_context() -> None:
    assert render(Image(png(10, 10))).context.hash != render(Image(png(10, 11))).context.hash
