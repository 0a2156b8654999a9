`ocsp` of a certificate: an OCSP response from a file is stapled while it is good, and read again when it changes.
