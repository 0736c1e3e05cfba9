"""`transmeta predict`: an adapted model on new data, with its score where the data has labels."""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from transmeta.cli.options import AsJson, DataOption, Quiet, one_data
from transmeta.cli.output import only_results_on_stdout, print_json, say, shown
from transmeta.core import codec
from transmeta.errors import InputError

if TYPE_CHECKING:
    from transmeta.cli.examples import NewExamples
    from transmeta.trials.predict import AdaptedModel

CSV_COLUMNS: Final = ("example", "predicted", "probability", "label")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The class of one example.

    Attributes:
        example: path relative to the data, or number of the row from 0.
        probability: of the predicted class.
        label: the class that the data names; None where it names none.
    """

    example: str
    predicted: str
    probability: float
    label: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PredictReport:
    """What a model says of new data.

    Attributes:
        score: of the metric, where labels are there; None otherwise.
        predictions: empty if they were written to `out`.
    """

    model: str
    count: int
    classes: tuple[str, ...]
    metric: str
    score: float | None
    out: str | None
    predictions: tuple[Prediction, ...]


def predict(
    model: Annotated[
        Path, typer.Option("--model", metavar="DIR", help="A folder that adapt --out wrote.", show_default=False)
    ],
    examples: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A folder of images, flat or with a sub-folder per class; one image; a .csv, .parquet or .npz file.",
            show_default=False,
        ),
    ] = None,
    data: DataOption = None,
    label: Annotated[
        str | None,
        typer.Option("--label", help="Column of labels, in tables. By default that of training, if it is there."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where predictions go, as .csv or .json; else to stdout."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Predict classes for new data with an adapted model. Where the data is labelled, it is scored as well.

    Example: transmeta predict more-photos/ --model model --out predictions.csv
    """
    with only_results_on_stdout():
        if out is not None and out.suffix.lower() not in (".csv", ".json"):
            raise InputError(f"--out {out}: give a file name that ends in .csv or .json")
        from transmeta.cli.examples import read_examples

        chosen = one_data(examples, data)
        adapted = _load(model)
        report = _report(model, adapted, read_examples(chosen, meta=adapted.meta, label=label))
        if out is not None:
            _write(report.predictions, out)
            report = dataclasses.replace(report, out=str(out), predictions=())
    if as_json:
        print_json(report)
    elif out is None:
        print(_csv(report.predictions), end="")
    if not (as_json or quiet):
        where = "" if out is None else f" written to {out}"
        score = "no labels, so no score" if report.score is None else f"{report.metric} {shown(report.score)}"
        say(f"{report.count} predictions{where}; {score}")


def _load(path: Path) -> "AdaptedModel":
    from transmeta.training.checkpoint import MANIFEST, PICKLES, parse_tensors
    from transmeta.trials.predict import AdaptedModel

    if not path.exists():
        raise InputError(f"--model {path}: no such folder; give one that adapt --out wrote")
    files = [path] if path.is_file() else [] if (path / MANIFEST).is_file() else sorted(path.iterdir())
    for file in files:
        head = _head(file)
        if head.startswith(PICKLES):
            parse_tensors(head, where=str(file))  # refuses it, saying why
    if path.is_file():
        raise InputError(f"--model {path}: a file; give the folder that adapt --out wrote")
    return AdaptedModel.load(path)


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(16)


def _report(path: Path, model: "AdaptedModel", examples: "NewExamples") -> PredictReport:
    import numpy as np

    from transmeta.training.data import Split

    classes, metric, labels = model.meta.classes, model.meta.spec.target.metric, examples.labels
    probabilities = model.probabilities(examples.x)
    chosen = probabilities.argmax(axis=1)
    score = None
    if labels is not None:
        place = {name: number for number, name in enumerate(classes)}
        numbers = np.array([place[name] for name in labels], dtype=np.int64)
        score = model.score(Split(x=examples.x, y=numbers), metric=metric)
    return PredictReport(
        model=str(path),
        count=len(chosen),
        classes=classes,
        metric=metric.name,
        score=score,
        out=None,
        predictions=tuple(
            Prediction(
                example=name,
                predicted=classes[number],
                probability=round(float(probabilities[index, number]), 6),
                label=None if labels is None else labels[index],
            )
            for index, (name, number) in enumerate(zip(examples.names, chosen, strict=True))
        ),
    )


def _write(predictions: Sequence[Prediction], path: Path) -> None:
    from transmeta.training.files import write_atomically

    is_csv = path.suffix.lower() == ".csv"
    text = _csv(predictions) if is_csv else json.dumps(codec.to_json(predictions), indent=1, ensure_ascii=False)
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written ({error.strerror}); give another path") from error


def _csv(predictions: Sequence[Prediction]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for item in predictions:
        writer.writerow((item.example, item.predicted, item.probability, item.label or ""))
    return text.getvalue()
