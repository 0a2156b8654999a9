"""The numbers in Prometheus' text format. Nothing of prometheus_client is touched until somebody scrapes."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from .. import __version__
from ..metrics import Histogram, ProxyCounts
from ..reload import Reload
from .numbers import Picture

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
"""The content type of what ``generate_latest`` writes."""

NO_POOL = ""
"""The pool label of answers that no pool stands behind: to bad requests, to targets that no route takes, redirects."""


class _Exposition:
    """One scrape, as prometheus_client wants to be handed it."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture

    def collect(self) -> Iterator[Metric]:
        """Every family, in the order of the documentation."""
        picture = self.picture
        info = GaugeMetricFamily("xproxy_info", "Which program answers.", labels=["program", "version", "python"])
        info.add_metric([picture.program, __version__, f"{platform.python_implementation()} {platform.python_version()}"], 1)
        yield info
        yield GaugeMetricFamily("xproxy_ready", "1 when new work is taken, 0 while draining.", value=int(picture.ready))
        if picture.reload is not None:
            yield from _of_configuration(picture.reload)
        if picture.deaths is not None:
            yield from _of_workers(picture.workers, picture.deaths)
        if picture.census is not None:
            yield _slots(picture.census)
            yield _lease_moves(picture.census)
        if picture.registrations is not None:
            family = CounterMetricFamily("xproxy_registrations", "Registrations of slots.", labels=["pool", "result"])
            yield _by_pool(family, picture.registrations)
        if picture.closings is not None:
            family = CounterMetricFamily("xproxy_slots_closed", "Slots that ended.", labels=["pool", "reason"])
            yield _by_pool(family, picture.closings)
        if picture.requests is not None:
            yield _queue_length(picture.requests)
        if picture.counts is not None:
            yield from _of_requests(picture.counts)
        if picture.certificates:
            yield _expiry(picture.certificates)
        if picture.lost_lines:
            family = CounterMetricFamily("xproxy_log_lines_lost", "Lines of logs that could not be written.", labels=["log"])
            yield _by_label(family, picture.lost_lines)


def exposition(picture: Picture) -> bytes:
    """The answer to one scrape."""
    registry = CollectorRegistry()
    registry.register(_Exposition(picture))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _of_configuration(reload: Reload) -> Iterator[Metric]:
    """Which configuration is in force."""
    yield GaugeMetricFamily("xproxy_config_generation", "Configurations in force so far.", value=reload.generation)
    yield GaugeMetricFamily(
        "xproxy_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was read, in seconds since 1970.",
        value=reload.loaded_at,
    )
    reloads = CounterMetricFamily("xproxy_config_reloads", "Reloads, by how they ended.", labels=["result"])
    yield _by_label(reloads, reload.results)


def _of_workers(workers: Sequence[Mapping[str, Any]], deaths: int) -> Iterator[Metric]:
    """The workers, by their states."""
    states = dict.fromkeys(("starting", "serving", "draining", "silent"), 0)
    for worker in workers:
        states[worker["state"] if worker["answers"] else "silent"] += 1
    yield _by_label(GaugeMetricFamily("xproxy_workers", "Worker processes, by what they do.", labels=["state"]), states)
    yield CounterMetricFamily("xproxy_worker_deaths", "Worker processes that have died.", value=deaths)


def _slots(census: Mapping[str, Mapping[str, Any]]) -> Metric:
    family = GaugeMetricFamily("xproxy_slots", "Registered slots.", labels=["pool", "state"])
    for name, pool in sorted(census.items()):
        for state in ("idle", "leased"):
            family.add_metric([name, state], pool.get(state, 0))
    return family


def _lease_moves(census: Mapping[str, Mapping[str, Any]]) -> Metric:
    family = CounterMetricFamily(
        "xproxy_lease_moves", "How often a slot was taken back from one proxy and given to another.", labels=["pool"]
    )
    for name, pool in sorted(census.items()):
        family.add_metric([name], pool.get("lease_moves", 0))
    return family


