"""Writes benchmarks in the forms they are published in: VLMEvalKit's tables, CV-Bench's parquet files.

    pip install -r tests/reference/requirements-benchmarks.txt
    python tests/reference/benchmarks.py tests/fixtures/benchmarks

A few rows a set, with pictures drawn here: an object of one colour on a grey ground, each of its own
size. Tables are written by pandas as the kit writes them (separated by tabs, base64 in the column
`image`), parquet files by pyarrow with the columns and types of nyu-visionx/CV-Bench. Special cases:

    MME         two questions a picture, told apart by image_path; all 14 categories
    MMBench     questions of 4, 3 and 2 options in all their orders, whose pictures are those of the
                first order (an index in place of a picture); hints; quotes, tabs and newlines
    SEEDBench   a reference to a row whose picture is another reference
    MMMU        two splits; <image N> in question and options; several pictures as a list; a question
                without options; a row that lacks the option that is right
    MathVista   letters, numbers, a list
    POPE        several categories a row
    RealWorldQA pictures in files, below images/RealWorldQA
    CV-Bench    two files, the first with two row groups; and all of it in one, without list items' names

expected.json has of every set what must be read: ids, texts under both prompts, what is right, and
the sizes of the pictures that are shown. It is worked out here, not by the code under test. Read by
aki-data/tests/benchmarks.rs.
"""

import base64
import io
import json
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

assert pd.__version__ == "3.1.1", pd.__version__
assert pa.__version__ == "26.0.1", pa.__version__

LETTER = "Answer with the option's letter from the given choices directly."
COLOURS = {"red": (220, 40, 40), "green": (40, 160, 60), "blue": (40, 70, 220), "yellow": (230, 210, 50)}


