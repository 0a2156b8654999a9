A bad request is in the access log with its first line, the reason and the bytes sent, in `xproxy_bad_requests_total{reason}`, and with its peer in the log, seldom.
