"""Writes annotation files as the instruction-tuning sets have them, and what must be read from them.

    pip install transformers==4.57.3 sentencepiece==0.2.1 protobuf
    python tests/reference/sft_sources.py aki-data/tests/fixtures/tokenizers/aki aki-data/tests/fixtures/datasets

One small file, or two, a source, in the makers' formats with the fields that nobody reads left in,
and expected.json: of each source the records (texts, token ids, labels), and how many entries are
left out, by reason. The texts are built here by the rules of AKI's instruction tuning, the ids by
Hugging Face's slow tokenizer. Read by aki-data/tests/datasets.rs.
"""

import itertools
import json
import os.path
import sys
from pathlib import Path

import transformers
from transformers import LlamaTokenizer

assert transformers.__version__ == "4.57.3", transformers.__version__

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
SHORT = "Answer the question using a single word or phrase."
LETTER = "Answer with the option's letter from the given choices directly."
IGNORE = -100
MEDIA_LEN = 3


class Encoder:
    """Ids of pieces; a piece is the id of a special token or a text in which none is special."""

    def __init__(self, folder: Path):
        self.tokenizer = LlamaTokenizer.from_pretrained(folder)
        self.id = {text: id for text, id in self.tokenizer.get_added_vocab().items()} | {"<s>": 1}
        self.specials = [self.tokenizer.added_tokens_decoder[id].content for id in self.tokenizer.added_tokens_decoder]

    def pieces(self, messages: list, system: str) -> list:
        at = self.id
        pieces = [at["<s>"], at["<|system|>"], f"\n{system}", at["<|end|>"], "\n"]
        for number, (role, text, pictures) in enumerate(messages):
            pieces += [at[f"<|{role}|>"], "\n"] + pictures * [at["<image>"], "\n"] + [text]
            pieces += [at["<|endoftext|>"]] if number + 1 == len(messages) else [at["<|end|>"], "\n"]
        return pieces

    def ids(self, pieces: list) -> list[int]:
        joined: list = []
        for piece in pieces:
            if isinstance(piece, str) and joined and isinstance(joined[-1], str):
                joined[-1] += piece
            else:
                joined.append(piece)
        ids = []
        for before, piece in zip([None, *joined], joined):
            if isinstance(piece, int):
                ids.append(piece)
                continue
            if before is not None and self.tokenizer.added_tokens_decoder[before].rstrip:
                piece = piece.lstrip()
            if piece:
                tokens = self.tokenizer._tokenize(piece)
                ids += self.tokenizer.convert_tokens_to_ids(tokens)
        whole = "".join(self.tokenizer.added_tokens_decoder[p].content if isinstance(p, int) else p for p in joined)
        if not any(token in piece for piece in joined if isinstance(piece, str) for token in self.specials):
            # Without special tokens spelled out in a text, the whole may be encoded at once.
            assert ids == self.tokenizer.encode(whole, add_special_tokens=False), whole
        return ids

    def record(self, messages: list) -> dict:
        system = SYSTEM
        if messages[0][0] == "system":
            system, messages = messages[0][1], messages[1:]
        ids, labels, answer = [], [], False
        for id in self.ids(self.pieces(messages, system)):
            count = MEDIA_LEN if id == self.id["<image>"] else 1
            labelled = answer and id != self.id["<image>"]
            ids += count * [id]
            labels += count * [id if labelled else IGNORE]
            answer = id == self.id["<|assistant|>"] or (answer and id != self.id["<|end|>"])
        return {"ids": ids, "labels": labels}


class Source:
    """What is to be read from the files of one source."""

    def __init__(self, encoder: Encoder):
        self.encoder = encoder
        self.records: list[dict] = []
        self.skipped: dict[str, list] = {}

    def add(self, key, images: list[str], messages: list, **more) -> None:
        record = {"key": str(key), "images": images, "messages": messages}
        self.records.append(record | more | self.encoder.record(messages))

    def ask(self, key, images: list[str], question: str, answer: str, **more) -> None:
        self.add(key, images, [["user", question, len(images)], ["assistant", answer, 0]], **more)

    def skip(self, key, reason: str) -> None:
        count, first = self.skipped.get(reason, [0, str(key)])
        self.skipped[reason] = [count + 1, first]

    def choose(self, key, images: list[str], before: str, options: list[str], right: int) -> None:
        def text(order: tuple) -> list[str]:
            lines = "".join(f"{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[at]}. {options[option]}\n" for at, option in enumerate(order))
            return [f"{LETTER} {before}Options:\n{lines}", chr(ord("A") + order.index(right))]

        orders = [text(order) for order in itertools.permutations(range(len(options)))]
        self.ask(key, images, *orders[0], orders=orders)

    def describe(self, key, image: str, box: list[float], width: int, height: int, phrase: str) -> None:
        x, y, w, h = box
        region = [x / width, y / height, (x + w) / width, (y + h) / height]
        x1, y1, x2, y2 = (f"{corner:.3f}" for corner in region)
        question = f"Provide a short description for this region. <bbox>[{x1}, {y1}][{x2}, {y2}]</bbox>"
        self.ask(key, [image], question, phrase, region=region)


