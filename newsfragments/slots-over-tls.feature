Services on other hosts can register over TLS (`slots_tls`, at the service `slots:tls:...`): each end shows a certificate, and the name
in the service's certificate says which pools it may join.
