HTTPS costs much less: OpenSSL works on the socket itself. A handshake per request takes 1.1 to 1.2 times the CPU time of nginx, on
CPython and PyPy; a request on a kept connection takes as many calls as without TLS.
