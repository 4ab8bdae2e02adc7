"""What the OpenAPI document cannot say of this API.

A request that fits the document must be taken: schemathesis checks it. Three rules
have no words in JSON Schema, so a request that breaks one of them is left out of
that check (and of no other): lengths in bytes, the id in a body that must be that
of the path, and parameters that exclude each other.
"""

from urllib.parse import unquote

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

# Lengths are counted in bytes of UTF-8, JSON Schema counts characters.
BYTES = {"id": 256, "name": 1024, "description": 64 << 10}


def too_long(name, value):
    return isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) > BYTES[name]


def unspeakable(case):
    """Reports whether the case breaks a rule that the document cannot state."""
    body = case.body if isinstance(case.body, dict) else {}
    path = case.path_parameters or {}
    query = case.query or {}
    if any(too_long(name, body.get(name)) for name in BYTES):
        return True
    at = path.get("id")
    if isinstance(at, str):
        at = unquote(at)
        if too_long("id", at):
            return True
        # The id in a body, if there is one, is that of the path.
        if "id" in body and body["id"] != at:
            return True
    ids = query.get("ids")
    if ids is not None:
        # Parameters that exclude each other.
        if "limit" in query or "cursor" in query:
            return True
        if any(too_long("id", i) for i in (ids if isinstance(ids, list) else [ids])):
            return True
    return False


def faulty(case):
    """Reports whether the tool itself broke the document: in its coverage phase it
    sends empty headers whatever their pattern and least length are."""
    return "" in (case.headers or {}).values()


@schemathesis.check
def takes_what_it_documents(ctx, response, case):
    # A condition that is not met is no fault of the request's form.
    if response.status_code == 412 or unspeakable(case) or faulty(case):
        return None
    return positive_data_acceptance(ctx, response, case)
