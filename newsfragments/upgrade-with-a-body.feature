`Upgrade` on a request with a body is passed on (`docker exec`, `docker attach`), and so is `TE: trailers`; a request of HTTP/1.0 without
`Host` reaches the service with the address at which it came in.
