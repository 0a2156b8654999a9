"""HTTP/2 clients that say close_notify and read on, and those that are gone altogether."""

from __future__ import annotations

from tests.world.rig import OK
from tests.world.secure import SecureCase
from tests.world.sockets import KERNEL
from xproxy.proxy.clients.connection import LOOK_INTERVAL_S
from xproxy.proxy.exchanges.pool import status_of


class HalfCloseTests(SecureCase):
    """See the module's docstring."""

    kind = KERNEL

    def test_what_was_asked_for_is_answered(self) -> None:
        """Also what waits in line; a request that is not whole never will be."""
        rig = self.make_secure_rig()
        file = rig.log_to()
        client = rig.http2_client()
        first, second = client.ask(), client.ask()
        client.ask(method=b"POST", body=b"some", end=False)
        client.shut_down()
        self.assertEqual(status_of(rig.pool)["queue_length"], 2)
        service = rig.slot()
        rig.exchange(service, OK)
        rig.exchange(service, OK)
        self.assertEqual([client.answer(stream).content for stream in (first, second)], [b"ok", b"ok"])
        self.assertTrue(client.ended)
        self.assertEqual(sorted(line["status"] for line in rig.logged(file)), [200, 200, 499])
        self.assertEqual(rig.proxy.front.clients, {})
        self.assert_at_rest(rig)

    def test_who_has_asked_for_nothing_is_closed(self) -> None:
        rig = self.make_secure_rig()
        client = rig.http2_client()
        client.shut_down()
        self.assertTrue(client.ended)
        self.assertEqual(rig.proxy.front.clients, {})

    def test_who_is_gone_leaves_the_line(self) -> None:
        """As soon as the kernel is asked."""
        rig = self.make_secure_rig()
        client = rig.http2_client()
        client.ask()
        client.shut_down()
        self.assertEqual(status_of(rig.pool)["queue_length"], 1)
        client.peer.close()
        rig.pass_time(2 * LOOK_INTERVAL_S)
        self.assertEqual(status_of(rig.pool)["queue_length"], 0)
        self.assertEqual(rig.proxy.front.clients, {})
        self.assert_at_rest(rig)
