r"""The filter language of the dashboard and the command line: text in, the API's own filter out.

    status:failed type:calculate,transform priority:high tag:nightly worker:w1 created:>2h "connection reset"

A filter is terms in a row, all of which must hold. A term is `field:value`, or free text, which is looked for in the
type and the error (or is the start of an id). Values with a space, a comma or a quote, and free text with a colon, go
into double quotes, with `\"` and `\\` inside them.

    status, priority         in any case; of several, any: status:failed,timeout
    type                     of several, any
    tag                      of several, all
    worker, batch, schedule  an id, a UUID, a name; one only
    created                  <2h            in the last two hours
                             >2h            longer ago
                             >=2030-01-31   since; also > <= < and times such as 2030-01-31T12:00Z
                             2030-01-31     on that day
                             2030-01-01..2030-02-01   from the one until before the other
    payload.user.id          the text of what is there, a number or a word or a string; of several values, any

Ages have the units s, m, h, d and w; a time without an offset is UTC. `parse` raises WrongFilter, which points at the
place and, where it can, says what was meant. There is no I/O here and no clock: ages become times in `Filter.query` and
`Filter.selection`, which are told the time.

    words     the fields, their values, the error
    terms     text to terms
    times     ages, times and days
    filter    what was meant, and how the API is asked for it
    reader    terms to a filter; completion
"""

from distriqueue.filterlang.filter import NOTHING, Filter
from distriqueue.filterlang.reader import completions, parse
from distriqueue.filterlang.terms import quoted
from distriqueue.filterlang.words import VALUES, Field, WrongFilter

__all__ = ["NOTHING", "VALUES", "Field", "Filter", "WrongFilter", "completions", "parse", "quoted"]