def vqa(source: Source) -> dict:
    info = {"info": {"year": 2017, "version": "2.0"}, "data_type": "mscoco", "data_subtype": "train2014", "license": {"url": "x"}}
    questions, annotations = [], []
    for id, image, question, answer in [
        (458752000, 458752, "What is this photo taken looking through?", "net"),
        (458752001, 458752, "Is there a <image> tag on the shirt?", "no"),
        (262146000, 262146, "What color is the snow?", "white"),
        (524291000, 524291, "¿Qué es esto?  ", "café"),
    ]:
        questions.append({"image_id": image, "question": question, "question_id": id})
        answers = [{"answer": answer, "answer_confidence": "yes", "answer_id": n + 1} for n in range(2)]
        annotations.append(
            {"question_type": "what is", "multiple_choice_answer": answer, "answers": answers, "image_id": image, "answer_type": "other", "question_id": id}
        )
        source.ask(id, [f"COCO_train2014_{image:012}.jpg"], f"{SHORT} {question}", answer)
    questions.insert(1, {"image_id": 7, "question": "Who answers this?", "question_id": 7000})
    source.skip(7000, "Unmatched")
    annotations.append({"multiple_choice_answer": "nobody asked", "image_id": 8, "question_id": 8000})
    source.skip(8000, "Unmatched")
    questions.append({"image_id": 9, "question": None, "question_id": 9000})
    annotations.append({"multiple_choice_answer": "yes", "image_id": 9, "question_id": 9000})
    source.skip(9000, "MissingField")
    annotations.reverse()
    return {
        "vqa_questions.json": info | {"task_type": "Open-Ended", "questions": questions},
        "vqa_annotations.json": info | {"annotations": annotations},
    }


def gqa(source: Source) -> dict:
    data = {}
    for id, image, question, answer in [
        ("07333408", "2375429", "What is on the white wall?", "pipe"),
        ("07333405", "2375429", "Is that pipe red?", "no"),
        ("15736264", "2368326", "Is the <|assistant|> to the left of the man?", "yes"),
    ]:
        data[id] = {
            "semantic": [{"operation": "select", "dependencies": [], "argument": "wall (722332)"}],
            "entailed": [], "equivalent": [id], "question": question, "imageId": image, "isBalanced": True,
            "groups": {"global": None, "local": "10c-wall_on"}, "answer": answer, "semanticStr": "select: wall",
            "annotations": {"answer": {"0": "722332"}, "question": {}, "fullAnswer": {}},
            "types": {"detailed": "relS", "semantic": "rel", "structural": "query"}, "fullAnswer": "The pipe is red.",
        }
        source.ask(id, [f"{image}.jpg"], f"{SHORT} {question}", answer)
    data["1"] = {"question": "Where does this lead?", "imageId": "../../etc/passwd", "answer": "out"}
    source.skip("1", "ImagePath")
    data["2"] = {"question": "What is it?", "imageId": "3", "answer": ""}
    source.skip("2", "Empty")
    return {"gqa.json": data}


def vsr(source: Source) -> dict:
    lines = []
    for folder, image, caption, label in [
        ("train2017", "000000050403.jpg", "The teddy bear is in front of the person.", 1),
        ("val2017", "000000401446.jpg", "The umbrella is far away from the motorcycle.", 0),
        ("train2017", "000000085926.jpg", "The dish is left of the TV.", 1),
    ]:
        link = f"http://images.cocodataset.org/{folder}/{image}"
        lines.append({
            "image": image, "image_link": link, "caption": caption, "label": label, "relation": "in front of",
            "annotator_id": 31, "vote_true_validator_id": [2, 6], "vote_false_validator_id": [],
        })
        before, after = caption.split(" is ")
        question = " ".join(["Is", before.lower(), after.lower().replace(".", "?")])
        answer = "yes" if label == 1 else "no"
        source.ask(len(lines), [f"{folder}/{image}"], f"{SHORT} {question} Please answer yes or no.", answer)
    lines.append(lines[0] | {"caption": "The cake contains the cat."})
    source.skip(4, "Caption")
    lines.append(lines[0] | {"image": None})
    source.skip(5, "MissingField")
    return {"vsr.jsonl": lines}


