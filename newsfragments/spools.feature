What is in files of bodies that did not fit into memory is shown: `xproxy_spool_bytes`, `xproxy_spool_files`, and `spools` of `/status`.
