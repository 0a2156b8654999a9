"""How a wait for a slot ends: full, too long, for nobody; what is counted and said of it; pools that change and go."""

from __future__ import annotations

from typing import Any, Dict

from tests.doubles.logged import Logged
from tests.world.rig import GET, OK, Rig, RigCase, make_config, responses, statuses
from xproxy.interfaces import ANSWER_S
from xproxy.proxy.exchanges.asking import ASK_INTERVAL_S
from xproxy.proxy.exchanges.pool import RETRY_AFTER_S
from xproxy.slots.patience import SAY_ABSENT_S


def outcomes(rig: Rig) -> Dict[str, int]:
    """How many waits have ended in which way."""
    found = rig.pool.counts.queue_seconds
    return {outcome: histogram.count for outcome, histogram in found.items() if histogram.count}


class FullTests(RigCase):
    """Nobody is refused while a slot is idle somewhere."""

    def test_no_line(self) -> None:
        """With ``queue_limit = 0`` nobody stands in line, and every idle slot is used."""
        rig = self.make_rig(pool={"queue_limit": 0})
        services = [rig.source.register() for _ in range(8)]
        rig.source.generous = True
        clients = [rig.client(GET) for _ in range(10)]
        rig.pass_time(ASK_INTERVAL_S)
        self.assertEqual([statuses(client.take()) for client in clients[8:]], [[503], [503]])
        for service in services:
            rig.exchange(service, OK)
        self.assertEqual([statuses(client.take()) for client in clients[:8]], [[200]] * 8)
        self.assertEqual(outcomes(rig), {"served": 8, "full": 2})
        self.assert_at_rest(rig)

    def test_a_crowd_past_a_short_line(self) -> None:
        """Many more at once than the line takes, with as many idle slots elsewhere: all are served."""
        rig = self.make_rig(pool={"queue_limit": 10}, limits={"connections": 5000})
        rig.source.board = bytearray(2000)
        services = [rig.source.register() for _ in range(128 + 20)]
        rig.source.answers = False
        clients = [rig.client(GET) for _ in range(128)]
        rig.pass_time(ASK_INTERVAL_S)
        self.assertEqual(sum(bool(client.received) for client in clients), 0)
        for _ in range(128):
            rig.source.grant()
        rig.proxy.ask_answered("default", rig.source.questions[-1])
        rig.settle()
        for service in services:
            rig.exchange(service, OK if service.received else b"")
        self.assertEqual([statuses(client.take()) for client in clients], [[200]] * len(clients))
        self.assertEqual(outcomes(rig), {"served": len(clients)})
        self.assert_at_rest(rig)

    def test_some_are_too_many(self) -> None:
        """The last to come are refused, when the answer is there; the first stand in line."""
        rig = self.make_rig(pool={"queue_limit": 2})
        rig.source.answers = False
        clients = [rig.client(GET) for _ in range(6)]
        rig.pass_time(ASK_INTERVAL_S)
        service = rig.slot()
        rig.proxy.ask_answered("default", rig.source.questions[-1])
        rig.settle()
        found = [statuses(client.take()) for client in clients]
        self.assertEqual(found, [[], [], [], [503], [503], [503]])
        for client in clients[:3]:
            rig.exchange(service, OK)
            self.assertEqual(statuses(client.take()), [200])
        self.assert_at_rest(rig)

    def test_what_waits_at_other_proxies_counts(self) -> None:
        """The bound is of all together."""
        rig = self.make_rig(pool={"queue_limit": 3})
        rig.source.others_wait(1000.0, 1000.0)
        clients = [rig.client(GET) for _ in range(2)]
        rig.pass_time(ASK_INTERVAL_S)
        self.assertEqual([statuses(client.take()) for client in clients], [[], [503]])
        rig.source.others_wait()
        client = rig.client(GET)
        rig.pass_time(ASK_INTERVAL_S)
        self.assertEqual((statuses(client.take()), len(rig.pool.line)), ([], 2))

    def test_at_once_when_it_is_known(self) -> None:
        """As long as an ask stands that could not be met, nothing can be idle anywhere."""
        rig = self.make_rig(pool={"queue_limit": 1})
        for _ in range(2):
            rig.client(GET)
        rig.pass_time(ASK_INTERVAL_S)
        asked = len(rig.source.asks)
        for _ in range(3):
            client = rig.client(GET)
            status, fields, content = responses(client.take())[0]
            self.assertEqual((status, fields[b"retry-after"]), (503, b"%d" % RETRY_AFTER_S))
            self.assertIn(b"queue-full", content)
        self.assertEqual(len(rig.source.asks), asked)

    def test_no_answer(self) -> None:
        """An acceptor that hangs does not hold them for long; those in line wait on."""
        rig = self.make_rig(pool={"queue_limit": 1})
        rig.source.answers = False
        clients = [rig.client(GET) for _ in range(3)]
        rig.pass_time(ANSWER_S + 0.5)
        self.assertEqual([statuses(client.take()) for client in clients], [[], [503], [503]])
        self.assertEqual(outcomes(rig), {"full": 2})

    def test_no_acceptor(self) -> None:
        """Nobody can be asked: at once."""
        rig = self.make_rig(pool={"queue_limit": 1})
        rig.proxy.acceptor_lost()
        clients = [rig.client(GET) for _ in range(2)]
        self.assertEqual([statuses(client.take()) for client in clients], [[], [503]])

    def test_pipelined(self) -> None:
        """Each request of a client is refused in its turn."""
        rig = self.make_rig(pool={"queue_limit": 0})
        client = rig.client(GET * 5)
        self.assertEqual(statuses(client.take()), [503] * 5)
        self.assertEqual(outcomes(rig), {"full": 5})

    def test_leaves_while_it_is_asked(self) -> None:
        """The answer is about the others."""
        rig = self.make_rig(pool={"queue_limit": 1})
        rig.source.answers = False
        clients = [rig.client(GET) for _ in range(3)]
        rig.pass_time(ASK_INTERVAL_S)
        clients[1].reset()
        rig.settle()
        rig.proxy.ask_answered("default", rig.source.questions[-1])
        rig.settle()
        self.assertEqual([statuses(client.take()) for client in (clients[0], clients[2])], [[], [503]])
        self.assertEqual(outcomes(rig), {"left": 1, "full": 1})


