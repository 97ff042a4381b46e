"""Write a network of the zoo as a fully quantised .tflite file, or list the networks."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from tvm_pex.cli.planning import Step, between, check_output, progress
from tvm_pex.files import write_whole
from tvm_pex.native_output import only_python_on_stderr

HERE = Path(__file__).parent
SOURCES = ("networks.py", "convert.py")


@dataclass(frozen=True)
class Network:
    """What it is, and its width and resolution unless others are asked for; None where it has only one size."""

    summary: str
    width: float | None = None
    resolution: int | None = None


NETWORKS = {
    "mobilenet_v1": Network("MobileNetV1, 1000 classes", 0.25, 128),
    "mobilenet_v2": Network("MobileNetV2, 1000 classes", 0.35, 144),
    "mcunet_like": Network("inverted residuals, kernels 3 to 7, expansions 3 to 6, PAD operators, 2 classes", 1.0, 80),
    "efficientnet_like": Network("squeeze and excitation, swish and hard swish, 100 classes", 0.5, 96),
    "ssd_like": Network("a detector: boxes and scores at three scales, two outputs", 1.0, 96),
    "tc_resnet": Network("keyword spotting by convolutions along time"),
    "ds_cnn": Network("keyword spotting of MLPerf Tiny"),
    "resnet8": Network("image classification of MLPerf Tiny"),
    "unet_like": Network("segmentation: down and up again, concatenated with what came down", 1.0, 64),
    "split_concat": Network("as ShuffleNetV2: channels split and concatenated again", 1.0, 64),
    "tcn": Network("residual blocks of dilated one-dimensional convolutions"),
    "autoencoder": Network("anomaly detection of MLPerf Tiny: dense layers only"),
}


@dataclass(frozen=True)
class Request:
    """One file: a name in NETWORKS, its size, and the seed of weights and calibration."""

    name: str
    width: float | None
    resolution: int | None
    seed: int = 0

    @property
    def stem(self) -> str:
        sizes = [f"{size:g}" for size in (self.width, self.resolution) if size is not None]
        return "_".join([self.name, *sizes])


def fail(message: str) -> NoReturn:
    click.echo(f"make: {message}", err=True)
    sys.exit(2)


def request(name: str, width: float | None = None, resolution: int | None = None, seed: int = 0) -> Request:
    """The request with the network's own sizes where none are given; raises ValueError for what it has not."""
    if name not in NETWORKS:
        raise ValueError(f"there is no network {name}; there are {', '.join(NETWORKS)}")
    own = NETWORKS[name]
    for option, given, has in (("--width", width, own.width), ("--resolution", resolution, own.resolution)):
        if given is not None and has is None:
            raise ValueError(f"{name} has only one size: it takes no {option}")
    return Request(
        name, own.width if width is None else width, own.resolution if resolution is None else resolution, seed
    )


def content(wanted: Request, step: Step) -> bytes:
    """The .tflite file. Raises ImportError without TensorFlow."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # it rounds as the processor likes
    sizes = {"width": wanted.width, "resolution": wanted.resolution}
    with only_python_on_stderr():
        step("loading TensorFlow", None, None)
        import networks
        from convert import convert, forget_names

        forget_names()
        step(f"building {wanted.stem}", None, None)
        model = getattr(networks, wanted.name)(**{key: size for key, size in sizes.items() if size is not None})
        step(f"converting {wanted.stem}", None, None)
        return convert(model, wanted.seed, lambda done, of: step(f"calibrating {wanted.stem}", done, of))


def silently(_what: str, _done: int | None, _total: int | None) -> None:
    """A ``Step`` that shows nothing."""


def cached(wanted: Request, cache: Path, step: Step = silently) -> Path:
    """The file in the folder ``cache``, made unless the same definitions made it before. Errors as ``content``."""
    version = hashlib.sha256(b"".join((HERE / source).read_bytes() for source in SOURCES)).hexdigest()[:12]
    path = cache / f"{version}_seed{wanted.seed}" / f"{wanted.stem}.tflite"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content(wanted, step))
    return path


def show_list(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        for name, own in NETWORKS.items():
            sizes = f" (--width {own.width:g} --resolution {own.resolution})" if own.width and own.resolution else ""
            click.echo(f"{name:18} {own.summary}{sizes}")
        context.exit()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", metavar="NETWORK")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="OUT.tflite", help="Default: name and sizes.")
@click.option("--width", type=float, callback=between(0.05, 4), help="Multiplies the channels of every layer.")
@click.option("--resolution", type=click.IntRange(32, 1024), help="Rows and columns of the input image.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights and calibration.")
@click.option(
    "--cache", type=click.Path(path_type=Path), metavar="DIR", help="Keep files here, and take them from here."
)
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=show_list, help="List the networks.")
def main(name: str, output: Path | None, cache: Path | None, **sizes: Any) -> None:
    """Write NETWORK as a .tflite file: int8 from input to output, random weights, the same bytes for the same seed.

    \b
    Examples:
      make.py --list
      make.py ds_cnn
      make.py mobilenet_v2 --width 0.35 --resolution 144 -o mobilenet_v2_0.35_144.tflite
      make.py mcunet_like --resolution 176 --seed 7 --cache ~/.cache/zoo
    """
    try:
        wanted = request(name, **sizes)
    except ValueError as error:
        fail(str(error))
    path = output or Path(f"{wanted.stem}.tflite")
    check_output(path, "-o")
    try:
        with progress() as step:
            made = cached(wanted, cache, step).read_bytes() if cache else content(wanted, step)
        write_whole(path, made)
    except ImportError as error:
        fail(f"{error}: TensorFlow makes the networks: pip install '.[train]'")
    except OSError as error:
        fail(f"{error.filename}: cannot be written: {error.strerror}")
    click.echo(f"{path}: {len(made):,} bytes")


if __name__ == "__main__":
    main()
