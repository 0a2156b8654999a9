Where a route has `strip_prefix`, the service finds what was taken off the path in `X-Forwarded-Prefix` (behind a trusted proxy's own, where there is one).
