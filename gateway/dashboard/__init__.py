"""The dashboard: pages for people, served by the gateway at `/`.

    door      in front of the gate: its files, login and logout
    views     what a page is: a template, regions of it, and the reading that fills them
    live      one stream of server-sent events per tab, which sends the regions that have changed
    pages/    one module per page: what it reads, and what its buttons do
    sampler   the figures of the last hour, read by one loop for all tabs
    cluster   what the orchestrators say of themselves
    desk      all of that in one hand: what the pages work with
    render    templates and security headers; words, json, graph, redaction: what templates show
    assets    files with their digest in the address, and their compressed copies

Every page works from the stores that the API's routes use. What is live is read again, never followed: a stream sends
what has changed since it last looked, so a tab that was hidden or cut off has missed nothing once it is back, and a
gateway pays for tabs, not for events. Tabs that look at the same share one reading.
"""
