"""What twistd and endpoint descriptions know of xproxy. Declarations only: every twistd command on the machine imports this."""

from twisted.application.service import ServiceMaker

from xproxy.service.plugin import SlotsParser

xproxy = ServiceMaker("xproxy", "xproxy.tap.xproxy", "A layer-7 load balancer over slots that services register.", "xproxy")
xacceptor = ServiceMaker(
    "xacceptor", "xproxy.tap.xacceptor", "Where services register slots for xproxy processes.", "xacceptor"
)
xrelay = ServiceMaker("xrelay", "xproxy.tap.xrelay", "Puts a server that only listens behind slots.", "xrelay")

slots = SlotsParser()
