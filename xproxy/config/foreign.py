"""What keys of other proxies are here: nginx, HAProxy, Caddy, Traefik and Envoy, whose users look for what they know.

Keys are compared without their punctuation and in lower case, so that ``proxy_pass``, ``proxy-pass`` and ``proxyPass`` are one.
A key that becomes one of ours needs no care here: our own keys are looked for first.
"""

from __future__ import annotations

import re

ANSWERS = (
    (
        "rates are not limited here: how many requests run at once is what the slots of a service say; queue_limit in "
        "[pools.NAME] bounds how many wait",
        "rate_limit rate_limiting rate limit limit_req limit_req_zone limit_rate limit_conn limit_conn_zone throttle "
        "burst stick_table max_requests_per_second requests_per_second in_flight_req local_rate_limit concurrency "
        "max_concurrency",
    ),
    (
        "nothing is compressed here: services do that",
        "gzip brotli zstd compression compress encode gzip_types gzip_static deflate compressor",
    ),
    (
        "services are not listed here but dial in: [pools.NAME] says where; a server that can only listen goes behind "
        "twistd xrelay",
        "upstream upstreams backend backends server servers proxy_pass reverse_proxy fastcgi_pass uwsgi_pass grpc_pass "
        "scgi_pass to target targets origin origins cluster clusters service services endpoints hosts nodes members "
        "load_balancer listen_backend dynamic_upstreams proxy_connect_timeout connect_timeout dial_timeout "
        "connection_timeout timeout_connect resolver resolvers dns keepalive_requests upstream_keepalive max_conns",
    ),
    (
        "there is nothing to choose here: slots are taken in turn over the services, and a service with more slots gets more",
        "balance lb_policy load_balancing lb least_conn ip_hash weight weights algorithm round_robin strategy lb_policies",
    ),
    (
        "here clients arrive at http and https in [proxy], services at slots in [pools.NAME]",
        "listen listener listeners listen_addr listen_address bind bind_addr bind_address address addr addresses port "
        "ports frontend frontends entry_point entry_points http_port https_port web websecure interface socket",
    ),
    (
        "health is not checked here: a slot is an open connection, a service that is gone has none; response_timeout in "
        "[pools.NAME] ends what hangs",
        "health_check health_checks health check health_uri health_interval health_path httpchk option_httpchk "
        "max_fails fail_timeout outlier_detection circuit_breaker circuit_breakers inter rise fall passive_health "
        "active_health",
    ),
    (
        "here that is workers in [proxy]",
        "worker_processes worker_process nbproc nbthread nbthreads threads processes num_workers num_threads cpu_map "
        "cpus worker_cpu_affinity concurrency_level workers worker",
    ),
    (
        "here that is connections in [limits]",
        "maxconn max_connections worker_connections max_clients connection_limit ulimit_n worker_rlimit_nofile",
    ),
    (
        "here certificates are [[proxy.certificates]] with chain and key, and https in [proxy] says where",
        "ssl_certificate ssl_certificate_key ssl tls crt crt_list cert certs certificate cert_file key_file tls_cert "
        "tls_key private_key ssl_key ssl_cert certificates_file tls_context downstream_tls_context",
    ),
    (
        "which versions and ciphers are spoken is not a key here: TLS 1.2 and 1.3, forward-secret ciphers only",
        "ssl_protocols ssl_ciphers ssl_prefer_server_ciphers ciphers cipher_suites min_version tls_version protocols "
        "ssl_min_ver ssl_max_ver curves ssl_ecdh_curve ssl_session_cache ssl_session_timeout ssl_session_tickets "
        "ssl_dhparam alpn ssl_stapling ssl_default_bind_ciphers",
    ),
    (
        "here that is client_ca and client_certificates in [proxy]",
        "ssl_client_certificate ssl_verify_client client_auth ca_file ssl_trusted_certificate verify client_certificate "
        "ca_files mtls",
    ),
    (
        "certificates are not fetched here: docs/tls.md says how an ACME client does it",
        "acme letsencrypt certificates_resolvers cert_resolver email auto_https on_demand_tls acme_ca",
    ),
    (
        "here requests are told apart by [[routes]], with host, path and methods",
        "location locations rule rules match matchers uri acl acls use_backend default_backend route_config handle "
        "handle_path router routers prefix path_prefix path_regexp virtual_host virtual_hosts vhost vhosts map",
    ),
    (
        "here that is host in [[routes]]",
        "server_name server_names hostname hostnames domain domains",
    ),
    (
        "here that is pool in [[routes]]",
        "default_service backend_name pool_name",
    ),
    (
        "here that is strip_prefix or redirect in [[routes]]; nothing else is rewritten",
        "rewrite rewrites uri_rewrite prefix_rewrite replace_path add_prefix strip_path url_rewrite set_path http_request",
    ),
    (
        "here that is strip_prefix in [[routes]]",
        "strip uri_strip_prefix strip_path_prefix",
    ),
    (
        "here that is redirect or respond in [[routes]]",
        "return deny_status static_response direct_response error redir redirects redirect_scheme http_errors",
    ),
    (
        "here that is redirect_https in [[routes]]",
        "force_https https_redirect redirect_to_https ssl_redirect force_ssl https_only",
    ),
    (
        "fields are not rewritten here, but for set_host in [[routes]] and forwarded in [proxy]",
        "add_header proxy_set_header headers header_up header_down set_header request_headers response_headers "
        "proxy_hide_header http_response custom_request_headers custom_response_headers proxy_pass_header cors",
    ),
    (
        "here that is set_host in [[routes]]",
        "preserve_host host_rewrite pass_host_header proxy_host upstream_host",
    ),
    (
        "here that is forwarded in [proxy]",
        "forwardfor option_forwardfor x_forwarded_for forwarded_for use_remote_address proxy_headers",
    ),
    (
        "here that is trusted_proxies in [proxy]",
        "real_ip real_ip_header set_real_ip_from trusted_ips forwarded_headers trust trust_proxy xff_num_trusted_hops "
        "trusted proxy_trusted_ips",
    ),
    (
        "here that is proxy_protocol in [proxy], with trusted_proxies",
        "accept_proxy send_proxy send_proxy_v2",
    ),
    (
        "here that is client_ca in [proxy], for the certificates of clients; passwords and tokens are a service's own",
        "auth auth_basic auth_basic_user_file basic_auth forward_auth auth_request userlist jwt oauth",
    ),
    (
        "clients are not chosen by address here: a firewall does that; allow in [pools.NAME] is about services",
        "deny blacklist whitelist ip_allow_list ip_whitelist allowlist denylist block geoip geo source_range",
    ),
    (
        "files are not served here: let a service do it, such as twist web --path DIRECTORY --listen slots:...",
        "root alias index try_files file_server static static_files document_root autoindex",
    ),
    (
        "here that is body in [limits] and body_limit in [[routes]]",
        "client_max_body_size max_body_size max_request_body_bytes request_body max_request_size max_body body_size "
        "body_size_limit",
    ),
    (
        "here that is request_memory and bodies_memory in [limits]",
        "client_body_buffer_size client_body_temp_path mem_request_body_bytes request_buffering buffer_requests "
        "proxy_request_buffering",
    ),
    (
        "here that is response_memory and response_file in [limits], and buffering in [[routes]]",
        "proxy_buffering proxy_buffer_size proxy_buffers proxy_busy_buffers_size proxy_max_temp_file_size "
        "flush_interval bufsize buffer buffers tune_bufsize proxy_temp_path",
    ),
    (
        "here that is header and head in [limits]",
        "large_client_header_buffers client_header_buffer_size max_header_size max_headers max_header_bytes "
        "max_request_headers_kb http_max_header_size tune_http_maxhdr maxhdr",
    ),
    (
        "here that is head in [timeouts]",
        "client_header_timeout read_header_timeout timeout_http_request http_request_timeout request_headers_timeout "
        "header_timeout request_timeout_header",
    ),
    (
        "here that is body in [timeouts]",
        "client_body_timeout read_body_timeout body_timeout",
    ),
    (
        "here that is head and body in [timeouts]",
        "read_timeout timeout_client client_timeout",
    ),
    (
        "here that is keep_alive in [timeouts]",
        "keepalive_timeout idle_timeout timeout_http_keep_alive idle_conn_timeout keepalive_time",
    ),
    (
        "here that is write in [timeouts]",
        "send_timeout write_timeout client_write_timeout",
    ),
    (
        "here that is handshake in [timeouts]",
        "ssl_handshake_timeout handshake_timeout tls_timeout",
    ),
    (
        "here that is tunnel in [timeouts]",
        "timeout_tunnel websocket_timeout tunnel_timeout websocket stream_timeout",
    ),
    (
        "here that is response_timeout in [pools.NAME] and [[routes]]",
        "proxy_read_timeout proxy_send_timeout timeout_server server_timeout response_header_timeout request_timeout "
        "backend_timeout upstream_timeout proxy_timeout route_timeout",
    ),
    (
        "here that is queue_timeout in [pools.NAME]",
        "timeout_queue wait_timeout maxqueue_timeout pending_timeout",
    ),
    (
        "here each timeout has a key of its own, in [timeouts] and [pools.NAME]",
        "timeout default_timeout timeout_s",
    ),
    (
        "here that is queue_limit in [pools.NAME]",
        "queue maxqueue queue_size max_pending_requests backlog_limit max_pending",
    ),
    (
        "here that is drain_timeout in [proxy]",
        "shutdown_timeout worker_shutdown_timeout grace_period graceful_timeout grace hard_stop_after drain_time "
        "graceful_shutdown request_accept_grace_timeout stop_timeout",
    ),
    (
        "here that is max_attempts in [limits]; only what is safe to send again is sent again",
        "proxy_next_upstream retries retry retry_policy proxy_next_upstream_tries num_retries lb_try_duration retry_on "
        "option_redispatch redispatch attempts",
    ),
    (
        "there are no sticky sessions here: any slot of a pool serves any request",
        "cookie sticky session_affinity sticky_session appsession hash_policy affinity ip_hash_header persist",
    ),
    (
        "nothing is cached here",
        "cache proxy_cache proxy_cache_path cache_path expires http_cache",
    ),
    (
        "here that is admin in [proxy], with status, metrics and health",
        "stats stats_uri metrics prometheus dashboard api status status_page stub_status admin_address ping monitor_uri "
        "admin_api stats_socket metrics_path",
    ),
    (
        "here that is access_log and access_log_format in [proxy]",
        "log_format access_logs log_requests http_log option_httplog",
    ),
    (
        "here that is access_log in [proxy]; other lines are twistd's: --logfile FILE",
        "log logs logging logger",
    ),
    (
        "here that is twistd's: twistd --logfile FILE xproxy ...",
        "error_log log_level log_file syslog debug verbose log_global",
    ),
    (
        "here that is error_pages in [proxy]",
        "error_page errorfile handle_errors errors custom_errors errorfiles",
    ),
    (
        "here that is http2 in [proxy]",
        "h2 h2c enable_http2 http2_max_concurrent_streams",
    ),
    (
        "HTTP/3 is not spoken here",
        "http3 quic h3",
    ),
    (
        "here that is hsts in [[routes]]",
        "strict_transport_security sts_seconds hsts_max_age",
    ),
    (
        "here that is twistd's: --pidfile, --uid, --gid, --rundir, and no -n for a daemon",
        "user group pid pid_file daemon chroot uid gid master_process rundir",
    ),
    (
        "there is one file here",
        "include includes import imports providers file_provider confdir conf_d extends",
    ),
    (
        "nothing is scripted here: guards and balancing are a service's, or Python's around xproxy.proxy",
        "lua plugins plugin middleware middlewares filters http_filters wasm njs perl js",
    ),
    (
        "here the sections are [proxy], [acceptor], [pools.NAME], [[routes]], [limits] and [timeouts]",
        "global defaults events stream main static_resources apps globals options settings section core config xproxy general",
    ),
    (
        "nothing is copied to others here",
        "mirror mirroring shadow request_mirror_policies",
    ),
    (
        "TCP and UDP are not balanced here: HTTP only",
        "tcp udp mode stream_proxy layer4 tcp_routes",
    ),
)
"""What is said of a key, and the names that other proxies have for it."""


def plain(name: str) -> str:
    """A key without what tells the styles of other programs apart."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


_BY_NAME = {plain(name): said for said, names in ANSWERS for name in names.split()}


def answer(name: str) -> str:
    """Where that is here which other proxies call ``name``, or that it is not here; empty: no proxy known here has it."""
    return _BY_NAME.get(plain(name), "")
