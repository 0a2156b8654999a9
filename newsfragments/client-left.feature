Requests whose client left without an answer are counted, as code 499 of `xproxy_requests_total`, and answers that broke off are counted with the status they began with.