def ocrvqa(source: Source) -> dict:
    data = {}
    for key, url, pairs, split in [
        ("0471098876", "http://ecx.images-amazon.com/images/I/51dN3p8bEqL.jpg", [("Who wrote this book?", "Yuval Noah"), ("What is the genre?", "Law")], 1),
        ("0060899220", "http://ecx.images-amazon.com/images/I/41.gif", [("Is this a sociopolitical book?", "No")], 1),
        ("1565843002", "http://ecx.images-amazon.com/images/I/42.jpg", [("What is the title?", "Open")], 2),
        ("1565843003", "http://ecx.images-amazon.com/images/I/43.jpg", [("What is the title?", "Shut")], 3),
    ]:
        data[key] = {
            "imageURL": url, "questions": [q for q, _ in pairs], "answers": [a for _, a in pairs], "split": split,
            "title": "Open", "authorName": "N.", "genre": "Law",
        }
        for number, (question, answer) in enumerate(pairs):
            if split == 1:
                image = key + os.path.splitext(url)[1]
                source.ask(f"{key}/{number}", [image], f"{SHORT} {question}", answer)
            else:
                source.skip(key, "OtherSplit")
    data["0471098876"]["questions"].append("Is there an answer?")
    source.skip("0471098876/2", "Unmatched")
    data["1"] = data["0060899220"] | {"answers": None}
    source.skip("1", "MissingField")
    return {"ocrvqa.json": data}


def aokvqa(source: Source) -> dict:
    data = []
    for id, image, question, choices, right in [
        ("22MexNkBPpdZGX6sxbxVBH", 299207, "What is the man by the bags awaiting?", ["skateboarder", "train", "delivery", "cab"], 3),
        ("2aJ7ry5LMwBs2EXXfC7Kfi", 41, "Which <image> is it?", ["<image>", "the 2nd", "図", ""], 0),
    ]:
        data.append({
            "split": "train", "image_id": image, "question_id": id, "question": question, "choices": choices,
            "correct_choice_idx": right, "direct_answers": ["ride", "bus"], "difficult_direct_answer": False,
            "rationales": ["A train would not be on the street."],
        })
        source.choose(id, [f"{image:012}.jpg"], f"{question}\n", choices, right)
    data.append(data[0] | {"question_id": "late", "correct_choice_idx": 4})
    source.skip("late", "Options")
    return {"aokvqa.json": data}


def scienceqa(source: Source) -> dict:
    data = {}
    for key, question, choices, answer, hint, image, split in [
        ("1", "Which of these states is farthest north?", ["West Virginia", "Louisiana", "Arizona", "Oklahoma"], 0, "", "image.png", "train"),
        ("4", "What does the verbal irony suggest?", ["He is tired.", "He is not."], 1, "Read the text.\nIt is short.", None, "train"),
        ("5", "Which is it?", ["one", "two", "three"], 2, "", "image.png", "val"),
        ("6", "Which is it?", ["one", "two", "three"], 2, "", None, "test"),
    ]:
        data[key] = {
            "question": question, "choices": choices, "answer": answer, "hint": hint, "image": image, "task": "closed choice",
            "grade": "grade2", "subject": "social science", "topic": "geography", "category": "Geography", "skill": "Read a map",
            "lecture": "Maps have four cardinal directions.", "solution": "Look at the compass rose.", "split": split,
        }
        if split == "train":
            images = [f"{key}/{image}"] if image else []
            source.choose(key, images, f"{question}\nContext: {hint or 'N/A'}\n", choices, answer)
        else:
            source.skip(key, "OtherSplit")
    return {"scienceqa.json": data}


