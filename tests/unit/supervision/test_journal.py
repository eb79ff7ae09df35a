"""The journal: its ids, its limits and its readers."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfysup.supervision import journal as module
from comfysup.supervision.journal import PAGE, Journal, Page
from tests.scenarios.waiting import bounded


def write(number: int) -> bytes:
    return b"%d" % number


def filled(count: int, first_id: int = 1, keep: int = 1_000) -> Journal:
    journal = Journal(first_id, keep)
    for _ in range(count):
        journal.append(write)
    return journal


async def page_after(journal: Journal, position: int) -> Page:
    async with bounded():
        page = await journal.after(position)
    assert page is not None
    return page


async def read_all(journal: Journal, position: int) -> tuple[list[int], list[int | None]]:
    """Read to the current end; return the ids and the numbers of missed events."""
    ids: list[int] = []
    missed: list[int | None] = []
    while position != journal.newest:
        page = await page_after(journal, position)
        ids += [int(entry) for entry in page.entries]
        missed += [page.missed] if page.missed != 0 else []
        position = page.position
    return ids, missed


async def test_ids_begin_at_first_id_and_increase_by_one() -> None:
    journal = filled(3, first_id=4_711)

    assert await read_all(journal, 4_710) == ([4_711, 4_712, 4_713], [])
    assert journal.newest == 4_713


async def test_an_entry_is_serialized_once_for_all_readers() -> None:
    journal = Journal(1)
    written: list[int] = []

    def once(number: int) -> bytes:
        written.append(number)
        return b"x" * 100

    readers = [asyncio.create_task(journal.after(0)) for _ in range(20)]
    await asyncio.sleep(0)

    journal.append(once)
    pages = await asyncio.gather(*readers)

    assert written == [1]
    assert len({id(page.entries[0]) for page in pages if page}) == 1


async def test_a_reader_waits_for_the_next_event() -> None:
    journal = filled(2)
    reader = asyncio.create_task(journal.after(2))
    await asyncio.sleep(0)
    assert not reader.done()

    journal.append(write)

    assert await reader == Page(0, [b"3"], 3)


async def test_the_last_thousand_are_kept() -> None:
    ids, missed = await read_all(filled(1_500), 500)

    assert ids == list(range(501, 1_501))
    assert missed == []


async def test_a_slow_reader_gets_the_number_of_missed_entries() -> None:
    ids, missed = await read_all(filled(1_500), 400)

    assert ids == list(range(501, 1_501))
    assert missed == [100]


async def test_a_slow_reader_learns_once_of_missed_events_and_continues_without_a_gap() -> None:
    journal = filled(10, keep=5)
    page = await page_after(journal, 2)
    assert page == Page(3, [b"6", b"7", b"8", b"9", b"10"], 10)

    for _ in range(2):
        journal.append(write)

    assert await page_after(journal, page.position) == Page(0, [b"11", b"12"], 12)


async def test_a_reader_of_an_earlier_daemon_gets_all_entries_and_an_unknown_number_missed() -> (
    None
):
    ids, missed = await read_all(filled(3, first_id=1_000), 17)

    assert ids == [1_000, 1_001, 1_002]
    assert missed == [None]


async def test_a_reader_with_a_greater_id_of_another_daemon_continues_from_now() -> None:
    journal = filled(3, first_id=1_000)

    assert await page_after(journal, 5_000) == Page(None, (), 1_002)


async def test_a_page_is_bounded() -> None:
    page = await page_after(filled(PAGE + 5), 0)

    assert len(page.entries) == PAGE
    assert page.position == PAGE


async def test_the_kept_entries_are_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 100)
    journal = Journal(1)
    for _ in range(10):
        journal.append(lambda _number: b"x" * 30)

    page = await page_after(journal, 0)

    assert page.missed == 7
    assert len(page.entries) == 3


async def test_a_single_entry_over_the_size_limit_is_reported_as_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 100)
    journal = Journal(1)
    journal.append(lambda _number: b"x" * 101)

    assert await page_after(journal, 0) == Page(1, [], 1)


async def test_a_closed_journal_is_read_to_its_end() -> None:
    journal = filled(1)
    waiting = asyncio.create_task(journal.after(1))
    await asyncio.sleep(0)

    journal.close()

    assert await page_after(journal, 0) == Page(0, [b"1"], 1)
    assert await journal.after(1) is None
    assert await waiting is None


@given(
    first=st.integers(0, 50),
    keep=st.integers(1, 10),
    batches=st.lists(st.integers(0, 15), max_size=10),
    behind=st.integers(0, 5),
)
async def test_read_and_missed_together_are_always_everything(
    first: int, keep: int, batches: list[int], behind: int
) -> None:
    journal = Journal(first, keep)
    position, seen = journal.newest, 0
    for turn, count in enumerate(batches):
        for _ in range(count):
            journal.append(write)
        if behind and turn % behind:
            continue
        while position != journal.newest:
            page = await page_after(journal, position)
            assert page.missed is not None
            seen += page.missed + len(page.entries)
            position = page.position
            assert [int(entry) for entry in page.entries] == list(
                range(position - len(page.entries) + 1, position + 1)
            )

    assert seen == position - (first - 1)
