A client that opens a connection for each request costs a fifth less CPU time on CPython, and an eighth less on PyPy.
