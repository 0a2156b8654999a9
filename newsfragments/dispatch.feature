`dispatch` of a pool names which idle slot takes the next request and which waiting request the next slot: `"ring"`, or a Twisted plugin that provides `xproxy.interfaces.IDispatch`.
