xproxy: services dial out and park slots, a proxy sends one request on each; `twistd xproxy`, `twistd xacceptor`, `twistd xrelay` and the `slots:` endpoint.
