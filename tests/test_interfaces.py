"""Whoever says that it provides an interface does: every class of xproxy, and every double that stands for one in the tests.

Here classes are looked at, so methods and their parameters; the seams' own tests look at objects, so at attributes too.
"""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any, Iterator, List, Tuple

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementedBy
from zope.interface.interfaces import Invalid
from zope.interface.verify import verifyClass, verifyObject

import tests.doubles
import tests.world
import xproxy
from tests.doubles.holders import RecordingHolder
from tests.world.descriptors import OWN, Descriptors
from tests.world.parts import Stage
from xproxy.interfaces import ILeaseHolder, ISlotSource
from xproxy.net.descriptors import SYSTEM, IDescriptors, descriptors_of


def classes(*packages: Any) -> Iterator[type]:
    """The classes that the modules of some packages define."""
    for package in packages:
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if Path(found.module_finder.path).name.startswith("test") or ".test_" in found.name:  # type: ignore[union-attr]
                continue
            for _, each in inspect.getmembers(import_module(found.name), inspect.isclass):
                if each.__module__ == found.name:
                    yield each


def provided() -> List[Tuple[type, Any]]:
    """Each class with each interface that it declares itself."""
    return [
        (each, interface) for each in classes(xproxy, tests.doubles, tests.world) for interface in implementedBy(each).declared
    ]


class InterfaceTests(SynchronousTestCase):
    """Classes and the interfaces that they declare."""

    def test_every_class(self) -> None:
        """Its methods are those of the interface, with the same parameters."""
        wrong = []
        for each, interface in provided():
            try:
                verifyClass(interface, each)
            except Invalid as error:
                wrong.append(f"{each.__module__}.{each.__name__}: {error}")
        self.assertEqual(wrong, [])

    def test_they_are_found(self) -> None:
        """Those of the seams among them."""
        found = {(each.__name__, interface.__name__) for each, interface in provided()}
        for name, interface in (
            ("ProxyService", "ILeaseHolder"),
            ("ProxyService", "ILeaseHolder"),
            ("RecordingHolder", "ILeaseHolder"),
            ("HandoffClient", "ISlotSource"),
            ("LocalSource", "ISlotSource"),
            ("Source", "ISlotSource"),
            ("SystemDescriptors", "IDescriptors"),
            ("Descriptors", "IDescriptors"),
            ("SlotsPort", "IListeningPort"),
        ):
            self.assertIn((name, interface), found)


class SeamTests(SynchronousTestCase):
    """The seams' providers as they run."""

    def test_on_a_stage(self) -> None:
        """Proxy, acceptor in the same process and behind the handoff socket."""
        stage = Stage()
        self.addCleanup(stage.close)
        embedded, other = stage.proxy(embedded=True), stage.proxy()
        for proxy in (embedded, other):
            verifyObject(ILeaseHolder, proxy.service)
            verifyObject(ISlotSource, proxy.service._source)
        verifyObject(ILeaseHolder, RecordingHolder())

    def test_descriptors(self) -> None:
        """This process' own, those of a table, and what a reactor says of them."""
        for descriptors in (SYSTEM, OWN, Descriptors(9)):
            verifyObject(IDescriptors, descriptors)
        self.assertIs(descriptors_of(object()), SYSTEM)
        stage = Stage()
        self.addCleanup(stage.close)
        process = stage.acceptor.process
        self.assertIs(descriptors_of(process), process.descriptors)
