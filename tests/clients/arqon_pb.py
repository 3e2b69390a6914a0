"""A client of `arqon.v1.pb`, written from docs/protocol.md and proto/arqon/v1/client.proto alone."""

import json
from typing import Any, ClassVar

from arqon.v1 import client_pb2 as pb  # compiled by conftest.py
from google.protobuf.internal.decoder import _DecodeVarint
from google.protobuf.message import Message

from arqon_json import Fields, JsonClient


def delimited(message: Message) -> bytes:
    """The message, preceded by its length as a varint."""
    body: bytes = message.SerializeToString()
    length = bytearray()
    rest = len(body)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes(length) + bytes([rest]) + body


def split(message: bytes) -> list[bytes]:
    """The bodies of the delimited messages in one WebSocket message."""
    found, at = [], 0
    while at < len(message):
        length, at = _DecodeVarint(message, at)
        assert at + length <= len(message), "the last one is cut off"
        found.append(message[at : at + length])
        at += length
    return found


def plain(message: Message) -> Fields:
    """The fields as `JsonClient` has them: JSON values decoded, absent optional fields left out."""
    fields: Fields = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.has_presence and not message.HasField(field.name):
            continue
        if field.message_type is not None:
            value = [plain(item) for item in value]
        name = field.name
        if field.containing_oneof is not None and field.containing_oneof.name == "payload":
            name = "payload"
        json_value = field.name in ("json", "meta")
        fields[name] = json.loads(value) if json_value else value
    return fields


class PbClient(JsonClient):
    """The same client in the other encoding."""

    subprotocol: ClassVar[str] = "arqon.v1.pb"

    def encode(self, id_: int, kind: str, fields: Fields) -> bytes:
        command = pb.Command(id=id_)
        body: Any = getattr(command, kind)
        body.SetInParent()
        for name, value in fields.items():
            if name == "payload" and isinstance(value, bytes):
                body.data = value
            elif name in ("payload", "meta", "track"):
                setattr(
                    body,
                    "json" if name == "payload" else name,
                    json.dumps(value, ensure_ascii=False).encode(),
                )
            elif name == "watch":
                body.watch = pb.Watch.Value(f"WATCH_{value.upper()}")
            else:
                setattr(body, name, value)
        return delimited(command)

    def decode(self, message: str | bytes) -> list[tuple[int, str, Fields]]:
        assert isinstance(message, bytes), "the protobuf encoding is binary"
        found = []
        for body in split(message):
            frame = pb.ServerFrame.FromString(body)
            kind = frame.WhichOneof("body")
            if kind is not None:  # else it is newer than this client
                found.append((frame.id, kind, plain(getattr(frame, kind))))
        return found
