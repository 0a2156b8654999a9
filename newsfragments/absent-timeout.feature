`absent_timeout` (5 seconds): how long a request waits while no service of its pool is registered. The answer and the log say so.
