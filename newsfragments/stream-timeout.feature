`stream_timeout` in `[pools.NAME]` (1 hour by default): how long a streamed response (events, `X-Accel-Buffering: no`, `buffering = "off"`) may be silent; it was cut off after `response_timeout`.
