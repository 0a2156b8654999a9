`slow_start` of a pool: a service that has just come is used up to a share that grows over so many seconds, unless a request would wait.