def _queue_length(requests: Mapping[str, Mapping[str, Any]]) -> Metric:
    family = GaugeMetricFamily("xproxy_queue_length", "Requests that wait for a slot.", labels=["pool"])
    for name, pool in sorted(requests.items()):
        family.add_metric([name], pool.get("queue_length", 0))
    return family


def _of_requests(counts: ProxyCounts) -> Iterator[Metric]:
    """The numbers of a proxy."""
    pools = sorted(counts.pools.items())
    in_flight = GaugeMetricFamily("xproxy_in_flight", "Requests on a slot.", labels=["pool"])
    requests = CounterMetricFamily("xproxy_requests", "Answers given to clients.", labels=["pool", "code"])
    retries = CounterMetricFamily("xproxy_retries", "Requests sent again.", labels=["pool", "reason"])
    for name, pool in pools:
        in_flight.add_metric([name], pool.in_flight)
        for code, count in sorted(pool.codes.items()):
            requests.add_metric([name, str(code)], count)
        for reason, count in sorted(pool.retries.items()):
            retries.add_metric([name, reason], count)
    for code, count in sorted(counts.routeless.items()):
        requests.add_metric([NO_POOL, str(code)], count)
    yield in_flight
    yield requests
    yield retries
    waits = HistogramMetricFamily(
        "xproxy_queue_seconds", "How long requests waited for a slot, by how that ended.", labels=["pool", "outcome"]
    )
    responses = HistogramMetricFamily("xproxy_response_seconds", "How long slots were held.", labels=["pool"])
    for name, pool in pools:
        for outcome, histogram in pool.queue_seconds.items():
            _add_histogram(waits, [name, outcome], histogram)
        _add_histogram(responses, [name], pool.response_seconds)
    yield waits
    yield responses
    yield _by_label(GaugeMetricFamily("xproxy_connections", "Open connections.", labels=["side"]), counts.connections)
    for what, number in sorted(counts.spools.items()):
        text = f"{what.capitalize()} of bodies that did not fit into memory."
        yield GaugeMetricFamily(f"xproxy_spool_{what}", text, value=number)
    opened = CounterMetricFamily("xproxy_connections_opened", "Connections opened so far.", labels=["side"])
    yield _by_label(opened, counts.connections_total)
    refused = CounterMetricFamily("xproxy_connections_refused", "Connections closed at once.", labels=["reason"])
    yield _by_label(refused, counts.refused)
    failures = CounterMetricFamily("xproxy_accept_failures", "Connections that could not be accepted.", labels=["reason"])
    yield _by_label(failures, counts.accept_failures)
    bad = CounterMetricFamily("xproxy_bad_requests", "Requests refused for what they are.", labels=["reason"])
    yield _by_label(bad, counts.bad_requests)
    timeouts = CounterMetricFamily("xproxy_client_timeouts", "Clients that were too slow, by timeout.", labels=["timeout"])
    yield _by_label(timeouts, counts.timeouts)
    if counts.handshakes:
        handshakes = CounterMetricFamily("xproxy_tls_handshakes", "TLS handshakes, by how they ended.", labels=["outcome"])
        yield _by_label(handshakes, counts.handshakes)


def _add_histogram(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    buckets = [(floatToGoString(bound), float(count)) for bound, count in histogram.cumulative()]
    family.add_metric(labels, buckets, histogram.sum)


def _expiry(certificates: Sequence[tuple[str, str, float]]) -> Metric:
    family = GaugeMetricFamily(
        "xproxy_certificate_expiry_seconds", "When a certificate expires, in seconds since 1970.", labels=["name", "kind"]
    )
    soonest: dict[tuple[str, str], float] = {}
    for name, kind, seconds in certificates:
        soonest[name, kind] = min(seconds, soonest.get((name, kind), seconds))
    for labels, seconds in sorted(soonest.items()):
        family.add_metric(labels, seconds)
    return family


def _by_label(family: Any, values: Mapping[str, int]) -> Metric:
    for label, value in sorted(values.items()):
        family.add_metric([label], value)
    metric: Metric = family
    return metric


def _by_pool(family: CounterMetricFamily, values: Mapping[tuple[str, str], int]) -> Metric:
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    metric: Metric = family
    return metric
