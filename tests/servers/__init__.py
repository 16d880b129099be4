"""Private servers of the suite: each on free ports of 127.0.0.1, in a temporary directory, ended with the session.

Nothing here touches a system service, and a server dies with the test process however that ends.
"""
