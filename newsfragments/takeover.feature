Another acceptor can take over from the one that runs (`twistd xacceptor --takeover`): no connection is refused, no request is lost, services need not dial again.
