"""Generates the stubs of `mesh.v1` into `mesh/v1/` beside this file: `python generate.py [PROTO_DIR]`."""

import sys
from importlib.resources import as_file, files
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"


def generate(proto: Path = PROTO, out: Path = HERE) -> None:
    """Generates messages, their types, and service stubs for every file of the contract."""
    sources = sorted(str(path.relative_to(proto)) for path in proto.glob("mesh/v1/*.proto"))
    if not sources:
        raise SystemExit(f"no mesh/v1/*.proto below {proto}; name the directory that holds them")
    # The well-known types (google/protobuf/timestamp.proto and others) come with grpcio-tools.
    with as_file(files("grpc_tools") / "_proto") as well_known:
        includes = [f"-I{proto}", f"-I{well_known}"]
        outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
        if protoc.main(["protoc", *includes, *outputs, *sources]) != 0:
            raise SystemExit("protoc failed")


if __name__ == "__main__":
    generate(*(Path(argument) for argument in sys.argv[1:2]))
