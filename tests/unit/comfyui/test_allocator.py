import pytest

from comfysup.comfyui.command import find_tcmalloc, preloaded, tcmalloc_in

# As ldconfig of Debian 12 prints it, with the libraries of a second architecture.
LISTING = """\
1021 libs found in cache `/etc/ld.so.cache'
\tlibz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1
\tlibtcmalloc_debug.so.4 (libc6,x86-64) => /lib/x86_64-linux-gnu/libtcmalloc_debug.so.4
\tlibtcmalloc_minimal.so.4 (libc6,x86-64) => /lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4
\tlibtcmalloc.so.4 (libc6) => /lib/i386-linux-gnu/libtcmalloc.so.4
\tlibtcmalloc.so.4 (libc6,x86-64) => /lib/x86_64-linux-gnu/libtcmalloc.so.4
\tlibtcmalloc.so (libc6,x86-64) => /lib/x86_64-linux-gnu/libtcmalloc.so
"""


def test_the_full_library_precedes_the_minimal_one() -> None:
    minimal = "\n".join(line for line in LISTING.splitlines() if "libtcmalloc.so" not in line)

    assert tcmalloc_in(LISTING, "x86_64") == "/lib/x86_64-linux-gnu/libtcmalloc.so.4"
    assert tcmalloc_in(minimal, "x86_64") == "/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4"


def test_a_library_of_another_architecture_is_ignored() -> None:
    assert tcmalloc_in(LISTING, "aarch64") is None
    assert tcmalloc_in("", "x86_64") is None


@pytest.mark.parametrize(
    ("existing", "library", "expected"),
    [
        ("", None, ""),
        ("", "/t.so.4", "/t.so.4"),
        ("/a.so", "/t.so.4", "/a.so:/t.so.4"),
        ("/a.so", None, "/a.so"),
        ("/lib/libjemalloc.so.2", "/t.so.4", "/lib/libjemalloc.so.2"),
        ("/lib/libtcmalloc.so.4", "/t.so.4", "/lib/libtcmalloc.so.4"),
    ],
)
def test_a_preload_is_added_to_existing_ones_unless_they_include_an_allocator(
    existing: str, library: str | None, expected: str
) -> None:
    assert expected == preloaded(existing, library)


def test_the_output_of_the_installed_ldconfig_is_parsed() -> None:
    found = find_tcmalloc()

    assert found is None or "/libtcmalloc" in found
