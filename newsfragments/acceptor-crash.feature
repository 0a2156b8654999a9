An acceptor that is started after another one has died has the slots that proxies use or keep at once: their services need not dial again.
