# /// script
# requires-python = ">=3.11"
# dependencies = ["tensorboard==2.21.0"]
# ///
"""Reads the event files of a folder with TensorBoard itself and prints their scalars.

    uv run tests/reference/read_tensorboard.py FOLDER
    # or: pip install tensorboard==2.21.0; python tests/reference/read_tensorboard.py FOLDER

prints {tag: [[step, value], ...]} as JSON, a NaN or infinite value as null. It is how the files of `aki-train`'s
`log/tensorboard.rs` are checked: bytes that TensorBoard can't read raise or are missing here.
"""

import json
import math
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read(folder):
    """All scalars of all event files in `folder`, none thinned out."""
    events = EventAccumulator(folder, size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [
            [event.step, event.value if math.isfinite(event.value) else None]
            for event in events.Scalars(tag)
        ]
        for tag in events.Tags()["scalars"]
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    print(json.dumps(read(sys.argv[1]), indent=2, sort_keys=True))
