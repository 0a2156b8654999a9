A service whose slot is refused is sent a `403` with the reason before it is closed.
