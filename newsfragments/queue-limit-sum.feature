`queue_limit` bounds the requests that wait at all proxies of an acceptor together, not at each.