def refcoco(source: Source, dataset: str) -> dict:
    images, annotations = [], []
    for id, (file, width, height, box, caption) in enumerate([
        ("COCO_train2014_000000581857.jpg", 640, 427, [103.93, 299.99, 134.22, 177.42], "the lady with the blue shirt"),
        ("COCO_train2014_000000581857.jpg", 640, 427, [204.86, 0, 435.14, 427.0], "lady w back to us"),
        # Eighths and sixteenths: decimals that lie half-way between two of three places.
        ("COCO_train2014_000000580668.jpg", 16, 16, [1, 3, 4, 6], f"{dataset} on <|end|>"),
    ]):
        images.append({
            "file_name": file, "height": height, "width": width, "id": id, "original_id": 581857, "caption": caption,
            "dataset_name": dataset, "tokens_negative": [[0, len(caption)]],
        })
        annotations.append({
            "area": box[2] * box[3], "iscrowd": 0, "image_id": id, "category_id": 1, "id": id, "bbox": box,
            "tokens_positive": [[0, len(caption)]], "segmentation": [[1.5, 2.5]], "original_id": 1719310,
        })
        source.describe(id, file, box, width, height, caption)
    for id, change, other, reason in [
        (3, {}, {"bbox": [1, 1, 0, 2]}, "Region"),
        (4, {"width": None}, {}, "ImageSize"),
        (5, {}, {"image_id": 9}, "Unmatched"),
        (6, {"file_name": "/etc/passwd"}, {}, "ImagePath"),
    ]:
        images.append(images[0] | {"id": id} | change)
        annotations.append(annotations[0] | {"id": id, "image_id": id} | other)
        source.skip(id, reason)
    info = {"info": {}, "licenses": [], "categories": [{"supercategory": "person", "id": 1, "name": "person"}]}
    return {f"{dataset}.json": info | {"images": images, "annotations": annotations}}


def vg(source: Source) -> dict:
    sizes, entries = [], []
    for image, width, height, regions in [
        (1, 800, 600, [(1382, 421, 57, 82, 139, "the clock is green in colour"), (1383, 194, 372, 218, 230, "shade is along the street ")]),
        (4, 333, 500, [(1384, 0, -3, 334, 1, "a line that juts out")]),
    ]:
        sizes.append({"width": width, "url": f"https://cs.stanford.edu/VG_100K_2/{image}.jpg", "height": height, "image_id": image, "coco_id": None, "flickr_id": None})
        entries.append({"id": image, "regions": []})
        for id, x, y, w, h, phrase in regions:
            entries[-1]["regions"].append({"region_id": id, "width": w, "height": h, "image_id": image, "phrase": phrase, "y": y, "x": x})
            source.describe(id, f"{image}.jpg", [x, y, w, h], width, height, phrase)
    lost = {"region_id": 1385, "width": 1, "height": 1, "image_id": 5, "phrase": "of no known picture", "y": 1, "x": 1}
    entries.append({"id": 5, "regions": [lost, lost | {"region_id": 1386}]})
    source.skip(1385, "ImageSize")
    source.skip(1386, "ImageSize")
    return {"vg_regions.json": entries, "vg_image_data.json": sizes}


def turns(*values: str) -> list:
    return [{"from": ("human", "gpt")[number % 2], "value": value} for number, value in enumerate(values)]