class Pictures:
    """Pictures of ever other sizes, so that a size says which it is."""

    def __init__(self):
        self.count = 0

    def draw(self, colour: str = "red", shape: str = "ellipse") -> tuple[bytes, list[int]]:
        self.count += 1
        size = (24 + self.count % 16, 24 + self.count // 16)
        picture = Image.new("RGB", size, (128, 128, 128))
        getattr(ImageDraw.Draw(picture), shape)((4, 4, size[0] - 6, size[1] - 6), fill=COLOURS[colour])
        file = io.BytesIO()
        if self.count % 2:
            picture.save(file, "PNG")
        else:
            picture.save(file, "JPEG", quality=60)
        return file.getvalue(), list(size)


def base64_of(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


class Table:
    """Rows of a set, and what must be read from them."""

    def __init__(self, pictures: Pictures):
        self.pictures = pictures
        self.rows: list[dict] = []
        self.expected: list[dict] = []

    def add(self, row: dict, text: str, right, sizes: list, **more) -> None:
        """`more`: the kit's text, place and size of the picture where they are others."""
        self.rows.append(row)
        self.expected.append({"id": str(row["index"]), "text": text, "right": right, "sizes": sizes} | more)


def kit_options(question: str, options: dict, hint: str | None = None) -> str:
    text = f"Hint: {hint}\n" if hint else ""
    text += f"Question: {question}\n"
    if options:
        lines = "".join(f"{letter}. {option}\n" for letter, option in options.items())
        text += f"Options:\n{lines}Please select the correct answer from the options above. \n"
    return text


def lettered(options: list) -> dict:
    return dict(zip("ABCDEFGHI", options))


PERCEPTION = ["OCR", "artwork", "celebrity", "color", "count", "existence", "landmark", "position", "posters", "scene"]
COGNITION = ["code_reasoning", "commonsense_reasoning", "numerical_calculation", "text_translation"]


def mme(table: Table) -> None:
    index = 0
    for number, category in enumerate(PERCEPTION + COGNITION):
        colour = list(COLOURS)[number % 4]
        picture, size = table.pictures.draw(colour)
        for said, answer in ((colour, "Yes"), ("black", "No")):
            question = f"Is there a {said} object in this image? Please answer yes or no."
            row = {
                "index": index,
                "category": category,
                "image": base64_of(picture),
                "image_path": f"{category}/{number:04}.png",
                "question": question,
                "answer": answer,
            }
            table.add(row, question, answer == "Yes", [size])
            index += 1


def mmbench(table: Table) -> None:
    questions = [
        (
            241,
            'Which word is on the sign: "stop"?',
            ["red\tcircle", 'the "red" one', "blue", "two\nlines"],
            "attribute_reasoning",
            None,
        ),
        (252, "What colour is it?", ["green", "red", "blue"], "coarse_perception", "Look at the object.\nOnly at it."),
        (260, "Is it round?", ["yes", "no"], "coarse_perception", "nan"),
    ]
    first_orders, other_orders = [], []
    for index, question, options, category, hint in questions:
        picture, size = table.pictures.draw("green")
        for turn in range(len(options)):
            turned = lettered(options[turn:] + options[:turn])
            right = "ABCD"[-turn % len(options)]
            row = {
                "index": turn * 1_000_000 + index,
                "question": question,
                "hint": hint,
                **{letter: turned.get(letter) for letter in "ABCD"},
                "answer": right,
                "category": f"{category}_1",
                "image": str(index) if turn else base64_of(picture),
                "source": "drawn",
                "l2-category": category,
                "comment": None,
                "split": "dev",
            }
            text = kit_options(question, turned, None if hint == "nan" else hint)
            (other_orders if turn else first_orders).append((row, text, right, [size]))
    for order in first_orders + other_orders:
        table.add(*order)


def seed(table: Table) -> None:
    picture, size = table.pictures.draw("blue")
    images = [base64_of(picture), "101669", "101670"]
    for index, image in zip((101669, 101670, 101671), images):
        options = lettered(["One", "Two", "Three", "Four"])
        question = f"How many objects are in the image? ({index})"
        row = {
            "index": index,
            "image": image,
            "question": question,
            **options,
            "answer": "A",
            "category": "Instances Counting" if index != 101671 else "Scene Understanding",
        }
        table.add(row, kit_options(question, options), "A", [size])


def llava(table: Table) -> None:
    picture, size = table.pictures.draw("yellow")
    for index, category in enumerate(["conv", "detail", "complex"]):
        question = f"Describe it ({category}).\nIn your own words."
        row = {
            "index": index,
            "image": base64_of(picture) if index == 0 else "0",
            "question": question,
            "category": category,
            "caption": "A yellow ellipse on grey ground.",
            "gpt4_ans": f"It is a yellow ellipse: {category}.",
            "image_path": "001.jpg",
        }
        table.add(row, question, row["gpt4_ans"], [size])


def mmmu(table: Table) -> None:
    one, two, three, four, five = (table.pictures.draw(colour) for colour in ("red", "blue", "green", "red", "blue"))
    every = lettered(["<image 2>", "<image 1>"])
    cases = [
        ("dev_Art_1", [one], "What colour is <image 1> ?", lettered(["red", "blue"]), "A", "dev"),
        ("validation_Art_1", [two, three], "Which is blue? It is not <image 2>.", every, "B", "validation"),
        ("validation_Art_2", [four], "<image 1> How many objects are there?", {}, "1", "validation"),
        ("validation_Math_3", [five], "Which is it?", lettered(["red", "green"]), "D", "validation"),
    ]
    for index, pictures, question, options, answer, split in cases:
        images = [base64_of(picture) for picture, _ in pictures]
        row = {
            "index": index,
            "question": question,
            **{letter: options.get(letter) for letter in "ABCD"},
            "answer": answer,
            "category": index.split("_")[1],
            "l2-category": "Art & Design" if "Art" in index else "Science",
            "split": split,
            "image": str(images) if len(images) > 1 else images[0],
            "image_path": str([f"{index}_{number}.jpg" for number, _ in enumerate(images, 1)]),
            "topic_difficulty": "Easy",
        }
        text = kit_options(question, options)
        sizes = [size for _, size in pictures]
        kit = {}
        if "<image " in text:
            head, tail = text.split("<image ", 1)
            which = int(tail[0]) - 1
            tail = tail[2:]
            for number in (1, 2):
                tail = tail.replace(f"<image {number}>", "")
            kit = {"kit_text": head + tail, "kit_at": len(head), "kit_sizes": [sizes[which]]}
        else:
            kit = {"kit_sizes": sizes[:1]}
        table.add(row, text, answer if options else "A", sizes, **kit)


def mathvista(table: Table) -> None:
    cases = [
        ("multi_choice", "text", "8/11", "['3/11', '8/11', \"6/11\"]", "B", "['arithmetic reasoning', 'statistical reasoning']"),
        ("free_form", "integer", "14", None, None, "['arithmetic reasoning']"),
        ("free_form", "float", "0.6", None, None, "['scientific reasoning']"),
        ("free_form", "list", "[2007, 2008]", None, None, "['statistical reasoning']"),
    ]
    for index, (kind, answer_type, answer, choices, option, skills) in enumerate(cases, 1):
        picture, size = table.pictures.draw("blue", "rectangle")
        question = f"Hint: Please answer the question and provide the final value at the end.\nQuestion: What is it ({index})?"
        row = {
            "index": index,
            "question": question,
            "image": base64_of(picture),
            "choices": choices,
            "unit": None,
            "precision": 1.0 if answer_type == "float" else None,
            "answer": answer,
            "question_type": kind,
            "answer_type": answer_type,
            "answer_option": option,
            "task": "figure question answering",
            "skills": skills,
        }
        right = option or (float(answer) if answer_type in ("integer", "float") else answer)
        table.add(row, question, right, [size])


def pope(table: Table) -> None:
    picture, size = table.pictures.draw("green", "rectangle")
    cases = [("a green object", "Yes", "adversarial,popular,random"), ("a chair", "No", "popular"), ("a cup", "No", "random")]
    for index, (what, answer, category) in enumerate(cases):
        question = f"Is there {what} in the image? Please answer yes or no."
        row = {
            "index": index,
            "image": base64_of(picture) if index == 0 else "0",
            "question": question,
            "answer": answer,
            "category": category,
        }
        table.add(row, question, answer == "Yes", [size])


def mmvet(table: Table) -> None:
    for index, (answer, category) in enumerate([("3 <AND> 4", "ocr,math"), ("green<OR>lime", "rec")]):
        picture, size = table.pictures.draw("green")
        question = f"What is x ({index})?"
        row = {"index": index, "image": base64_of(picture), "question": question, "answer": answer, "category": category}
        table.add(row, question, answer, [size])


def realworldqa(table: Table, folder: Path) -> None:
    for index, options in enumerate([["left", "right"], ["1", "2", "3"]]):
        picture, size = table.pictures.draw("red", "rectangle")
        name = f"{index}.jpg"
        (folder / name).write_bytes(picture)
        options = lettered(options)
        question = f"Where is it, or how many ({index})?"
        row = {"index": index, "question": question, **{letter: options.get(letter) for letter in "ABC"}, "answer": "B", "image_path": name}
        table.add(row, kit_options(question, options), "B", [size])


def cv_bench(pictures: Pictures, out: Path) -> list[dict]:
    cases = [
        ("2D", "Count", "ADE20K", "How many objects are in the image?", ["2", "1", "0", "3"], "(B)"),
        ("2D", "Relation", "COCO", "Where is the object, \"left\" or right?", ["left", "right"], "(A)"),
        ("2D", "Count", "COCO", "How many chairs are in the image?", ["0", "1"], "(A)"),
        ("3D", "Depth", "Omni3D", "Which is closer?", ["the red one", "the blue one"], "(B)"),
        ("3D", "Distance", "Omni3D", "Which is closer to the red one?", ["blue", "green"], "(A)"),
    ]
    rows, expected = [], []
    picture, size = pictures.draw("red")
    for idx, (kind, task, source, question, choices, answer) in enumerate(cases):
        # The third row is about the second's picture.
        if idx != 2:
            picture, size = pictures.draw(list(COLOURS)[idx % 4])
        name = f"img/{kind}/{task.lower()}/{source.lower()}_{idx}.png"
        lines = "".join(f"{letter}. {choice}\n" for letter, choice in lettered(choices).items())
        rows.append(
            {
                "idx": idx,
                "type": kind,
                "task": task,
                "image": {"bytes": picture, "path": name},
                "question": question,
                "choices": choices,
                "answer": answer,
                "prompt": f"{question} Select from the following choices.\n" + "\n".join(choices),
                "filename": name,
                "source": source,
                "source_dataset": source,
                "target_size": None,
                "bbox": [[0.0, 1.0, 2.0, 3.0]],
            }
        )
        expected.append(
            {
                "id": f"{kind}-{idx}",
                "text": f"{LETTER} {question}\nOptions:\n{lines}",
                "kit_text": kit_options(question, lettered(choices)),
                "right": answer.strip("()"),
                "sizes": [size],
            }
        )

    def write(rows: list, name: str, item: str, **options) -> None:
        schema = pa.schema(
            [
                ("idx", pa.int64()),
                ("type", pa.string()),
                ("task", pa.string()),
                ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
                ("question", pa.string()),
                ("choices", pa.list_(pa.field(item, pa.string()))),
                ("answer", pa.string()),
                ("prompt", pa.string()),
                ("filename", pa.string()),
                ("source", pa.string()),
                ("source_dataset", pa.string()),
                ("target_size", pa.string()),
                ("bbox", pa.list_(pa.list_(pa.float64()))),
            ]
        )
        pq.write_table(pa.Table.from_pylist(rows, schema), out / name, use_compliant_nested_type=False, **options)

    write([row for row in rows if row["type"] == "2D"], "test_2d.parquet", "item", row_group_size=2, compression="snappy")
    write([row for row in rows if row["type"] == "3D"], "test_3d.parquet", "item", compression="snappy")
    (out / "one").mkdir(exist_ok=True)
    write(rows, "one/test.parquet", "element", compression="zstd", use_dictionary=False, data_page_version="2.0")
    return expected


def main(out: Path) -> None:
    files = out / "images" / "RealWorldQA"
    files.mkdir(parents=True, exist_ok=True)
    pictures = Pictures()
    expected = {}
    makers = {
        "MME": mme,
        "MMBench_DEV_EN": mmbench,
        "SEEDBench_IMG": seed,
        "LLaVABench": llava,
        "MMMU_DEV_VAL": mmmu,
        "MathVista_MINI": mathvista,
        "POPE": pope,
        "MMVet": mmvet,
        "RealWorldQA": lambda table: realworldqa(table, files),
    }
    for name, make in makers.items():
        table = Table(pictures)
        make(table)
        pd.DataFrame(table.rows).to_csv(out / f"{name}.tsv", sep="\t", index=False)
        expected[name] = table.expected
    expected["CV-Bench"] = cv_bench(pictures, out)
    text = json.dumps(expected, indent=1, ensure_ascii=False)
    (out / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
