TLS key exchange uses the groups of Mozilla's intermediate profile only (X25519, P-256, P-384), where the installed `cryptography` can say so.
