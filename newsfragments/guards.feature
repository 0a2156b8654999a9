Guards: `guards = [...]` in a route asks plugins (`xproxy.interfaces.IGuardMaker`, `[guards.NAME]`) whether a request may pass and with which header fields, at once or by a Deferred, bounded in time.