def llava150k(source: Source) -> dict:
    data = []
    for id, values in [
        ("000000033471", ["<image>\nWhat are the colors of the bus in the image?", "White and red.", "What feature can be seen?", "An advertisement.\n\nIt is on the back."]),
        ("000000052846", ["Where is the cat positioned?\n<image>", "On top of the couch."]),
        ("000000334872", ["What does the HTML tag <image> do?", "Nothing; <img> does. <|endoftext|>"]),
    ]:
        data.append({"id": id, "image": f"{id}.jpg", "conversations": turns(*values)})
        for number in range(len(values) // 2):
            question = values[2 * number].replace("<image>\n", "").replace("\n<image>", "")
            source.ask(f"{id}/{number}", [f"{id}.jpg"], question, values[2 * number + 1])
    data.append({"id": "odd", "image": "odd.jpg", "conversations": turns("Why?", "Because.", "And then?")})
    source.ask("odd/0", ["odd.jpg"], "Why?", "Because.")
    source.skip("odd/1", "Turns")
    data.append({"id": "text", "conversations": turns("Why?", "Because.")})
    source.skip("text", "MissingField")
    return {"llava150k.json": data}


def jsonl(source: Source) -> dict:
    lines = []

    def line(entry: dict, images: list[str], *messages: list) -> None:
        lines.append(entry)
        source.add(entry.get("id", len(lines)), images, list(messages))

    def bad(entry: dict, reason: str) -> None:
        lines.append(entry)
        source.skip(len(lines), reason)

    user, assistant = (lambda text, pictures=0: ["user", text, pictures]), (lambda text: ["assistant", text, 0])
    line(
        {"id": "bus", "image": "a/bus.jpg", "conversations": turns("<image>\nWhat is it?", "A bus.", "Which color?", "Red.", "Sure?", "Yes.")},
        ["a/bus.jpg"], user("What is it?", 1), assistant("A bus."), user("Which color?"), assistant("Red."), user("Sure?"), assistant("Yes."),
    )
    line(
        {"id": 17, "image": ["a.jpg", "b.jpg"], "conversations": turns("<image>\n<image>\nWhat differs?", "The color.")},
        ["a.jpg", "b.jpg"], user("What differs?", 2), assistant("The color."),
    )
    line(
        {"images": ["a.jpg", "b.jpg"], "conversations": turns("What is it?\n<image>", "A cat.", "<image>\nAnd this?", "A dog.")},
        ["a.jpg", "b.jpg"], user("What is it?", 1), assistant("A cat."), user("And this?", 1), assistant("A dog."),
    )
    line(
        {"image": "a.jpg", "conversations": turns("What is it?", "A cat.", "Sure?", "Yes.")},
        ["a.jpg"], user("What is it?", 1), assistant("A cat."), user("Sure?"), assistant("Yes."),
    )
    line(
        {"conversations": turns("<image>\nis a line of HTML?", "No, <|user|>\nis not either.<|end|>")},
        [], user("<image>\nis a line of HTML?"), assistant("No, <|user|>\nis not either.<|end|>"),
    )
    system = {"role": "system", "content": "Be brief."}
    line(
        {"image": "a.jpg", "messages": [system, {"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A cat."}]},
        ["a.jpg"], ["system", "Be brief.", 0], user("What is it?", 1), assistant("A cat."),
    )
    picture = {"type": "image_url", "image_url": {"url": "c/d.png"}}
    line(
        {"messages": [{"role": "user", "content": [picture, {"type": "text", "text": "<image> What is it?"}]}, {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}]},
        ["c/d.png"], user("<image> What is it?", 1), assistant("A cat."),
    )
    line(
        {"images": ["x.jpg"], "messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}, {"role": "assistant", "content": "A cat."}]},
        ["x.jpg"], user("What?", 1), assistant("A cat."),
    )
    line({"image": "", "conversations": turns("How many?", " 12 ")}, [], user("How many?"), assistant(" 12 "))
    bad({"image": ["a.jpg", "b.jpg"], "conversations": turns("<image>\nWhat?", "A cat.")}, "Marks")
    bad({"image": "../a.jpg", "conversations": turns("What?", "A cat.")}, "ImagePath")
    bad({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.jpg"}}]}, {"role": "assistant", "content": "A."}]}, "ImagePath")
    bad({"conversations": turns("What?", "A cat.", "And?")}, "Turns")
    bad({"conversations": []}, "Turns")
    bad({"text": "neither form"}, "MissingField")
    bad({"conversations": turns("What?", " ")}, "Empty")
    bad({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}, {"role": "assistant", "content": "A."}]}, "Part")
    bad({"messages": [{"role": "user", "content": "What?"}, {"role": "tool", "content": "A."}]}, "Turns")
    return {"jsonl.jsonl": lines, "jsonl.json": lines}


def write(path: Path, data) -> None:
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in data)
    else:
        # The makers' files are one line.
        text = json.dumps(data, ensure_ascii=path.name != "expected.json")
    path.write_text(text, encoding="utf-8")


def main(tokenizer: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    encoder = Encoder(tokenizer)
    makers = {f.__name__: f for f in (vqa, gqa, vsr, ocrvqa, aokvqa, scienceqa, vg, llava150k, jsonl)}
    for name in ("refcoco", "refcoco+", "refcocog"):
        makers[name] = lambda source, name=name: refcoco(source, name)
    expected = {"media_len": MEDIA_LEN, "sources": {}}
    for name, make in makers.items():
        source = Source(encoder)
        for file, data in make(source).items():
            write(out / file, data)
        expected["sources"][name] = {"records": source.records, "skipped": source.skipped}
    write(out / "expected.json", expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
