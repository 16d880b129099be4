"""What the parts under a job platform can do at most: queues, rows and HTTP, each with nothing else to do."""
