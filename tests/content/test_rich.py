"""Python values as content that a model reads."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import enum
import functools
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import PIL.Image
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from nbsession import App, Timeline
from nbsession.content import Document, Entry, Image, Text, ToolResult, bounded, media, result_content
from nbsession.content.picture import dimensions, sniff
from nbsession.errors import CompileError, SessionError
from nbsession.testing import ScriptedModel

if TYPE_CHECKING:
    from pathlib import Path


class Place(pydantic.BaseModel):
    town: str
    since: dt.date


@dataclasses.dataclass
class Trip:
    to: Place
    nights: int


class Season(enum.Enum):
    winter = "cold"


PLACE = Place(town="Zürich", since=dt.date(2020, 1, 2))


def encoded(picture: PIL.Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def text_of(value: Any) -> str:
    (block,) = result_content(value)
    assert isinstance(block, Text)
    return block.text


def image_of(value: Any) -> Image:
    (block,) = result_content(value)
    assert isinstance(block, Image)
    return block


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "done"),
        ("", "(empty text)"),
        (True, "true"),
        (3.5, "3.5"),
        (Season.winter, "cold"),
        ([1, "a", None], '[1,"a",null]'),
        ({"b": 1, 2: (3,)}, '{"b":1,"2":[3]}'),
        ({(1, 2): {"x"}}, '{"(1, 2)":["x"]}'),
        ({"season": Season.winter, "raw": b"12"}, '{"season":"cold","raw":"(2 bytes)"}'),
        (PLACE, '{"town":"Zürich","since":"2020-01-02"}'),
        (Trip(PLACE, 2), '{"to":{"town":"Zürich","since":"2020-01-02"},"nights":2}'),
        ([np.float64(0.5), np.arange(3)], "[0.5,[0,1,2]]"),
        (ValueError("odd"), "ValueError('odd')"),
        (b"plain text", "plain text"),
    ],
)
def test_values_become_text(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_a_set_reads_the_same_in_every_process() -> None:
    assert text_of({"b", "a", "c"}) == '["a","b","c"]'


def test_data_that_holds_itself_is_shown_by_its_repr() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert text_of(loop) == "[[...]]"


def test_a_broken_repr_does_not_lose_the_result() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert text_of(Broken()) == "(Broken, whose repr raised RuntimeError: no)"


class Bare:
    """An object of which only its address is known."""

    async def later(self) -> None:
        pass


class Named:
    def __str__(self) -> str:
        return "a name of its own"


WITHOUT_TEXT = [
    (pd.DataFrame().head, r"head is a method, and not what it gives; call it"),
    (lambda: 1, r"<lambda> is a function, and not"),
    (functools.partial(len, "a"), r"len is a partial, and not"),
    (map(str, [1]), r"an iterator \(map\) gives its items only once; give list\(…\) of it"),
    ((n for n in [1]), r"an iterator \(generator\) gives"),
    (
        Bare(),
        r"Bare has no text of its own, only an address: <.*; give what of it is to be read, or a __repr__",
    ),
]


@pytest.mark.parametrize(("value", "told"), WITHOUT_TEXT)
def test_what_has_no_text_of_its_own_is_refused_alone_and_in_data(value: Any, told: str) -> None:
    for given_value in (value, [value], {"a": {"b": value}}, Trip(PLACE, value)):
        with pytest.raises(CompileError, match=told):
            result_content(given_value)


@pytest.mark.parametrize(("value", "told"), WITHOUT_TEXT)
def test_a_message_refuses_it_too(value: Any, told: str) -> None:
    for message in (value, ["See", value]):
        with pytest.raises(SessionError, match=told):
            App(Timeline(), model=ScriptedModel()).session().send(message)
        with pytest.raises(SessionError, match=told):
            Entry.of("user", message)


def test_what_is_not_awaited_yet_is_refused() -> None:
    made = Bare().later()
    with pytest.raises(CompileError, match=r"later at .* is not awaited yet; await it"):
        result_content(made)
    made.close()


def test_an_object_with_words_of_its_own_has_these() -> None:
    assert text_of(Named()) == "a name of its own"
    assert text_of([Named(), int]) == """["a name of its own","<class 'int'>"]"""


def test_a_number_too_long_to_write_is_refused_in_words() -> None:
    with pytest.raises(SessionError, match=r"got int: .*whose repr raised ValueError"):
        Entry.of("user", 10**5000)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    )
)
def test_json_data_reads_back(value: Any) -> None:
    if isinstance(value, (list, dict)):
        assert json.loads(text_of(value)) == value


def test_long_text_is_cut_in_the_middle_and_says_by_how_much() -> None:
    text = text_of("a" * 20_000 + "b" * 20_000)
    assert len(text) <= 30_000
    assert text.startswith("a" * 19_000)
    assert text.endswith("b" * 9_000)
    assert "[10,070 of 40,000 characters left out here]" in text


@given(st.text(min_size=0, max_size=400), st.integers(100, 300))
def test_a_bounded_text_is_never_longer_than_its_bound(text: str, most: int) -> None:
    cut = bounded(text, most)
    assert len(cut) <= most
    assert cut == text or len(text) > most


def test_content_passes_through() -> None:
    image = Image("image/png", b"x")
    document = Document("application/pdf", url="https://example.org/a.pdf")
    assert result_content(image) == (image,)
    assert result_content(document) == (document,)
    assert result_content(Text("hello")) == (Text("hello"),)
    assert result_content(ToolResult("1", "t", (Text("a"), image))) == (Text("a"), image)


def test_a_list_with_pictures_comes_piece_by_piece() -> None:
    content = result_content(["look:", PIL.Image.new("RGB", (4, 3)), {"n": 1}])
    assert [type(block) for block in content] == [Text, Image, Text]
    assert str(content[2]) == '{"n":1}'


def test_a_frame_is_a_markdown_table_with_its_shape() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b|c": ["x\ny", "z|"]}, index=pd.Index(["r", "s"], name="id"))
    assert text_of(frame).splitlines() == [
        "| id | a | b\\|c |",
        "| --- | --- | --- |",
        "| r | 1 | x y |",
        "| s | 2 | z\\| |",
        "",
        "2 rows × 2 columns",
    ]


def test_a_large_frame_shows_its_first_and_last_rows_and_columns() -> None:
    lines = text_of(pd.DataFrame(np.arange(500_000).reshape(10_000, 50))).splitlines()
    assert len(lines) == 2 + 20 + 1 + 20 + 2
    assert lines[2].startswith("| 0 | 0 | 1 |")
    assert lines[22].startswith("| … | … |")
    assert lines[-3].endswith("| 499998 | 499999 |")
    assert lines[-1] == "10,000 rows × 50 columns"
    assert {line.count("|") for line in lines[:-2]} == {33}


def test_a_series_is_a_table_of_one_column() -> None:
    assert text_of(pd.Series([1.5], name="price")).splitlines()[0] == "|  | price |"


def test_a_picture_becomes_png_with_its_size() -> None:
    image = image_of(PIL.Image.new("RGB", (40, 30), "red"))
    assert (image.media_type, image.width, image.height) == ("image/png", 40, 30)
    assert dimensions(image.data) == (40, 30)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "HSV", "I", "I;16", "F"])
def test_a_picture_of_any_mode_is_scaled_to_the_long_edge(mode: str) -> None:
    image = image_of(PIL.Image.new(mode, (3136, 100)))
    assert (image.width, image.height) == (1568, 50)
    assert dimensions(image.data) == (1568, 50)


def test_a_picture_of_measurements_is_stretched_to_what_can_be_seen() -> None:
    image = image_of(PIL.Image.fromarray(np.array([[0.0, 5000.0], [2500.0, 5000.0]], dtype=np.float32)))
    with PIL.Image.open(io.BytesIO(image.data)) as seen:
        assert list(seen.tobytes()) == [0, 255, 127, 255]


def test_a_figure_becomes_a_picture_named_by_its_title() -> None:
    figure = Figure(figsize=(30, 10))
    axes = figure.subplots()
    axes.plot([1, 3, 2])
    axes.set_title("Sales")
    image = image_of(figure)
    assert (image.media_type, image.alt) == ("image/png", "Sales")
    assert max(image.width, image.height) <= 1568
    assert dimensions(image.data) == (image.width, image.height)
    assert image_of(axes).data == image.data


@pytest.mark.parametrize(
    ("kind", "options", "media_type"),
    [
        ("PNG", {}, "image/png"),
        ("JPEG", {}, "image/jpeg"),
        ("GIF", {}, "image/gif"),
        ("WEBP", {}, "image/webp"),
        ("WEBP", {"lossless": True}, "image/webp"),
    ],
)
def test_bytes_are_told_by_what_they_show(kind: str, options: dict[str, Any], media_type: str) -> None:
    data = encoded(PIL.Image.new("RGB", (33, 21)), kind, **options)
    assert image_of(data) == Image(media_type, data, width=33, height=21)


def test_webp_with_transparency_tells_its_size() -> None:
    assert dimensions(encoded(PIL.Image.new("RGBA", (33, 21), (1, 2, 3, 4)), "WEBP")) == (33, 21)


@given(
    st.binary(max_size=64),
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF1234WEBP", b""]),
)
def test_damaged_pictures_have_no_size_and_raise_nothing(tail: bytes, head: bytes) -> None:
    width, height = dimensions(head + tail)
    assert width >= 0
    assert height >= 0
    assert sniff(head) in ("", "image/png", "image/jpeg", "image/gif", "image/webp")


def test_unknown_bytes_are_told_as_a_note() -> None:
    assert text_of(b"\x00\x01\x02").startswith("(3 bytes: the data is no PNG, JPEG, GIF, WebP, PDF or text")


def test_a_pdf_is_a_document() -> None:
    assert result_content(b"%PDF-1.7 x") == (Document("application/pdf", b"%PDF-1.7 x"),)


def test_a_picture_beyond_the_limits_is_scaled_down() -> None:
    wide = image_of(encoded(PIL.Image.new("RGB", (9000, 20))))
    assert (wide.width, wide.height) == (1568, 3)
    noise = np.random.default_rng(0).integers(0, 255, (1600, 1600, 3), dtype=np.uint8)
    heavy = image_of(encoded(PIL.Image.fromarray(noise)))
    assert len(heavy.data) <= 5 * 2**20
    assert heavy.width == 1568


def test_media_are_read_from_a_path_by_what_they_hold(tmp_path: Path) -> None:
    path = tmp_path / "named.png"
    path.write_bytes(encoded(PIL.Image.new("RGB", (8, 6)), "JPEG"))
    image = media(path)
    assert isinstance(image, Image)
    assert (image.media_type, image.alt, image.width) == ("image/jpeg", "named.png", 8)
    assert media(str(path), alt="a square").to_dict()["alt"] == "a square"


def test_a_text_file_is_a_document(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("# Notes", encoding="utf-8")
    assert media(path) == Document("text/plain", b"# Notes", title="notes.md")


def test_urls_are_passed_on() -> None:
    assert media("https://example.org/a/cat.JPG?w=2") == Image(
        "image/jpeg", url="https://example.org/a/cat.JPG?w=2", alt="cat.JPG"
    )
    assert media("https://example.org/paper.pdf", title="The paper") == Document(
        "application/pdf", url="https://example.org/paper.pdf", title="The paper"
    )
    assert isinstance(media("https://example.org/42"), Image)
    assert isinstance(media("https://example.org/42", kind="document"), Document)


def test_data_urls_are_read() -> None:
    data = encoded(PIL.Image.new("RGB", (2, 2)))
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    assert media(url) == Image("image/png", data, width=2, height=2)
    with pytest.raises(CompileError, match="says image/gif, but holds image/png; correct its type"):
        media(url.replace("png", "gif"))
    with pytest.raises(CompileError, match="cannot be read"):
        media("data:image/png;base64,###")


def test_media_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"gone\.png cannot be read: No such file or directory"):
        media(tmp_path / "gone.png")
    empty = tmp_path / "empty.png"
    empty.touch()
    with pytest.raises(CompileError, match=r"empty\.png is empty"):
        media(empty)
    with pytest.raises(CompileError, match="is no PNG, JPEG, GIF, WebP, PDF or text"):
        media(encoded(PIL.Image.new("RGB", (2, 2)), "BMP"))
    with pytest.raises(CompileError, match=r"no picture or document can be made of dict"):
        media({"a": 1})
    with pytest.raises(CompileError, match="names no host"):
        media("https:cat.png")


def test_a_document_beyond_32_mb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.pdf"
    with path.open("wb") as file:
        file.write(b"%PDF-1.7")
        file.truncate(33 * 2**20)
    with pytest.raises(CompileError, match=r"large\.pdf has 33\.0 MB; at most 32 MB"):
        media(path)
