"""A WSGI application, as anyone would write it."""

# mypy: allow-untyped-defs


def application(environ, start_response):
    """Say what was asked, and send the body back."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Path", environ["PATH_INFO"])])
    return [b"wsgi:", body]
