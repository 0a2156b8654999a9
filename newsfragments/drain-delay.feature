`drain_delay` in `[proxy]`: after a stop signal `/readyz` says 503 at once, and everything is still accepted for so long, until balancers have looked away.
