HTTPS endpoints (`--https`) with certificates chosen by name, read again on SIGHUP and when files change, client certificates, HTTP/2,
redirects to HTTPS and HSTS; PROXY protocol in front of HTTP and HTTPS, from trusted proxies.
