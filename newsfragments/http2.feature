HTTP/2 has an implementation of its own, which costs an eighth of the CPU time. A malformed request or one stream too many ends
that stream and no longer the connection, and a client that sends GOAWAY still gets what it waits for.
