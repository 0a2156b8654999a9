The `slots:` endpoint and `xrelay` log why an acceptor refuses their slots.
