Several proxies on one acceptor no longer pass slots to and fro while requests wait: each sees in shared memory since when requests wait
at the others, and gives a slot away only for one that came at least 10 ms earlier. No request is overtaken by one that came
more than 20 ms later at another proxy. `xproxy_lease_moves_total{pool}`, and `lease_moves` in `/status`, count how often a slot moves.
