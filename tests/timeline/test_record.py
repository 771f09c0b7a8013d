from __future__ import annotations

import pytest

from nbsession import Entry, SessionError
from nbsession.content import Text
from nbsession.timeline import Record
from nbsession.timeline.record import CHUNK


def entry(number: int, parent: int | None, text: str = "") -> Entry:
    return Entry(
        f"e{number}", None if parent is None else f"e{parent}", "user", (Text(text or f"t{number}"),)
    )


def record(size: int) -> Record:
    timeline = Record()
    for number in range(size):
        timeline.append(entry(number, number - 1 if number else None))
    return timeline


def ids(timeline: Record) -> list[str]:
    return [one.id for one in timeline]


def test_it_is_a_sequence_of_the_entries_up_to_the_head() -> None:
    timeline = record(3)

    assert len(timeline) == 3
    assert ids(timeline) == ["e0", "e1", "e2"]
    assert (timeline[0].id, timeline[-1].id) == ("e0", "e2")
    assert [one.id for one in timeline[1:]] == ["e1", "e2"]
    assert timeline[1] in timeline
    assert timeline.head == "e2"
    with pytest.raises(IndexError, match="the timeline has 3 entries, asked for 3"):
        timeline[3]


def test_an_entry_that_does_not_follow_the_head_is_refused() -> None:
    with pytest.raises(SessionError, match="entry 'e9' follows 'e0', but the head is 'e2'"):
        record(3).append(entry(9, 0))


def test_moving_the_head_deletes_nothing_and_branches_share_the_past() -> None:
    timeline = record(4)
    timeline.move("e1")
    timeline.append(entry(9, 1))

    assert ids(timeline) == ["e0", "e1", "e9"]
    assert len(timeline.all()) == 5
    timeline.move("e3")
    assert ids(timeline) == ["e0", "e1", "e2", "e3"]
    timeline.move(None)
    assert ids(timeline) == []
    with pytest.raises(SessionError, match="no entry 'x'"):
        timeline.move("x")


def test_it_is_restored_with_all_its_branches() -> None:
    timeline = record(3)
    timeline.move("e0")
    timeline.append(entry(9, 0))
    restored = Record()
    restored.restore(timeline.all(), timeline.head)

    assert ids(restored) == ids(timeline)
    assert restored.all() == timeline.all()
    assert restored.get("e2") == entry(2, 1)
    assert restored.get("x") is None


def test_an_append_leaves_all_but_the_last_chunk_as_it_is() -> None:
    timeline = record(3 * CHUNK + 7)
    before = timeline.chunks
    last_parts = before[-1].parts
    timeline.append(entry(len(timeline), len(timeline) - 1))

    assert [len(chunk.entries) for chunk in timeline.chunks] == [CHUNK, CHUNK, CHUNK, 8]
    assert all(old is new for old, new in zip(before[:3], timeline.chunks[:3], strict=True))
    assert timeline.chunks[-1].parts[:7] == last_parts
    assert timeline[CHUNK].id == f"e{CHUNK}"


def test_a_chunk_knows_the_tokens_of_its_entries() -> None:
    timeline = record(CHUNK + 5)

    for chunk in timeline.chunks:
        assert chunk.tokens == sum(part.tokens for part in chunk.parts)
        assert chunk.digests() == "".join(part.digest for part in chunk.parts).encode()


def test_moving_back_keeps_the_chunks_of_the_common_past() -> None:
    timeline = record(2 * CHUNK + 10)
    before = timeline.chunks
    timeline.move(f"e{CHUNK + 3}")

    assert timeline.chunks[0] is before[0]
    assert len(timeline) == CHUNK + 4
