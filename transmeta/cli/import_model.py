"""`transmeta import-model`: known third-party weights as a source model."""

from pathlib import Path
from typing import Annotated

import typer

from transmeta.cli.options import DEFAULT_WORKSPACE, AsJson, WorkspaceFolder, open_workspace
from transmeta.cli.output import only_results_on_stdout, print_json, print_pairs


def import_model(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="efficientnet-lite0 or resnet20-cifar10.", show_default=False)
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", metavar="FILE", help="File of the weights. By default that of the installed package."
        ),
    ] = None,
    workspace: WorkspaceFolder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Make a source model of known pretrained weights, which are checked to the last byte and converted once.

    Example: transmeta import-model efficientnet-lite0
    """
    with only_results_on_stdout():
        from transmeta.models import importer

        card = importer.import_model(name, folder=open_workspace(workspace, store=None).models, weights=weights)
    if as_json:
        print_json({"model": card.id, "architecture": card.architecture, "parameter_count": card.parameter_count})
    else:
        trained_on = ", ".join(item.dataset for item in card.trained_on)
        print_pairs([("model", card.id), ("architecture", card.architecture), ("never offered for", trained_on)])
