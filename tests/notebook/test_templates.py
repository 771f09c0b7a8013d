from __future__ import annotations

import pytest

from nbsession.notebook.view import templates


@pytest.mark.parametrize(
    ("at", "written"),
    [
        ("2026-11-21T09:45:22+00:00", "2026-11-21 09:45 UTC"),
        ("2026-11-21T09:45:22+02:00", "2026-11-21 07:45 UTC"),
        ("yesterday", "yesterday"),
        ("", ""),
    ],
)
def test_a_time_is_written_to_the_minute_and_what_is_none_stays(at: str, written: str) -> None:
    assert templates.moment(at) == written