class AbsentTests(RigCase):
    """Nobody is registered."""

    def test_refused_sooner(self) -> None:
        """After ``absent_timeout``, with a reason of its own."""
        rig = self.make_rig(pool={"absent_timeout": 5.0})
        rig.proxy.service_registered("default", False)
        rig.pass_time(60.0)
        client = rig.client(GET)
        rig.pass_time(4.5)
        self.assertEqual(client.received, b"")
        rig.pass_time(1.0)
        status, fields, content = responses(client.take())[0]
        self.assertEqual((status, fields[b"retry-after"]), (503, b"%d" % RETRY_AFTER_S))
        self.assertIn(b"no-service", content)
        self.assertEqual(outcomes(rig), {"absent": 1})
        self.assertEqual(rig.source.asks[-1][1], 0)
        self.assert_at_rest(rig)

    def test_service_that_restarts(self) -> None:
        """Who waits is served when it is back."""
        rig = self.make_rig()
        rig.proxy.service_registered("default", True)
        service = rig.slot()
        rig.client(GET)
        waiting = rig.client(GET)
        service.close()
        rig.proxy.service_registered("default", False)
        rig.pass_time(4.0)
        rig.proxy.service_registered("default", True)
        rig.pass_time(4.0)
        self.assertEqual(waiting.received, b"")
        back = rig.slot()
        rig.exchange(back, OK)
        rig.exchange(back, OK)
        self.assertEqual(statuses(waiting.take()), [200])

    def test_waited_before(self) -> None:
        """The time counts from when the last service was gone."""
        rig = self.make_rig(pool={"absent_timeout": 5.0, "queue_timeout": 30.0})
        client = rig.client(GET)
        rig.pass_time(20.0)
        rig.proxy.service_registered("default", False)
        rig.pass_time(4.0)
        self.assertEqual(client.received, b"")
        rig.pass_time(1.5)
        self.assertIn(b"no-service", responses(client.take())[0][2])

    def test_unknown_is_not_absent(self) -> None:
        """Without an acceptor, nobody knows."""
        rig = self.make_rig(pool={"absent_timeout": 5.0, "queue_timeout": 10.0})
        rig.proxy.service_registered("default", False)
        rig.proxy.acceptor_lost()
        client = rig.client(GET)
        rig.pass_time(9.0)
        self.assertEqual(client.received, b"")
        rig.pass_time(1.5)
        self.assertIn(b"queue-timeout", responses(client.take())[0][2])

    def test_log(self) -> None:
        """One line when requests have waited for a second, and one when it is over; a service that dials again is no news."""
        rig = self.make_rig()
        lines = Logged(self).lines
        rig.proxy.service_registered("default", False)
        rig.pass_time(10.0)
        self.assertEqual(lines, [])
        for _ in range(3):
            rig.client(GET)
        rig.pass_time(SAY_ABSENT_S / 2)
        self.assertEqual(lines, [])
        rig.pass_time(10.0)
        rig.client(GET)
        rig.pass_time(3.0)
        self.assertEqual(lines, ["pool default: requests wait and no service is registered"])
        rig.proxy.service_registered("default", True)
        self.assertEqual(lines[1:], ["pool default: a service is registered again"])
        for _ in range(5):
            rig.proxy.service_registered("default", False)
            rig.pass_time(0.25)
            rig.proxy.service_registered("default", True)
        self.assertEqual(len(lines), 2)


