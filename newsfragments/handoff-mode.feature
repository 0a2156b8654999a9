`handoff_mode` and `handoff_group` say who may connect to the handoff socket, `one_byte_timeout` how long a client of the one-byte protocol waits.
