Long uploads cost less than half of what they did: they are kept in memory that all of them share, `limits.bodies_memory` (32 MiB), before they go to files, and are sent straight from there.