class OutcomeTests(RigCase):
    """Every wait is counted once, with its time."""

    def test_each(self) -> None:
        """Served, full, timeout, left, stopping."""
        rig = self.make_rig(pool={"queue_limit": 3, "queue_timeout": 4.0})
        rig.client(GET)
        gone = rig.client(GET)
        rig.client(GET)
        rig.client(GET)
        rig.pass_time(1.0)
        gone.reset()
        rig.pass_time(1.0)
        rig.slot()
        rig.pass_time(2.5)
        rig.client(GET)
        rig.proxy.stopService()
        self.assertEqual(outcomes(rig), {"served": 1, "full": 1, "timeout": 1, "left": 1, "stopping": 1})
        sums = {outcome: histogram.sum for outcome, histogram in rig.pool.counts.queue_seconds.items()}
        self.assertEqual(sums["served"], 2.0)
        self.assertEqual(sums["left"], 1.0)
        self.assertTrue(4.0 < sums["timeout"] <= 4.5)

    def test_tried_again(self) -> None:
        """An exchange that waits a second time waited once."""
        rig = self.make_rig()
        first, second = rig.slot(), rig.slot()
        client = rig.client(GET)
        first.close()
        rig.settle()
        rig.exchange(second, OK)
        self.assertEqual((statuses(client.take()), outcomes(rig)), ([200], {"served": 1}))


