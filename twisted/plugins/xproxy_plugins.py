"""What twistd and endpoint descriptions know of xproxy. Declarations only: every twistd command on the machine imports this."""

from twisted.application.service import ServiceMaker

xproxy = ServiceMaker("xproxy", "xproxy.tap.xproxy", "A layer-7 load balancer over slots that services register.", "xproxy")
xacceptor = ServiceMaker("xacceptor", "xproxy.tap.xacceptor", "Where services register slots for xproxy processes.", "xacceptor")
