"""Who may call gateways and orchestrators, in front of both.

    rules     which scope each call takes: one table per service, and what is not in it takes `admin`
    keyring   the keys, as last read from Postgres
    session   a browser's cookie, made from a key
    gate      asks for a key before the app hears of a request
    trail     what routes note before they act
    start     no service beyond loopback without keys

A request costs a look-up and one SHA-256. Keys are read every second, so a revoked key works for about a second more;
while Postgres is away the last known keys count, and until they were read once nobody is let in. Without any key, ever,
everybody is, and then only loopback is served. A key's rate of requests counts in each process for itself.
See docs/adr/0011-access.md.
"""