class ChangeTests(RigCase):
    """A pool that is configured anew while it runs."""

    def changed(self, rig: Rig, limits: Any = None, **pool: Any) -> None:
        """Reconfigure the default pool."""
        config = make_config(pool=pool, limits=limits)
        rig.pool.reconfigure(config.pools["default"], config.limits)

    def test_limit(self) -> None:
        """Who waits goes on waiting, whoever comes is counted by the new limit."""
        rig = self.make_rig(pool={"queue_limit": 3})
        waiting = [rig.client(GET) for _ in range(3)]
        self.changed(rig, queue_limit=1)
        late = rig.client(GET)
        rig.pass_time(ASK_INTERVAL_S)
        self.assertEqual(statuses(late.take()), [503])
        self.assertEqual([client.received for client in waiting], [b""] * 3)
        self.changed(rig, queue_limit=4)
        more = rig.client(GET)
        rig.pass_time(ASK_INTERVAL_S)
        self.assertEqual(more.received, b"")

    def test_timeouts(self) -> None:
        """Of those who come from then on."""
        rig = self.make_rig(pool={"queue_timeout": 10.0, "response_timeout": 10.0})
        service = rig.slot()
        first, second = rig.client(GET), rig.client(GET)
        rig.pass_time(1.0)
        self.changed(rig, queue_timeout=3.0, response_timeout=3.0)
        third = rig.client(GET)
        rig.pass_time(3.5)
        self.assertEqual([client.received for client in (first, second)], [b"", b""])
        self.assertIn(b"queue-timeout", responses(third.take())[0][2])
        rig.exchange(service, OK)
        rig.exchange(service, OK)
        self.assertEqual([statuses(client.take()) for client in (first, second)], [[200], [200]])
        fourth = rig.client(GET)
        rig.pass_time(3.5)
        self.assertEqual(statuses(fourth.take()), [504])

    def test_limits_of_responses(self) -> None:
        """Of the slots that are held, too."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        self.changed(rig, limits={"header_count": 1})
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nok")
        self.assertEqual(statuses(client.take()), [502])


class RetireTests(RigCase):
    """A pool that is not configured any more."""

    def test_at_rest(self) -> None:
        """Idle slots go back at once, and nothing is left."""
        rig = self.make_rig()
        services = [rig.slot() for _ in range(3)]
        rig.pool.retire()
        self.assertEqual((rig.source.given_back, rig.pool.slots, rig.pool.over), ([0, 1, 2], {}, True))
        self.assertFalse(any(service.over for service in services))
        self.assertNotIn(rig.pool, rig.gateway.sweep._members)

    def test_nobody_joins(self) -> None:
        """With a reason of its own."""
        rig = self.make_rig()
        rig.slot()
        rig.pool.retire()
        client = rig.client(GET)
        status, fields, content = responses(client.take())[0]
        self.assertEqual((status, fields[b"retry-after"]), (503, b"%d" % RETRY_AFTER_S))
        self.assertIn(b"pool-removed", content)
        self.assertEqual(outcomes(rig), {"removed": 1})

    def test_who_waits_is_served(self) -> None:
        """By the slots that are there; then they go back."""
        rig = self.make_rig()
        service = rig.slot()
        clients = [rig.client(GET) for _ in range(3)]
        rig.pool.retire()
        self.assertFalse(rig.pool.over)
        for client in clients:
            rig.exchange(service, OK)
            self.assertEqual(statuses(client.take()), [200])
        self.assertEqual((rig.source.given_back, rig.pool.over), ([0], True))
        self.assertFalse(service.over)

    def test_who_waits_in_vain(self) -> None:
        """Refused when it has waited as long as it would have anyway."""
        rig = self.make_rig(pool={"queue_timeout": 10.0})
        client = rig.client(GET)
        rig.pass_time(1.0)
        asks = len(rig.source.asks)
        rig.pool.retire()
        rig.pass_time(8.5)
        self.assertEqual((client.received, rig.pool.over), (b"", False))
        rig.pass_time(1.0)
        self.assertIn(b"pool-removed", responses(client.take())[0][2])
        self.assertEqual((rig.pool.over, len(rig.source.asks)), (True, asks))

    def test_grant_that_comes_late(self) -> None:
        """It was on its way: it serves, or goes back."""
        rig = self.make_rig()
        client = rig.client(GET)
        rig.pool.retire()
        service = rig.slot()
        rig.exchange(service, OK)
        self.assertEqual((statuses(client.take()), rig.source.given_back), ([200], [0]))
        rig.source.grant()
        self.assertEqual((rig.source.given_back, rig.pool.slots, rig.pool.over), ([0, 0], {}, True))

    def test_acceptor_meanwhile(self) -> None:
        """Another one is asked for nothing."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        rig.pool.retire()
        rig.proxy.acceptor_lost()
        asks = len(rig.source.asks)
        rig.proxy.acceptor_found()
        rig.exchange(service, OK)
        self.assertEqual((statuses(client.take()), len(rig.source.asks)), ([200], asks))
        self.assertTrue(rig.pool.over)
