"""The manual: what is generated of it, its links, and the site.

docs/*.md ─┐                  ┌─ links.py   every link and anchor of the sources leads somewhere
READMEs  ──┼─ pages.py ───────┤
reference ─┘  what is a page, └─ site.py    stage the pages, let zensical build them
 rest.py      and where
 python.py

`python -m distriqueue.manual` checks and builds; `python -m distriqueue.generated` writes the reference.
"""
