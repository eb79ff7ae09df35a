import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfysup.logs.text import LONG_LINE, Cleaner, Lines, clean, last_drawing

PIECES = st.sampled_from(
    [
        *(b"\x1b[31m", b"\x1b]0;title\x07", b"\x1b]8;;x\x1b\\", b"\x1b(B", b"\x1b", b"\x1b["),
        *(b"\r", b"\r\n", b"\n", b"\r\r\n", b"\t", b"\0", b"\x08", b"\x7f", b"\x9b", b"\x0b"),
        *("é€😀".encode(), b"\xc3", b"\xe2\x82", b"\xff", b"\xed\xa0\x80", b"text", b"7;1m", b"\\"),
    ]
)
LOGS = st.lists(st.one_of(PIECES, st.binary(max_size=4)), max_size=30).map(b"".join)


def cleaned(*pieces: bytes) -> str:
    cleaner = Cleaner()
    return "".join(cleaner.feed(piece) for piece in pieces) + cleaner.feed(b"", final=True)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\n", "plain\n"),
        ("héllo 😀\n".encode(), "héllo 😀\n"),
        (b"\xff\xfe\xc3\xa9\n", "\ufffd\ufffdé\n"),
        (b"\0nul\0\x07\x7f\x9b\n", "nul\ufffd\n"),
        (b"a\tb\x0bc\x0cd\n", "a\tbcd\n"),
        (b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\n", "red text\n"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", "link\n"),
        (b"\x1bP1$r\x1b\\\x1b(B\x1b7\x1b=kept\n", "kept\n"),
        (b"\x1b]never ended\nnext\n", "]never ended\nnext\n"),
        (b"windows\r\nand worse\r\r\n", "windows\nand worse\n"),
        (b"\r 0%\r\x1b[K 50%\r100%\n", "\r 0%\r 50%\r100%\n"),
        (b"cut \x1b[3", "cut [3"),
        (b"\xe2\x82", "\ufffd"),
    ],
)
def test_bytes_become_harmless_text(data: bytes, text: str) -> None:
    assert text == cleaned(data)


@given(LOGS, st.lists(st.integers(0, 60), max_size=5))
def test_the_text_does_not_depend_on_the_chunks(data: bytes, cuts: list[int]) -> None:
    ends = [*sorted(cuts), len(data)]
    pieces = [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]

    assert cleaned(data) == cleaned(*pieces)


@given(LOGS)
def test_control_sequences_are_removed(data: bytes) -> None:
    text = cleaned(data)

    assert all(char in "\n\r\t" or char.isprintable() or ord(char) > 0x9F for char in text)
    assert "\r\n" not in text
    assert text.count("\n") == data.count(b"\n")


@given(LOGS)
def test_a_line_end_leaves_nothing_open(data: bytes) -> None:
    """So that a reader can resume after it without a gap."""
    head, end, tail = data.partition(b"\n")

    assert cleaned(data) == cleaned(head + end) + cleaned(tail)


def test_an_unterminated_escape_sequence_is_not_awaited() -> None:
    cleaner = Cleaner()

    text = cleaner.feed(b"\x1b]" + b"x" * 2000)

    assert text == "]" + "x" * 2000


def test_complete_lines_are_returned_as_last_displayed() -> None:
    lines = Lines()

    found = [lines.feed(text) for text in ("one\nhal", "f\r 0%", "\r50%\rdone", "\n\nx")]

    assert found == ["one\n", "", "", "done\n\n"]
    assert lines.unfinished == "x"


def test_carriage_returns_overwrite_the_line() -> None:
    lines = Lines()
    lines.feed("\r 0%\r 50%")

    assert lines.unfinished == " 50%"


def test_an_unterminated_line_is_returned_in_parts() -> None:
    lines = Lines()
    parts = [lines.feed("x" * 10_000) for _ in range(1_000)]

    assert "".join(parts) + lines.unfinished == "x" * 10_000_000
    assert max(map(len, parts)) <= LONG_LINE + 10_000
    assert len(lines.unfinished) <= LONG_LINE


def test_a_progress_bar_of_any_length_is_one_line() -> None:
    lines = Lines()
    text = "".join(lines.feed(f"\r{number}%") for number in range(100_000))

    assert text + lines.feed("\n") == "99999%\n"


@pytest.mark.parametrize(
    ("line", "drawn"), [("", ""), ("\r", ""), ("50%\r", "50%"), ("\r1\r2", "2"), ("a\r\r", "a")]
)
def test_the_last_drawing_stands_behind_the_last_return(line: str, drawn: str) -> None:
    assert drawn == last_drawing(line)


def test_clean_returns_the_final_form_of_a_line() -> None:
    assert clean("\r\x1b[32m 50%\r100%\x1b[0m\r") == "100%"
    assert clean("text\x1b[") == "text["
