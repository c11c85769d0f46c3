"""Sends what Schemathesis makes of an OpenAPI document to a proxy, and counts what came of it.

    drive.py DOCUMENT URL OPERATIONS EXAMPLES SECONDS

OPERATIONS of the document, always the same ones, are asked EXAMPLES times with good requests and as
often with bad ones, for SECONDS at most. The service behind the proxy answers everything with 200.
Prints one JSON object: for each mode how many requests were accepted and refused, and for each miss,
a fate that Schemathesis did not expect, its explanation or `unexplained` with the request.
"""

import json
import random
import sys
import time
from urllib.parse import unquote

import hypothesis
import schemathesis
from schemathesis import GenerationMode

SETTINGS = hypothesis.settings(
    database=None,
    deadline=None,
    derandomize=True,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
    verbosity=hypothesis.Verbosity.quiet,
)


def credentials(schema):
    """Headers, query parameters and cookies in which the document's API keys come."""
    raw = schema.raw_schema
    schemes = raw.get("securityDefinitions") or raw.get("components", {}).get("securitySchemes", {})
    names = {one.get("name", "").lower() for one in schemes.values()}
    return names | {"authorization"}


def explain(case, response, good, keys):
    """Why a request met another fate than Schemathesis expects; `unexplained` is for a person."""
    if good:
        code = json.loads(response.content or b"{}").get("code")
        control = any(ord(c) < 0x20 or ord(c) == 0x7F for c in unquote(case.formatted_path))
        if code == "path_invalid" and control:
            return "good, but with a control character in the path"
        return f"unexplained refusal {code}"
    data = getattr(case.meta.phase, "data", None)
    if (getattr(data, "parameter", None) or "").lower() in keys:
        return "bad only in a credential that the policy leaves to the service"
    return "unexplained acceptance"


def ask(operation, mode, examples, until, counts, misses, keys):
    """Sends the requests of one operation and mode."""
    strategy = operation.as_strategy(generation_mode=mode)
    good = mode == GenerationMode.POSITIVE

    @hypothesis.settings(SETTINGS, max_examples=examples)
    @hypothesis.given(case=strategy)
    def send(case):
        if time.monotonic() > until:
            return
        response = case.call()
        accepted = response.status_code == 200
        counts["accepted" if accepted else "refused"] += 1
        if accepted != good:
            why = explain(case, response, good, keys)
            told = f"{response.status_code} {case.as_curl_command()[:600]}"
            misses.setdefault(why, []).append(told)

    try:
        send()
    except hypothesis.errors.Unsatisfiable:
        # There is no such request: nothing that an operation says can be broken.
        counts["none"] += 1


def main():
    document, url, most, examples, seconds = sys.argv[1:]
    schema = schemathesis.openapi.from_path(document)
    schema.config.update(base_url=url)
    keys = credentials(schema)
    until = time.monotonic() + float(seconds)
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    counts = {mode.value: {"accepted": 0, "refused": 0, "none": 0} for mode in modes}
    misses = {}
    operations = 0
    found = [result.ok() for result in schema.get_all_operations()]
    random.Random(0).shuffle(found)
    for operation in found[: int(most)]:
        if time.monotonic() > until:
            break
        operations += 1
        for mode in modes:
            ask(operation, mode, int(examples), until, counts[mode.value], misses, keys)
    kinds = {why: {"times": len(those), "such as": those[:3]} for why, those in misses.items()}
    print(json.dumps({"operations": operations, **counts, "misses": kinds}, indent=1))


if __name__ == "__main__":
    main()
