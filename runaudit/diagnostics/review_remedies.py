"""Remedies for labels that look wrong: a picture of each suspect, and labels corrected by those that were accepted."""

from __future__ import annotations

from typing import Final

from runaudit.diagnostics.evidence import Remedy

PICTURES_CODE: Final = """\
import json
from pathlib import Path
from PIL import Image, ImageDraw

suspects = json.loads(Path('report.json').read_text())['validation']['labels']['suspects']
Path('suspects').mkdir(exist_ok=True)
for number, suspect in enumerate(suspects):
    picture = Image.open(Path('dataset') / suspect['image']).convert('RGB')
    draw = ImageDraw.Draw(picture)
    for box, name, colour in ((suspect['box'], suspect['label'], 'red'),
                              (suspect['suggested_box'], suspect['suggested'], 'lime')):
        if box is not None:  # red as labelled, green as the model sees it
            draw.rectangle(box, outline=colour, width=2)
            draw.text((box[0] + 3, box[1] + 3), str(name), fill=colour)
    picture.save(Path('suspects') / f"{number:03d}_{suspect['kind']}_{suspect['score']:.2f}.png")
"""
CORRECTED_CODE: Final = """\
import json
import shutil
from pathlib import Path
from PIL import Image

accepted = {0, 1, 5}  # numbers of the pictures on which the model is right
names = ['cat', 'dog']  # as in data.yaml
suspects = json.loads(Path('report.json').read_text())['validation']['labels']['suspects']
shutil.copytree('dataset/labels', 'dataset/labels_before')
for number in sorted(accepted):
    suspect = suspects[number]
    image = Path('dataset') / suspect['image']
    label = Path(str(image).replace('images', 'labels', 1)).with_suffix('.txt')
    width, height = Image.open(image).size
    rows = [line.split() for line in label.read_text().splitlines()] if label.exists() else []

    def as_row(name, box):
        left, top, right, bottom = box
        centre = ((left + right) / 2 / width, (top + bottom) / 2 / height)
        side = ((right - left) / width, (bottom - top) / height)
        return [str(names.index(name)), *(f'{value:.6f}' for value in (*centre, *side))]

    if suspect['box'] is not None:  # the row that was wrong goes
        wrong = [float(value) for value in as_row(suspect['label'], suspect['box'])]
        rows.remove(min(rows, key=lambda row: sum(abs(float(a) - b) for a, b in zip(row[:5], wrong))))
    if suspect['suggested'] is not None:
        rows.append(as_row(suspect['suggested'], suspect['suggested_box'] or suspect['box']))
    label.write_text(''.join(' '.join(row) + '\\n' for row in rows))
"""
_REWRITING: Final = """\
import shutil
from pathlib import Path
shutil.copytree('dataset/labels', 'dataset/labels_before')
for path in sorted(Path('dataset/labels/val').rglob('*.txt')):
    fixed = []
    for line in filter(str.strip, path.read_text().splitlines()):
        cls, *values = line.split()
        if len(values) != 4:
            raise SystemExit(f'{{{{path}}}}: only rows of {rows} so')
        {names} = map(float, values)
        {steps}
        fixed.append(f'{{{{cls}}}} {{{{x:.6f}}}} {{{{y:.6f}}}} {{{{width:.6f}}}} {{{{height:.6f}}}}\\n')
    path.write_text(''.join(fixed))
"""


def rewriting(rows: str, names: str, *steps: str) -> str:
    """A template for `str.format` of code that writes the label files of validation anew.

    The four numbers of a row get `names`; `steps` make x, y, width and height of them, and may have fields to fill in.
    `rows` ends the sentence for a row of another kind.
    """
    return _REWRITING.format(rows=rows, names=names, steps="\n        ".join(steps))


LOOK: Final = Remedy(
    "Look at a picture of each suspect",
    "Labels in red, what the model sees in green; with the report as report.json and the data set's folder at hand.",
    code=PICTURES_CODE,
)
CORRECT: Final = Remedy(
    "Write labels corrected by what was accepted",
    "The old files are kept. Accept by eye only: a model that corrects its own test is never wrong.",
    code=CORRECTED_CODE,
)
