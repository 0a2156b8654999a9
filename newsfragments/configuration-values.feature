Any text of the configuration can come from a file or the environment: `token = { file = "/run/secrets/t" }`, `{ env = "TOKEN" }`; a literal `"$TOKEN"` is refused.
