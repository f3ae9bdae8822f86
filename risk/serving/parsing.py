"""Parsing of requests: the clients they ask about, and which part of the client list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Request

from risk.data.schema import Schema
from risk.serving.csv_body import read_csv
from risk.serving.file_access import DataFiles
from risk.serving.json_rows import parse_json, read_rows
from risk.serving.problems import Refusal
from risk.serving.requested import RequestedClients
from risk.serving.settings import ServingSettings

CHOICES = {"risk": ("high", "medium", "low"), "sort": ("moved", "name")}
LARGEST = {"offset": 10**9, "limit": 1000}
LONGEST_SEARCH = 200


def parse_clients(
    request: Request, settings: ServingSettings, files: DataFiles, schema: Schema
) -> RequestedClients:
    """Parse the clients of a request: JSON, a CSV body, a form with a CSV file, or the name of a file.

    Raises
    ------
    Refusal
        When there are none, too many, or none that the model can take.
    """
    body = request.get_data()
    if len(body) > settings.max_body_bytes:  # of a body without a length, werkzeug only cuts off the rest
        raise Refusal(413, f"the body is over {settings.max_body_mb} MiB")
    if request.mimetype == "text/csv":
        if request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "us-ascii"):
            raise Refusal(415, "a CSV must be UTF-8")
        return read_csv(body, schema, settings.separator, settings.max_rows)
    if request.mimetype == "multipart/form-data":
        return read_csv(_read_upload(request), schema, settings.separator, settings.max_rows)
    if not request.is_json:
        raise Refusal(
            415, "Content-Type must be application/json, text/csv or multipart/form-data with a file"
        )
    return _parse_document(parse_json(body, settings.max_rows), settings, files, schema)


def _read_upload(request: Request) -> bytes:
    uploads = [upload for field in request.files.listvalues() for upload in field]
    if len(uploads) != 1:
        raise Refusal(400, f"the form must hold one file, it holds {len(uploads)}")
    return bytes(uploads[0].read())


def _parse_document(
    value: Any, settings: ServingSettings, files: DataFiles, schema: Schema
) -> RequestedClients:
    """Parse a JSON document: rows, or the name of a file that holds them."""
    if isinstance(value, dict) and value.keys() == {"filepath"}:
        data = files.read(value["filepath"])
        return read_csv(data, schema, settings.separator, settings.max_rows)
    if isinstance(value, dict) and value.keys() == {"rows"}:
        value = value["rows"]
    if not isinstance(value, list):
        raise Refusal(400, 'the body must be a list of rows, {"rows": [...]} or {"filepath": "..."}')
    return read_rows(value, schema, settings.max_rows)


def parse_slice(arguments: Mapping[str, str]) -> dict[str, Any]:
    """Parse which clients of the list are wanted, as the keyword arguments of `ClientList.page`."""
    wanted: dict[str, Any] = {}
    for name, largest in LARGEST.items():
        text = arguments.get(name, "")
        if text and not (text.isascii() and text.isdecimal() and len(text) < 11 and int(text) <= largest):
            raise Refusal(400, f"{name} must be a whole number from 0 to {largest}")
        wanted |= {name: int(text)} if text else {}
    for name, choices in CHOICES.items():
        choice = arguments.get(name, "")
        if choice and choice not in choices:
            raise Refusal(400, f"{name} must be one of {', '.join(choices)}")
        wanted |= {"order" if name == "sort" else name: choice} if choice else {}
    search = arguments.get("search", "").strip()
    if len(search) > LONGEST_SEARCH:
        raise Refusal(400, f"search must be no longer than {LONGEST_SEARCH} letters")
    return wanted | ({"search": search} if search else {})
