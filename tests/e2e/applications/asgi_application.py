"""An ASGI application, as anyone would write it."""

# mypy: allow-untyped-defs


async def application(scope, receive, send):
    """Send the body back, in pieces: the server has to use chunked coding."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["path"].encode())]})
    await send({"type": "http.response.body", "body": b"asgi:", "more_body": True})
    await send({"type": "http.response.body", "body": body})
