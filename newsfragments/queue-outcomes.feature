`xproxy_queue_seconds` counts every wait, by its `outcome`; a service that closes its slot after each answer keeps its numbers in `/status`.
