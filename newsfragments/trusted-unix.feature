A client on a UNIX-socket endpoint can be trusted: `"unix:"` in `trusted_proxies`.
