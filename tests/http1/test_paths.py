"""The path that routes see, and the other readings of the same bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.http1.strategies import MODEST
from xproxy.http1.errors import BadMessage
from xproxy.http1.paths import MAX_TANGLES, equivalent_path, escaped_path, is_tangled, readings, resolved_path

PATHS = (
    (b"/", b"/"), (b"*", b"*"), (b"", b""), (b"/a/b", b"/a/b"), (b"//a//b", b"//a//b"),
    (b"/a/./b", b"/a/b"), (b"/a/../b", b"/b"), (b"/..", b"/"), (b"/../..//a", b"//a"), (b"/a/..", b"/"), (b"/a/.", b"/a/"),
    (b"/a/b/..", b"/a/"), (b"/a//../b", b"/a/b"), (b"/...", b"/..."), (b"/.a", b"/.a"), (b"/a.", b"/a."),
    (b"/%61dmin", b"/admin"), (b"/%2e%2E/a", b"/a"), (b"/a%2fb", b"/a%2Fb"), (b"/a/%2e%2e%2fb", b"/a/..%2Fb"),
    (b"/%7euser", b"/~user"),
    (b"/%zz%", b"/%zz%"), (b"/%25%32%65", b"/%252e"), (b"/a%3Fb", b"/a%3Fb"), (b"/%00", b"/%00"), (b"/a;x=1/..", b"/"),
)  # fmt: skip


class EquivalentPathTests(TestCase):
    def test_table(self) -> None:
        """RFC 3986 sections 6.2.2 and 5.2.4; decoded once, never twice."""
        for path, expected in PATHS:
            self.assertEqual(equivalent_path(path), expected, path)

    @MODEST
    @given(
        st.lists(st.sampled_from([b"/", b".", b"..", b"a", b"%2e", b"%2F", b"%", b"//"])).map(
            lambda parts: b"/" + b"".join(parts)
        )
    )
    def test_nothing_is_left_to_normalise(self, path: bytes) -> None:
        """No dot segment survives, and the result stays a path."""
        matched = equivalent_path(path)
        self.assertTrue(matched.startswith(b"/"))
        self.assertFalse({b".", b".."} & set(matched.split(b"/")))


RESOLVED = (
    (b"/", b"/"), (b"/a/b", b"/a/b"), (b"//admin", b"/admin"), (b"/admin%2f", b"/admin/"), (b"/%2fadmin", b"/admin"),
    (b"/x%2f..%2fadmin", b"/admin"), (b"/x//../admin", b"/admin"), (b"/admin;x", b"/admin"), (b"/admin;x/y;z/w", b"/admin/y/w"),
    (b"/admin%3bx", b"/admin;x"), (b"/%61dmin", b"/admin"), (b"/%2561dmin", b"/%61dmin"), (b"/a\\b", b"/a\\b"),
    (b"/caf%c3%a9", "/caf\u00e9".encode()), (b"/a//", b"/a/"), (b"/%", b"/%"), (b"/..;/admin", b"/admin"),
)  # fmt: skip
"""The last one is how servlet containers were passed by: a segment that is ``..`` once its parameters are off."""

PIECES = st.lists(
    st.sampled_from([b"/", b".", b"..", b"z", b"root", b"%2e", b"%2F", b"%252f", b"%", b"\\", b";", b"//", b"%00"]), max_size=20
)


class ResolvedPathTests(TestCase):
    def test_table(self) -> None:
        """What nginx's ``merge_slashes`` and a servlet container make of a path, together."""
        for path, expected in RESOLVED:
            self.assertEqual(resolved_path(path), expected, path)

    @MODEST
    @given(PIECES.map(lambda parts: b"/" + b"".join(parts)))
    def test_simple_once_resolved(self, path: bytes) -> None:
        """No dot segment and no double slash survives; what can be sent means the same; what is not tangled is itself."""
        resolved = resolved_path(path)
        self.assertTrue(resolved.startswith(b"/"))
        self.assertFalse({b".", b".."} & set(resolved.split(b"/")))
        self.assertNotIn(b"//", resolved)
        self.assertEqual(resolved_path(escaped_path(resolved)), resolved)
        if not is_tangled(path):
            self.assertEqual([resolved], [path])
            self.assertEqual(readings(path), [path])


class ReadingsTests(TestCase):
    def test_known_ways_past_a_rule(self) -> None:
        """Each of these is ``/admin`` for some server."""
        for path in (
            b"/admin", b"//admin", b"/admin%00", b"/%2fadmin", b"/x%2f..%2fadmin", b"/x//../admin", b"/admin;x", b"/;/admin",
            b"/..;/admin", b"/%2e%2e;/admin", b"/x/..;/admin", b"/\\admin", b"/%5cadmin", b"/x\\..\\admin", b"/%61dmin",
            b"/%2561dmin", b"/%252fadmin", b"/./admin", b"/.//admin", b"/admin%3bx", b"/x/%252e%252e/admin", b"/admin%00.css",
        ):  # fmt: skip
            self.assertIn(b"/admin", readings(path), path)

    def test_both_ways_of_a_way_out(self) -> None:
        """A server that removes no dots serves this below ``/admin``."""
        found = list(readings(b"/admin/%2e%2e/public"))
        self.assertIn(b"/public", found)
        self.assertIn(b"/admin/../public", found)

    def test_too_many(self) -> None:
        """The work is bounded: past so many doubtful places there are no readings. Escapes of letters are not doubtful."""
        self.assertEqual(len(readings(b"/%c3%a9" * 1000)), 1)
        self.assertLess(len(readings(b"/;%252f" * (MAX_TANGLES // 3))), 32)
        self.assertRaises(BadMessage, readings, b"/;" * (MAX_TANGLES + 1))

    @MODEST
    @given(PIECES.map(lambda parts: b"/" + b"".join(parts)))
    def test_among_them(self, path: bytes) -> None:
        found = readings(path)
        self.assertIn(path, found)
        self.assertIn(resolved_path(path), found)
        self.assertEqual(len(found), len(set(found)))
