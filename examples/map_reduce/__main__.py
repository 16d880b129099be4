"""A map-reduce graph: the words of this project's documentation.

Each page is counted by a job (map). Other jobs wait for all of these and add up a share of the alphabet each (reduce),
and one waits for them (collect). The whole graph is submitted at once; nobody but DistriQueue drives it. The result is
compared with a count without jobs.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from uuid import UUID

from jobs import Map, Reduce, map_, reduce_, words

from distriqueue import Client, NewJob
from distriqueue.core.job import new_job_id
from distriqueue.local.stack import Stack

HERE = Path(__file__).resolve().parent
PAGES = HERE.parents[1] / "docs"
MOST = 10
TIMEOUT_S = 60


def graph(texts: list[str], shares: int) -> tuple[list[NewJob], UUID]:
    """Return all jobs, and the id of the last: they name each other by ids that are given to them here."""
    maps = [new_job_id() for _ in texts]
    reduces = [new_job_id() for _ in range(shares)]
    last = new_job_id()
    jobs = [NewJob(map_, Map(text=text, shares=shares), id=id_) for text, id_ in zip(texts, maps, strict=True)]
    jobs += [NewJob(reduce_, Reduce(share=share), id=id_, depends_on=maps) for share, id_ in enumerate(reduces)]
    jobs.append(NewJob("collect", {"most": MOST}, id=last, depends_on=reduces))
    return jobs, last


def play(client: Client, texts: list[str], shares: int) -> bool:
    """Submit the graph, follow it, and tell whether the result is right."""
    jobs, last = graph(texts, shares)
    batch = client.submit_many(jobs, batch_name="word count")
    print(f"{len(texts)} pages: {len(jobs)} jobs submitted together")
    ended: Counter[str] = Counter()
    for event in client.events(batch=batch.id, after=0):
        if event.is_end:
            ended[event.type] += 1
            if ended[event.type] == 1:
                print(f"the first {event.type} is {event.status}; so far {dict(ended)}")
            if event.job_id == last:
                break
    found = client.get(last).result(timeout=TIMEOUT_S)
    for word, count in found["most"].items():
        print(f"{count:6} {word}")
    direct = sum(map(words, texts), Counter())
    expected = {"words": direct.total(), "different": len(direct)}
    print(f"{found['words']} words, {found['different']} different; counted directly: {expected}")
    return {name: found[name] for name in expected} == expected


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(prog="examples/map_reduce", description=__doc__)
    parser.add_argument("--shares", type=int, default=4, help="how many jobs add up (%(default)s)")
    arguments = parser.parse_args()
    texts = [page.read_text(encoding="utf-8") for page in sorted(PAGES.rglob("*.md"))]
    with tempfile.TemporaryDirectory(prefix="distriqueue-", ignore_cleanup_errors=True) as home:
        print("starting a stack with two workers …")
        with (
            Stack.start(
                Path(home) / "stack", workers=2, worker_app="jobs:registry", env={"PYTHONPATH": str(HERE)}
            ) as stack,
            Client(stack.gateway_urls[0]) as client,
        ):
            right = play(client, texts, arguments.shares)
    print("the same" if right else "not the same")
    sys.exit(not right)


if __name__ == "__main__":
    main()
