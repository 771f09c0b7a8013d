"""What providers say of a request that is too long, read into the error's fields."""

from __future__ import annotations

import pytest

from nbsession.models.failure import Refusal, refused


@pytest.mark.parametrize(
    ("words", "counted", "room"),
    [
        ("prompt is too long: 208310 tokens > 200000 maximum", 208310, 200000),
        (
            "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length",
            188240,
            178667,
        ),
        (
            (
                "This model's maximum context length is 8192 tokens. However, you requested 9500 tokens "
                "(8500 in the messages, 1000 in the completion). Please reduce the length of the messages."
            ),
            8500,
            7192,
        ),
        (
            (
                "This model's maximum context length is 128000 tokens. However, your messages resulted in 131002 tokens. "
                "Please reduce the length of the messages."
            ),
            131002,
            128000,
        ),
        (
            "the request (8203 tokens) exceeds the available context size (4096 tokens), try increasing it",
            8203,
            4096,
        ),
        ("This model's maximum context length is 8192 tokens.", None, 8192),
        ("the prompt is too long", None, None),
    ],
)
def test_what_was_counted_and_what_is_taken_are_read(
    words: str, counted: int | None, room: int | None
) -> None:
    error = refused(Refusal("acme:one", 400, "request", words), "key")
    assert (error.too_long, error.counted, error.room) == (True, counted, room)
    assert not error.retryable
    assert "too large for acme:one" in str(error)
    assert "Fit(Timeline())" in str(error)


def test_another_refusal_is_none_for_its_length() -> None:
    error = refused(Refusal("acme:one", 400, "request", "temperature is out of range"), "key")
    assert (error.too_long, error.counted, error.room) == (False, None, None)
