#!/bin/sh
# What certbot runs after a certificate was issued or renewed, from /etc/letsencrypt/renewal-hooks/deploy.
#
# Copies it to where xproxy may read it and asks xproxy to read its certificates again. In xproxy.toml:
#
#   [[proxy.certificates]]
#   chain = "/etc/xproxy/tls/example.com.pem"
#   key = "/etc/xproxy/tls/example.com.key"
#
# XPROXY_TLS    the directory; /etc/xproxy/tls
# XPROXY_GROUP  the group that xproxy runs with; xproxy
# XPROXY_UNIT   the unit of systemd; xproxy.service. Empty: SIGHUP goes to the process in XPROXY_PID_FILE
set -eu

directory=${XPROXY_TLS:-/etc/xproxy/tls}
group=${XPROXY_GROUP:-xproxy}
unit=${XPROXY_UNIT-xproxy.service}
name=$(basename "$RENEWED_LINEAGE")

umask 027
mkdir -p "$directory"
# Each file takes the place of the old one as a whole. Between the two xproxy may see a key that does not belong to the
# certificate: it keeps what it has, and reads both again when the second has come.
for pair in privkey.pem:key fullchain.pem:pem; do
    new="$directory/.$name.${pair#*:}.new"
    cp "$RENEWED_LINEAGE/${pair%%:*}" "$new"
    if [ "$(id -u)" = 0 ]; then
        chgrp "$group" "$new"
    fi
    chmod 640 "$new"
    mv "$new" "$directory/$name.${pair#*:}"
done

if [ -n "$unit" ]; then
    systemctl kill --signal=HUP --kill-who=main "$unit"
else
    kill -HUP "$(cat "$XPROXY_PID_FILE")"
fi
