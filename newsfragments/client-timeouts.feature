`xproxy_client_timeouts_total{timeout}` counts the clients that were too slow.
