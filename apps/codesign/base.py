"""Train a network of ``networks.py`` to its end, before anything is pruned, and write it as a .keras file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tvm_pex.cli.planning import between, check_output
from tvm_pex.cli.prune import FLIP, MOST_SEED, RATE, errors, progress
from tvm_pex.codesign.data import load
from tvm_pex.codesign.training import accuracy, tensorflow, train

NETWORKS = "clothes", "flowers", "digits", "tiny"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", type=click.Choice(NETWORKS), metavar="NETWORK")
@click.option(
    "--train", "source", default="fashion-mnist", show_default=True, metavar="DATA", help="As tvm-pex prune's."
)
@click.option("--width", type=float, callback=between(0.05, 4), help="Multiplies the channels of every layer.")
@click.option("--resolution", type=click.IntRange(8, 512), help="Rows and columns, or frames of sound.")
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--rate", type=float, callback=RATE, default=3e-3, show_default=True, help="Of learning.")
@click.option("--seed", type=click.IntRange(0, MOST_SEED), default=0, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Train on N samples; all are tested.")
@click.option("--flip/--no-flip", default=True, show_default=True, help=FLIP)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="OUT.keras")
def main(
    name: str,
    source: str,
    epochs: int,
    rate: float,
    seed: int,
    limit: int | None,
    flip: bool,
    output: Path,
    **sizes: float | None,
) -> None:
    """Train NETWORK (clothes, flowers, digits, tiny).

    \b
    Examples:
      base.py clothes -o clothes.keras
      base.py flowers --train flowers --resolution 96 --epochs 60 -o flowers.keras
      base.py digits --train spoken_digits --epochs 30 -o digits.keras
    """
    check_output(output, "-o")
    with errors(), progress() as step:
        step("loading TensorFlow", None, None)
        tensorflow().keras.utils.set_random_seed(seed)
        import networks

        model = getattr(networks, name)(**{key: size for key, size in sizes.items() if size is not None})
        step("reading the data", None, None)
        data = load(source, model.input_shape[1:], limit, flip)
        train(model, data, epochs, rate, seed, lambda done, total: step("training", done, total))
        model.save(output)
        share = accuracy(model, data.validation)
    click.echo(f"{output}: {100 * share:.2f} % of {len(data.validation):,} validation samples")


if __name__ == "__main__":
    sys.exit(main())
