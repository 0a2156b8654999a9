"""xproxy: a bidirectional layer-7 load balancer. Services dial out and park slots; the proxy sends one request on each."""

__version__ = "0.1.0"
