"""Image thumbnails with progress.

Pictures are drawn, and a job for each makes it small, in a process of its own. Bars show how far the jobs are, as their
handlers tell it. The last job is for a file that is no picture: it fails at once, and says why. Look at the results.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from jobs import Thumbnail, thumbnail
from png import Picture, encode
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from distriqueue import Client, NewJob
from distriqueue.local.stack import Stack

HERE = Path(__file__).resolve().parent
SIZE = (480, 360)
WIDTH = 160
TIMEOUT_S = 90


def draw(number: int) -> Picture:
    """Return rings around a place that the number chooses."""
    width, height = SIZE
    left, top, fine = (number * 97) % width, (number * 61) % height, 6 + number % 3
    rows = []
    for y in range(height):
        rings = [((x - left) ** 2 + (y - top) ** 2) >> fine for x in range(width)]
        rows.append(bytes(value & 0xFF for ring in rings for value in (ring, ring * 2 + 40 * number, 255 - ring)))
    return Picture(width, rows)


def play(client: Client, pictures: list[Path], out: Path) -> bool:
    """Submit a job for each, follow them, and tell whether all is as it should be."""
    jobs = [NewJob(thumbnail, Thumbnail(source=each, target=out / each.name, width=WIDTH)) for each in pictures]
    batch = client.submit_many(jobs, batch_name="thumbnails")
    with Progress(TextColumn("{task.description:>14}"), BarColumn(), TextColumn("{task.fields[words]}")) as bars:
        bar_of: dict[str, TaskID] = {
            str(job.id): bars.add_task(picture.name, total=100, words="waits")
            for job, picture in zip(batch.jobs, pictures, strict=True)
            if job is not None
        }
        left = len(bar_of)
        for event in client.events(batch=batch.id, after=0):
            words = event.progress_message or event.status.value
            done = 100 if event.is_end else event.progress or 0
            bars.update(bar_of[str(event.job_id)], completed=done, words=words if not event.is_end else event.status)
            left -= event.is_end
            if not left:
                break
    made = 0
    for job, picture in zip(batch.jobs, pictures, strict=True):
        found = job.wait(timeout=TIMEOUT_S).snapshot if job else None
        if found is None or found.result is None:
            print(f"{picture.name}: {found.error.message if found and found.error else 'no result'}")
            continue
        made += 1
        print(f"{picture.name}: {picture.stat().st_size} bytes → {found.result}")
    print(f"{made} thumbnails in {out}")
    return made == len(pictures) - 1


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(prog="examples/thumbnails", description=__doc__)
    parser.add_argument("--pictures", type=int, default=8, help="how many to draw (%(default)s)")
    parser.add_argument("--out", type=Path, default=HERE / "out", help="where the thumbnails go (%(default)s)")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    with tempfile.TemporaryDirectory(prefix="distriqueue-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        pictures = [home / f"picture{number}.png" for number in range(1, arguments.pictures + 1)]
        for number, picture in enumerate(pictures, 1):
            picture.write_bytes(encode(draw(number)))
        pictures.append(home / "text.png")
        pictures[-1].write_text("this is no picture")
        print("starting a stack …")
        with (
            Stack.start(
                home / "stack", workers=1, worker_capacity=2, worker_app="jobs:registry", env={"PYTHONPATH": str(HERE)}
            ) as stack,
            Client(stack.gateway_urls[0]) as client,
        ):
            right = play(client, pictures, out)
    sys.exit(not right)


if __name__ == "__main__":
    main()
