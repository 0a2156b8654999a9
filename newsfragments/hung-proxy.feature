A proxy that hangs loses the idle slots that it holds within four seconds, and the other proxies have them; before it was thirteen.
