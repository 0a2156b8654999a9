One client can fill no more than its share of a pool's line (`client_share`, a quarter by default); past it that client gets 503 `client-share`, and the others keep their places.
